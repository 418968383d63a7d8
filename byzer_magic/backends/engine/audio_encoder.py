"""Encode audio as the samples arrive, so that speech plays while the rest is being synthesized."""

from __future__ import annotations

import io
from typing import Any, Protocol

from byzer_magic.media import wav

CODECS = {
    "mp3": ("mp3", "libmp3lame", {"write_xing": "0"}),
    "opus": ("ogg", "libopus", {}),
    "ogg": ("ogg", "libopus", {}),
    "flac": ("flac", "flac", {}),
    "aac": ("adts", "aac", {}),
}
"""Container, codec and settings of the formats that are compressed."""
BUFFERED = ("flac",)
"""Formats whose header has the duration, which players require: they are returned at the end."""
MIMES = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "pcm": "audio/pcm",
}
OPUS_RATE = 48_000
PCM_RATE = 24_000
"""Sample rate of raw PCM, in Hz, as in OpenAI's API."""


class Writer(Protocol):
    """Encodes 16-bit mono samples as a file, without changing bytes that it has returned."""

    def add(self, samples: bytes) -> bytes:
        """Return the next bytes of the file; `samples` is little-endian int16, mono."""

    def end(self) -> bytes:
        """Return the rest of the file."""


def writer(form: str, rate: int) -> Writer:
    """Return an encoder for one of the `MIMES`; `rate` is that of the samples, in Hz."""
    return _Wav(rate) if form == "wav" else _Pcm(rate) if form == "pcm" else _Compressed(form, rate)


class _Wav:
    def __init__(self, rate: int) -> None:
        self._header = wav.stream_header(rate)

    def add(self, samples: bytes) -> bytes:
        header, self._header = self._header, b""
        return header + samples

    def end(self) -> bytes:
        return b""


class _Pcm:
    def __init__(self, rate: int) -> None:
        import av

        self._rate = rate
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=PCM_RATE)

    def add(self, samples: bytes) -> bytes:
        return b"".join([_bytes(frame) for frame in self._resampler.resample(_frame(samples, self._rate))])

    def end(self) -> bytes:
        return b"".join([_bytes(frame) for frame in self._resampler.resample(None)])


class _Compressed:
    def __init__(self, form: str, rate: int) -> None:
        import av

        container, codec, settings = CODECS[form]
        self._sink: Any = io.BytesIO() if form in BUFFERED else _Sink()
        self._rate = rate
        self._file: Any = av.open(self._sink, "w", format=container, options=settings)
        self._stream: Any = self._file.add_stream(codec, OPUS_RATE if codec == "libopus" else rate, layout="mono")

    def add(self, samples: bytes) -> bytes:
        self._file.mux(self._stream.encode(_frame(samples, self._rate)))
        return self._sink.taken() if isinstance(self._sink, _Sink) else b""

    def end(self) -> bytes:
        self._file.mux(self._stream.encode(None))
        self._file.close()
        return self._sink.taken() if isinstance(self._sink, _Sink) else bytes(self._sink.getvalue())


class _Sink:
    """A write-only file: the encoder cannot go back to change a header."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


def _frame(samples: bytes, rate: int) -> Any:
    import av
    import numpy as np

    frame = av.AudioFrame.from_ndarray(np.frombuffer(samples, "<i2")[None], format="s16", layout="mono")
    frame.sample_rate = rate
    return frame


def _bytes(frame: Any) -> bytes:
    data: bytes = frame.to_ndarray().tobytes()
    return data
