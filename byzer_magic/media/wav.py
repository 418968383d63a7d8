"""WAV files, read and written in one place: RIFF chunks, of which `fmt ` and `data` matter.

The standard library's `wave` reads neither float and A-law samples nor headers with a wrong length (those of streams
have 0 or the largest number); `soundfile` brings libsndfile, a binary, for what these lines do.
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
from byzer_magic.media import formats, g711
from byzer_magic.types import Localizable

PCM_RATE = 24_000
"""Samples per second of raw PCM from OpenAI's API: https://platform.openai.com/docs/guides/text-to-speech."""
TELEPHONE_RATE = 8_000
"""Samples per second of audio/basic (https://www.rfc-editor.org/rfc/rfc2046#section-4.3) and of A-law."""
RATES = (1_000, 768_000)
"""Sample rates that audio has, in Hz; another number is a mistake."""
CHANNELS = 128
"""Most channels that audio has; a header that states 65,535 is a mistake, or made to fill the memory."""
MAX_CHUNKS = 1000
"""As many chunks of a file are looked at; recorders write a dozen."""
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
"""Encodings: https://learn.microsoft.com/en-us/windows/win32/api/mmreg/ns-mmreg-waveformatex"""
UNKNOWN_LENGTH = 0xFFFFFFFF
"""The length in the header of a file that is still being written."""
JUNK_BYTES = 1024
"""As many bytes after the samples are no samples, although they are no chunk either: a tag, for example."""
_RIFF = struct.Struct("<4sI4s")
_LONG_FORMS = (b"RF64", b"BW64")
"""Files whose lengths are in a chunk `ds64`: https://tech.ebu.ch/docs/tech/tech3306v1_0.pdf."""
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

    A data chunk whose length in the header cannot be true, as in a stream, reaches to the end of the file.
    """
    places: dict[bytes, slice] = {}
    for name, start, length in _chunks(data):
        places.setdefault(name, slice(start, start + length))
    if b"fmt " not in places or b"data" not in places:
        return None
    return Chunks(data[places[b"fmt "]], data[places[b"data"]])


def fault(data: bytes) -> Localizable | None:
    """Return why a WAV file holds no audio, as a sentence; None when it holds some, or is not a WAV file.

    Example:
        >>> str(fault(write(b"", rate=24_000)))
        'The audio is empty (0 s).'
    """
    heads = [data[start : start + length] for name, start, length in _chunks(data) if name == b"fmt "]
    if not heads or len(heads[0]) < _FORMAT.size:  # nothing says that it was to be a WAV file, but its name
        return None
    _encoding, channels, rate, _bytes_per_second, frame_bytes, _bits = _FORMAT.unpack_from(heads[0])
    if not _is_possible(channels, rate):
        return _("The header of the WAV file is wrong: {channels} channels at {rate} Hz.", channels=channels, rate=rate)
    found = chunks(data)
    return _("The audio is empty (0 s).") if not found or len(found.data) < max(frame_bytes, 1) else None


def _is_possible(channels: int, rate: int) -> bool:
    return 1 <= channels <= CHANNELS and RATES[0] <= rate <= RATES[1]


def read(data: bytes) -> Wave | None:
    """Return the samples of a WAV file; None when it is none, is compressed, or its header cannot be true (`fault`).

    8, 16, 24 and 32-bit PCM, A-law and mu-law come as int16, float samples as float32 or float64.
    """
    found = chunks(data)
    if found is None or len(found.format) < _FORMAT.size:
        return None
    encoding, channels, rate, _bytes_per_second, _frame_bytes, bits = _FORMAT.unpack_from(found.format)
    if encoding == EXTENSIBLE and len(found.format) >= 26:  # the true encoding starts the sub-format's GUID
        encoding = struct.unpack_from("<H", found.format, 24)[0]
    if not _is_possible(channels, rate):
        return None
    full = 32768.0
    if encoding == FLOAT and bits in (32, 64):
        samples, full = _array("f" if bits == 32 else "d", found.data), 1.0
    elif encoding == PCM and bits in (8, 16, 24, 32):
        samples = _array("h", _int16(found.data, bits // 8))
    elif encoding in (ALAW, MULAW) and bits == 8:
        table = g711.ALAW if encoding == ALAW else g711.MULAW
        samples = _array("h", g711.pcm(found.data, table))
    else:
        return None
    return Wave(samples[: len(samples) - len(samples) % channels], channels, rate, full)


def raw_type(mime: str, rate: int) -> str:
    """Return the media type of raw samples with their rate in Hz, if it is not the usual one; others as they are.

    Example:
        >>> raw_type("audio/pcm", 16_000), raw_type("audio/pcm", 24_000), raw_type("audio/mpeg", 16_000)
        ('audio/pcm;rate=16000', 'audio/pcm', 'audio/mpeg')
    """
    is_usual = mime not in formats.HEADERLESS or rate == _usual_rate(mime)
    return mime if is_usual else f"{mime};rate={rate}"


def _usual_rate(kind: str) -> int:
    return PCM_RATE if kind == "audio/pcm" else TELEPHONE_RATE


def playable(data: bytes, mime: str) -> tuple[bytes, str]:
    """Return audio as browsers play it, with its media type: raw samples become a WAV file, other data stays as it is.

    Args:
        data: the audio.
        mime: its media type; of raw samples with `rate` and `channels` where they are not the usual ones.

    Example:
        >>> playable(b"ID3...", "audio/mpeg")
        (b'ID3...', 'audio/mpeg')
    """
    kind = formats.canonical(mime)
    if kind not in formats.HEADERLESS:
        return data, mime
    samples = data if kind == "audio/pcm" else g711.pcm(data, g711.ALAW if "alaw" in kind else g711.MULAW)
    rate = formats.parameter(mime, "rate") or _usual_rate(kind)
    channels = formats.parameter(mime, "channels") or 1
    return write(samples[: len(samples) - len(samples) % (2 * channels)], rate, channels), "audio/wav"


def seconds(data: bytes, mime: str) -> float | None:
    """Return the duration of audio, where it is a WAV file or raw samples; else None.

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
        if name == b"data" and data[:4] == b"RIFF" and length != _CHUNK.unpack_from(data, start - _CHUNK.size)[1]:
            complete = bytearray(data)
            struct.pack_into("<I", complete, 4, len(data) - 8)
            struct.pack_into("<I", complete, start - 4, length)
            return bytes(complete)
    return data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks of a WAV file: name, where the body starts, and its length in bytes."""
    if data[:4] not in (b"RIFF", *_LONG_FORMS) or data[8:12] != b"WAVE":
        return
    at, long = _RIFF.size, 0
    for _number in range(MAX_CHUNKS):
        if at + _CHUNK.size > len(data):
            return
        name, length = _CHUNK.unpack_from(data, at)
        start = at + _CHUNK.size
        if name == b"ds64" and start + 16 <= len(data):
            long = struct.unpack_from("<Q", data, start + 8)[0]
        elif name == b"data":
            length = _true_length(data, start, long if long and length == UNKNOWN_LENGTH else length)
        yield name, start, length
        at = start + length + length % 2  # chunks are padded to even lengths


def _true_length(data: bytes, start: int, stated: int) -> int:
    """Return the length of the samples; the stated one is wrong when what follows them is no chunk."""
    room = len(data) - start
    rest = room - stated
    if rest < 0:
        return room
    junk = rest <= JUNK_BYTES and stated > 4 * rest
    end = start + stated
    ends_there = junk or _only_chunks(data, end + stated % 2) or (stated % 2 == 1 and _only_chunks(data, end))
    return stated if ends_there else room


def _only_chunks(data: bytes, at: int) -> bool:
    """Return whether nothing but chunks follow, or nothing at all."""
    start = at
    for _number in range(MAX_CHUNKS):
        if at + _CHUNK.size > len(data):
            break
        name, length = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size + length + length % 2
        if not all(32 <= byte < 127 for byte in name) or at > len(data) + 1:
            return False
    return at >= len(data) or at > start  # a few bytes after chunks are padding


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
