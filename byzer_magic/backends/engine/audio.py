"""Decode audio for models: mono float32 samples at a model's rate, from any file format.

PyAV includes the decoders (https://pyav.basswood-io.com): ffmpeg is not needed.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from typing import Any

from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Media

RATE = 16_000
"""Sample rate of speech models, in Hz."""


def samples(media: Media, rate: int = RATE, stopped: threading.Event | None = None) -> Any:
    """Return decoded audio: mono samples.

    Args:
        media: the file.
        rate: sample rate of the result, in Hz.
        stopped: ends the decoding when set; the result is then what was decoded so far.

    Returns:
        A numpy array, float32 (n,), in -1..1.

    Raises:
        BadRequest: it cannot be decoded, or has no audio.
    """
    import av
    import numpy as np

    try:
        parts = list(_decoded(media.data, rate, stopped or threading.Event()))
    except (av.FFmpegError, ValueError) as err:
        raise BadRequest(
            _(
                "The audio ({mime}, {count_data} bytes) cannot be decoded: {getattr}.",
                mime=media.mime,
                count_data=len(media.data),
                getattr=getattr(err, "strerror", err),
            ),
            _("Send a complete WAV, MP3, M4A, FLAC, OGG, AAC or WebM file."),
        ) from err
    found = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    if not found.size and not (stopped and stopped.is_set()):
        raise BadRequest(
            _("The file has no audio ({mime}, {count_data} bytes).", mime=media.mime, count_data=len(media.data)),
            _("Record it again."),
        )
    found = np.nan_to_num(found, posinf=0.0, neginf=0.0)
    return found / max(1.0, float(np.abs(found).max(initial=0.0)))  # equal channels add up


def _decoded(data: bytes, rate: int, stopped: threading.Event) -> Iterator[Any]:
    """Yield the samples of the first audio stream; damaged packets are skipped, as players do."""
    import av

    with av.open(io.BytesIO(data), mode="r", metadata_errors="replace") as container:
        if not container.streams.audio:
            return
        mixer = _Mixer(rate)
        any_decoded, fault = False, None
        for packet in container.demux(container.streams.audio[0]):
            if stopped.is_set():
                return
            try:
                frames = packet.decode()
            except av.InvalidDataError as err:
                fault = err
                continue
            for frame in frames:
                any_decoded = True
                yield from mixer.add(frame)
        yield from mixer.end()
        if fault and not any_decoded:
            raise fault


class _Mixer:
    """Mixes and resamples frames to mono; their format may change within a file (chained OGG files)."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._form: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def add(self, frame: Any) -> Iterator[Any]:
        import av

        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.end()
            self._form = form
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate)
        frame.pts = None  # gaps in the timestamps are ignored
        for part in self._resampler.resample(frame):
            yield part.to_ndarray()[0]

    def end(self) -> Iterator[Any]:
        for part in self._resampler.resample(None) if self._resampler else ():
            yield part.to_ndarray()[0]
