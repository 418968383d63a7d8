"""Reading, writing and joining WAV files."""

from __future__ import annotations

import array
import io
import struct
import wave
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st

from byzer_magic.media import stereo, wav


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
    "data", [b"", b"ID3", encoded(2, 4, b"abc"), encoded(wav.PCM, 16, b"", channels=0), wav.write(b"", 8000)[:30]]
)
def test_read_of_anything_else_is_none(data: bytes) -> None:
    assert wav.read(data) is None


# ---- against an independent reader

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, Any]:
    """Make a WAV file of any encoding that is not compressed, and its samples as another package reads them."""
    channels, rate = draw(st.integers(1, 8)), draw(st.sampled_from([8_000, 11_025, 16_000, 44_100, 192_000]))
    frames = draw(st.integers(1, 300))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    samples = chance.uniform(-0.99, 0.99, (frames, channels))
    sink = io.BytesIO()
    container = draw(st.sampled_from(["WAV", "WAVEX", "RF64"]))
    soundfile.write(sink, samples, rate, format=container, subtype=draw(st.sampled_from(SUBTYPES)))
    data = sink.getvalue()
    return data, soundfile.read(io.BytesIO(data), always_2d=True)[0]


def floats(data: bytes) -> Any:
    """Return the samples that `read` finds, (frames, channels) in -1..1."""
    found = wav.read(data)
    assert found is not None
    return np.array(found.samples, float).reshape(-1, found.channels) / found.full


@given(files())
def test_read_finds_the_samples_that_soundfile_finds(made: tuple[bytes, Any]) -> None:
    data, samples = made
    assert floats(data).shape == samples.shape
    assert np.allclose(floats(data), samples, atol=1.01 / 32768)
    assert wav.fault(data) is None
    assert wav.with_length(data) is data


@given(files(), st.sampled_from([0, 1, 0x7FFFFFF0, 0xFFFFFFFF, "half"]), st.sampled_from([0, 4, 0xFFFFFFFF, None]))
def test_read_does_not_need_the_lengths_of_the_header(
    made: tuple[bytes, Any], length: int | str, whole: int | None
) -> None:
    data, samples = made
    at, broken = data.index(b"data"), bytearray(data)
    if data[:4] != b"RIFF":
        return
    body = len(data) - at - 8
    stated = body // 2 if length == "half" else int(length)
    if body - stated in (0, 1) or (body - stated <= wav.JUNK_BYTES and stated > 4 * (body - stated)):
        return  # what is left could be padding, or a tag
    struct.pack_into("<I", broken, at + 4, stated)
    if whole is not None:
        struct.pack_into("<I", broken, 4, whole)
    assert np.allclose(floats(bytes(broken))[: len(samples)], samples, atol=1.01 / 32768)
    mended = wav.with_length(bytes(broken))
    assert soundfile.info(io.BytesIO(mended)).frames in (len(samples), len(samples) + 1)  # a byte of padding


@given(files(), st.data())
def test_read_of_a_cut_file_has_the_samples_before_the_cut(made: tuple[bytes, Any], data: st.DataObject) -> None:
    file, samples = made
    cut = file[: data.draw(st.integers(0, len(file)))]
    found = wav.read(cut)
    if found is not None:
        values = np.array(found.samples, float) / found.full
        assert np.allclose(values, samples.ravel()[: len(values)], atol=1.01 / 32768)
    wav.fault(cut)
    wav.with_length(cut)
    wav.seconds(cut, "audio/wav")


@given(st.binary(max_size=200), st.sampled_from([b"RIFF", b"RF64", b"RIFX"]))
def test_any_bytes_are_read(data: bytes, start: bytes) -> None:
    for head in (start + b"\0\0\0\0WAVE", start + b"\0\0\0\0WAVEfmt \x10\0\0\0"):
        found = wav.read(head + data)
        assert found is None or found.seconds >= 0
        wav.fault(head + data)
        wav.with_length(head + data)


