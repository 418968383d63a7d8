"""WAV files, read and written in one place: RIFF chunks, of which `fmt ` and `data` matter.

The standard library's `wave` reads neither float and A-law samples nor the headers of streams, whose length is 0 or the
largest number; `soundfile` brings libsndfile, a binary, for what these lines do.
Format: https://learn.microsoft.com/en-us/windows/win32/multimedia/resource-interchange-file-format-services
"""

from __future__ import annotations

import array
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from byzer_magic.i18n import lazy_gettext as _

PCM_RATE = 24_000
"""Samples per second of raw PCM from OpenAI's API: https://platform.openai.com/docs/guides/text-to-speech."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Encodings: https://learn.microsoft.com/en-us/windows/win32/api/mmreg/ns-mmreg-waveformatex"""
UNKNOWN_LENGTH = 0xFFFFFFFF
"""The length in the header of a file that is still being written."""
_RIFF = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
"""Encoding, channels, samples per second, bytes per second, bytes per frame, bits per sample."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """The two chunks of a WAV file that matter."""

    format: bytes
    """The body of the `fmt ` chunk."""
    data: bytes
    """The encoded samples, channels interleaved."""


@dataclass(frozen=True, slots=True)
class Wave:
    """The samples of an uncompressed file, channels interleaved."""

    samples: array.array[Any]
    channels: int
    rate: int
    """Samples per second (Hz) of each channel."""
    full: float
    """The largest value that a sample can have."""

    @property
    def seconds(self) -> float:
        """Return the duration."""
        return len(self.samples) / self.channels / self.rate


def write(samples: bytes, rate: int, channels: int = 1) -> bytes:
    """Return 16-bit PCM samples as a WAV file.

    Args:
        samples: little-endian int16, channels interleaved.
        rate: samples per second (Hz) of each channel.
        channels: 1 is mono, 2 is stereo.

    Raises:
        ValueError: the rate or the number of channels is not positive.

    Example:
        >>> len(write(bytes(480), rate=24_000))
        524
    """
    if rate < 1 or channels < 1:
        raise ValueError(f"{channels} channels at {rate} Hz")
    return _file(_FORMAT.pack(PCM, channels, rate, rate * channels * 2, channels * 2, 16), samples)


def stream_header(rate: int) -> bytes:
    """Return the start of a WAV file of 16-bit mono samples whose length is not known yet.

    Args:
        rate: samples per second (Hz).
    """
    chunk = _FORMAT.pack(PCM, 1, rate, rate * 2, 2, 16)
    head = _RIFF.pack(b"RIFF", UNKNOWN_LENGTH, b"WAVE") + _CHUNK.pack(b"fmt ", len(chunk)) + chunk
    return head + _CHUNK.pack(b"data", UNKNOWN_LENGTH)


def chunks(data: bytes) -> Chunks | None:
    """Return the chunks of a WAV file; None when the data is not a WAV file, or has no samples.

    The data chunk of a stream, whose header has no true length, reaches to the end.
    """
    form = b""
    for name, start, length in _chunks(data):
        if name == b"fmt ":
            form = data[start : start + length]
        elif name == b"data" and form:
            return Chunks(form, data[start : start + length] or data[start:])
    return None


def read(data: bytes) -> Wave | None:
    """Return the samples of a WAV file; None when the data is not a WAV file, or is compressed.

    8, 16, 24 and 32-bit PCM come as int16, float samples as float32 or float64.
    """
    found = chunks(data)
    if found is None or len(found.format) < _FORMAT.size:
        return None
    encoding, channels, rate, _bytes_per_second, _frame_bytes, bits = _FORMAT.unpack_from(found.format)
    if encoding == EXTENSIBLE and len(found.format) >= 26:  # the true encoding starts the sub-format's GUID
        encoding = struct.unpack_from("<H", found.format, 24)[0]
    if not channels or not rate:
        return None
    if encoding == FLOAT and bits in (32, 64):
        return Wave(_array("f" if bits == 32 else "d", found.data), channels, rate, 1.0)
    if encoding == PCM and bits in (8, 16, 24, 32):
        return Wave(_array("h", _int16(found.data, bits // 8)), channels, rate, 32768.0)
    return None


def playable(data: bytes, mime: str) -> tuple[bytes, str]:
    """Return audio as browsers play it, with its media type: raw PCM becomes a WAV file, other data stays as it is."""
    if mime.partition(";")[0] not in ("audio/pcm", "audio/l16"):
        return data, mime
    return write(data[: len(data) & ~1], PCM_RATE), "audio/wav"


def seconds(data: bytes, mime: str) -> float | None:
    """Return the duration of audio, where it is a WAV file or raw PCM; else None.

    Example:
        >>> seconds(bytes(48_000), "audio/pcm")
        1.0
    """
    found = read(playable(data, mime)[0])
    return found.seconds if found else None


def join(files: Sequence[bytes]) -> bytes:
    """Return WAV files of the same format as one.

    Raises:
        ValueError: one is not a WAV file, or their formats differ.

    Example:
        >>> second = write(bytes(48_000), rate=24_000)
        >>> seconds(join([second, second]), "audio/wav")
        2.0
    """
    parts = [part for part in map(chunks, files) if part is not None]
    if len(parts) != len(files):
        raise ValueError(_("one of them is not a WAV file with samples"))
    if len({part.format for part in parts}) != 1:
        raise ValueError(_("their formats differ"))
    return _file(parts[0].format, b"".join([part.data for part in parts]))


def with_length(data: bytes) -> bytes:
    """Return a WAV file with its true length in its header; any other data as it is.

    A provider that streams a WAV file sends the header before it knows the length; players then show a wrong one.
    """
    for name, start, length in _chunks(data):
        if name == b"data" and start + length > len(data):
            complete = bytearray(data)
            struct.pack_into("<I", complete, 4, len(data) - 8)
            struct.pack_into("<I", complete, start - 4, len(data) - start)
            return bytes(complete)
    return data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks of a WAV file: name, where the body starts, and its length in bytes as the header has it."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return
    at = _RIFF.size
    while at + _CHUNK.size <= len(data):
        name, length = _CHUNK.unpack_from(data, at)
        yield name, at + _CHUNK.size, length
        at += _CHUNK.size + length + length % 2  # chunks are padded to even lengths


def _file(form: bytes, data: bytes) -> bytes:
    body = b"".join(
        [
            _CHUNK.pack(name, len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
            for name, chunk in ((b"fmt ", form), (b"data", data))
        ]
    )
    return _RIFF.pack(b"RIFF", 4 + len(body), b"WAVE") + body


def _array(code: str, body: bytes) -> array.array[Any]:
    found: array.array[Any] = array.array(code)
    found.frombytes(body[: len(body) - len(body) % found.itemsize])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _int16(body: bytes, width: int) -> bytes:
    """Return PCM samples of `width` bytes as 16 bits: of wider ones the two upper bytes."""
    if width == 2:
        return body
    count = len(body) // width
    made = bytearray(2 * count)
    if width == 1:  # 8-bit samples are unsigned: silence is 128
        made[1::2] = body.translate(bytes(value ^ 0x80 for value in range(256)))
    else:
        made[0::2] = body[width - 2 : count * width : width]
        made[1::2] = body[width - 1 : count * width : width]
    return bytes(made)
