"""Reading, writing and joining WAV files."""

from __future__ import annotations

import array
import io
import struct
import wave

import pytest
from hypothesis import given, strategies as st

from byzer_magic.media import wav


def frames(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as file:
        return file.readframes(file.getnframes())


def encoded(encoding: int, bits: int, data: bytes, channels: int = 1) -> bytes:
    """Return a WAV file of any encoding."""
    width = bits // 8
    form = struct.pack("<HHIIHH", encoding, channels, 8000, 8000 * width * channels, width * channels, bits)
    body = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


@given(st.lists(st.binary(max_size=9).map(lambda data: data * 2), min_size=1), st.sampled_from([8000, 24000]))
def test_join_keeps_all_samples(parts: list[bytes], rate: int) -> None:
    data = wav.join([wav.write(part, rate) for part in parts])
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, rate)
    assert frames(data) == b"".join(parts)
    assert struct.unpack_from("<I", data, 4) == (len(data) - 8,)


@pytest.mark.parametrize("length", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_join_reads_streams_whose_header_has_no_length(length: int) -> None:
    data = bytearray(wav.write(b"\1\0\2\0", 8000))
    struct.pack_into("<I", data, 40, length)
    assert frames(wav.join([bytes(data), wav.write(b"\3\0", 8000)])) == b"\1\0\2\0\3\0"


def test_chunks_skips_others() -> None:
    data = wav.write(b"\1\0", 8000)
    listed = data[:36] + struct.pack("<4sI", b"LIST", 3) + b"abc\0" + data[36:]
    assert frames(wav.join([listed])) == b"\1\0"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([b"ID3 this is mp3", b"x"], "not a WAV file"),
        ([wav.write(b"", 8000)[:36]], "not a WAV file with samples"),
        ([wav.write(b"\1\0", 8000), wav.write(b"\1\0", 16000)], "their formats differ"),
    ],
)
def test_join_refuses_what_does_not_fit_together(files: list[bytes], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        wav.join(files)


def test_write_makes_stereo_that_other_readers_read() -> None:
    data = wav.write(bytes(range(8)), 44_100, channels=2)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (2, 2, 44_100, 2)
    found = wav.read(data)
    assert found
    assert (found.channels, found.rate, found.seconds) == (2, 44_100, 2 / 44_100)


def test_stream_header_is_completed_by_with_length() -> None:
    data = wav.with_length(wav.stream_header(24_000) + bytes(480))
    assert frames(data) == bytes(480)
    assert wav.with_length(data) is data
    assert wav.with_length(b"ID3") == b"ID3"


@pytest.mark.parametrize(
    ("encoding", "bits", "data", "values", "full"),
    [
        (wav.PCM, 8, b"\x80\xff\x00", [0, 0x7F00, -0x8000], 32768),
        (wav.PCM, 16, struct.pack("<2h", -2, 3), [-2, 3], 32768),
        (wav.PCM, 24, b"\0\1\2", [0x0201], 32768),
        (wav.PCM, 32, b"\0\0\1\2", [0x0201], 32768),
        (wav.FLOAT, 32, struct.pack("<2f", -1, 0.5), [-1, 0.5], 1),
        (wav.FLOAT, 64, struct.pack("<d", 0.25), [0.25], 1),
    ],
)
def test_read_of_each_uncompressed_encoding(
    encoding: int, bits: int, data: bytes, values: list[float], full: float
) -> None:
    found = wav.read(encoded(encoding, bits, data))
    assert found
    assert isinstance(found.samples, array.array)
    assert (list(found.samples), found.full, found.rate) == (values, full, 8000)


@pytest.mark.parametrize(
    "data", [b"", b"ID3", encoded(6, 8, b"abc"), encoded(wav.PCM, 16, b"", channels=0), wav.write(b"", 8000)[:30]]
)
def test_read_of_anything_else_is_none(data: bytes) -> None:
    assert wav.read(data) is None
