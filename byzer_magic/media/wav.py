"""WAV files: their samples, their duration, their header.

Not the standard library's `wave`, which reads neither floats nor a header whose length is wrong.
"""

from __future__ import annotations

import array
import io
import struct
import sys
import wave
from dataclasses import dataclass
from typing import Any

PCM_RATE = 24_000
"""Samples per second of raw PCM from OpenAI's API: https://platform.openai.com/docs/guides/text-to-speech."""
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
"""Formats of WAV files."""


@dataclass(frozen=True)
class Wave:
    """The samples of uncompressed audio, channels interleaved."""

    samples: array.array[Any]
    channels: int
    rate: int
    full: float
    """The largest value that a sample can have."""

    @property
    def seconds(self) -> float:
        """Return the duration."""
        return len(self.samples) / self.channels / self.rate


def read(data: bytes) -> Wave | None:
    """Return the samples of a WAV file; None for other or compressed data."""
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    at, form = 12, b""
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        body = data[at + 8 : at + 8 + length]
        if name == b"fmt ":
            form = body
        elif name == b"data":
            return _decoded(form, body)
        at += 8 + length + length % 2
    return None


def _decoded(form: bytes, body: bytes) -> Wave | None:
    if len(form) < 16:
        return None
    kind, channels, rate, _bytes, _align, bits = struct.unpack_from("<HHIIHH", form)
    if kind == EXTENSIBLE and len(form) >= 26:
        kind = struct.unpack_from("<H", form, 24)[0]
    if not channels or not rate:
        return None
    if kind == FLOAT and bits in (32, 64):
        return Wave(_numbers("f" if bits == 32 else "d", body), channels, rate, 1.0)
    if kind == PCM and bits in (8, 16, 24, 32):
        return Wave(_numbers("h", _sixteen(body, bits // 8)), channels, rate, 32768.0)
    return None


def _numbers(code: str, body: bytes) -> array.array[Any]:
    found: array.array[Any] = array.array(code)
    found.frombytes(body[: len(body) - len(body) % found.itemsize])
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _sixteen(body: bytes, width: int) -> bytes:
    """Return samples of any width as 16 bits: of wider samples the two upper bytes."""
    if width == 2:
        return body
    count = len(body) // width
    made = bytearray(2 * count)
    if width == 1:  # its silence is 128
        made[1::2] = body.translate(bytes(value ^ 0x80 for value in range(256)))
    else:
        made[0::2] = body[width - 2 : count * width : width]
        made[1::2] = body[width - 1 : count * width : width]
    return bytes(made)


def playable(data: bytes, mime: str) -> tuple[bytes, str]:
    """Return audio as browsers play it, with its media type: raw PCM becomes a WAV file, other data stays as it is."""
    if mime.partition(";")[0] not in ("audio/pcm", "audio/l16"):
        return data, mime
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, PCM_RATE, 0, "NONE", ""))
        file.writeframes(data[: len(data) & ~1])
    return buffer.getvalue(), "audio/wav"


def seconds(data: bytes, mime: str) -> float | None:
    """Return the duration of audio, where it is a WAV file or raw PCM; else None.

    Example:
        >>> seconds(bytes(48_000), "audio/pcm")
        1.0
    """
    found = read(playable(data, mime)[0])
    return found.seconds if found else None


def with_length(data: bytes) -> bytes:
    """Return a WAV file with its true length in its header; any other data as it is.

    A provider that streams a WAV file sends the header before it knows the length, and players then show a wrong one.
    """
    at = 12
    while data[:4] == b"RIFF" and data[8:12] == b"WAVE" and at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"data":
            if at + 8 + length <= len(data):
                return data
            complete = bytearray(data)
            struct.pack_into("<I", complete, 4, len(data) - 8)
            struct.pack_into("<I", complete, at + 4, len(data) - at - 8)
            return bytes(complete)
        at += 8 + length + length % 2
    return data