@pytest.mark.parametrize("order", [(b"fmt ", b"data"), (b"data", b"fmt ")])
@pytest.mark.parametrize("tags", [b"", b"LIST\3\0\0\0abc\0", b"bext\2\0\0\0ab" + b"JUNK\4\0\0\0data"])
@pytest.mark.parametrize("end", [b"", b"\0", b"id3 \4\0\0\0abcd"])
def test_chunks_may_have_any_order(order: tuple[bytes, ...], tags: bytes, end: bytes) -> None:
    data = wav.write(struct.pack("<3h", 1, 2, 3), 8000)
    parts = {b"fmt ": data[12:36], b"data": data[36:]}
    body = tags + b"".join(parts[name] + tags for name in order) + end
    found = wav.read(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    assert found
    assert list(found.samples) == [1, 2, 3]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (wav.write(b"", 8000), "The audio is empty (0 s)."),
        (wav.write(b"\1\0", 8000)[:-2], "The audio is empty (0 s)."),
        (wav.write(b"\1\0", 8000)[:-1], "The audio is empty (0 s)."),
        (wav.stream_header(8000), "The audio is empty (0 s)."),
        (wav.write(b"\1\0", 8000)[:36], "The audio is empty (0 s)."),
        (encoded(wav.PCM, 16, b"ab", channels=0), "0 channels at 8000 Hz"),
        (wav.write(b"\1\0", 8000), None),
        (b"ID3", None),
    ],
)
def test_fault_names_files_without_sound(data: bytes, words: str | None) -> None:
    found = wav.fault(data)
    assert (words in str(found)) if words and found else found is None and words is None


@pytest.mark.parametrize(
    ("mime", "rate", "frames"),
    [
        ("audio/pcm", 24_000, 50),
        ("audio/pcm;rate=8000", 8_000, 50),
        ("audio/L16; rate=16000; channels=2", 16_000, 25),
        ("audio/basic", 8_000, 100),
        ("audio/x-alaw;rate=16000", 16_000, 100),
    ],
)
def test_playable_makes_wav_of_raw_samples(mime: str, rate: int, frames: int) -> None:
    data, made = wav.playable(bytes(100) + b"\1" * ("x-" not in mime and "pcm" in mime), mime)
    info = soundfile.info(io.BytesIO(data))
    assert (made, info.samplerate, info.frames, info.subtype) == ("audio/wav", rate, frames, "PCM_16")


@pytest.mark.parametrize(("mime", "subtype"), [("audio/basic", "ULAW"), ("audio/x-alaw", "ALAW")])
def test_playable_decodes_telephone_samples(mime: str, subtype: str) -> None:
    codes = bytes(range(256))
    with soundfile.SoundFile(io.BytesIO(codes), format="RAW", subtype=subtype, channels=1, samplerate=8000) as file:
        expected = file.read(dtype="int16")
    assert soundfile.read(io.BytesIO(wav.playable(codes, mime)[0]), dtype="int16")[0].tolist() == expected.tolist()


def _stated(channels: int, rate: int, data: bytes) -> bytes:
    return wav._file(struct.pack("<HHIIHH", 1, channels, rate, 0, 0, 16), data)


@pytest.mark.parametrize(("channels", "rate"), [(65_535, 8000), (129, 8000), (2, 1), (2, 2**32 - 1), (0, 8000)])
def test_header_that_cannot_be_true_is_not_believed(channels: int, rate: int) -> None:
    data = _stated(channels, rate, bytes(range(200)) * 1000)
    assert wav.read(data) is None
    assert "header of the WAV file is wrong" in str(wav.fault(data))
    assert stereo.without_cancelling(data) is data  # 65,535 channels would take 32 GB to compare
    assert not stereo.is_silent(data)


@pytest.mark.parametrize("chunk", [b"junk\0\0\0\0", b"data\0\0\0\0", b"data\x08\0\0\0"])
def test_many_chunks_are_read_in_little_time(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = 0
    real = wav._CHUNK

    class Counting:
        size = real.size

        def unpack_from(self, *args: Any) -> Any:
            nonlocal heads
            heads += 1
            return real.unpack_from(*args)

    monkeypatch.setattr(wav, "_CHUNK", Counting())
    monkeypatch.setattr(wav, "MAX_CHUNKS", 100)
    data = b"RIFF\xff\xff\xff\xffWAVE" + chunk * 100_000
    assert wav.read(data) is None
    assert wav.fault(data) is None
    wav.with_length(data)
    assert heads <= 5 * wav.MAX_CHUNKS**2
