"""Media types: from the bytes, then from what is stated."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st
from PIL import Image

from byzer_magic.media import formats
from tests.servers import audio_files

TONE = (0.1 * np.sin(np.arange(16_000) / 10)).astype("f4")


def sound(kind: str, subtype: str | None = None) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, TONE, 16_000, format=kind, subtype=subtype)
    return data.getvalue()


def picture(kind: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(data, kind)
    return data.getvalue()


def dolby(codec: str, rate: int, bits: int) -> bytes:
    av = pytest.importorskip("av")
    data = io.BytesIO()
    with av.open(data, "w", format=codec) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono", bit_rate=bits)
        for start in range(0, 4 * 1536, 1536):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1536), "f4"), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return data.getvalue()


def tagged(data: bytes, size: int = 300) -> bytes:
    """Return a file with an ID3 tag in front."""
    return b"ID3\4\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size) + data


def aac(count: int = 3) -> bytes:
    """Return frames of AAC in ADTS, 100 bytes each."""
    return (b"\xff\xf1\x50\x80" + bytes([100 >> 3, (100 & 7) << 5 | 31, 0xFC]) + bytes(93)) * count


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("WAV", "audio/wav"), ("WAVEX", "audio/wav"), ("RF64", "audio/wav"), ("AIFF", "audio/aiff"),
        ("AU", "audio/x-au"), ("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg"),
        ("CAF", "audio/x-caf"), ("W64", "audio/x-w64"),
    ],
)  # fmt: skip
def test_mime_of_audio_files(kind: str, mime: str) -> None:
    data = sound(kind)
    assert formats.mime_of(data) == formats.mime_of(data[:2048]) == mime


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
@pytest.mark.parametrize(("rate", "bits"), [(48_000, 64_000), (44_100, 96_000), (32_000, 48_000)])
def test_mime_of_dolby_files(codec: str, rate: int, bits: int) -> None:
    data = dolby(codec, rate, bits)
    assert formats.mime_of(data) == formats.mime_of(data[:2048]) == "audio/ac3"


@pytest.mark.parametrize(
    ("kind", "mime"),
    [
        ("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp"),
        ("BMP", "image/bmp"), ("TIFF", "image/tiff"), ("ICO", "image/x-icon"), ("AVIF", "image/avif"),
        ("JPEG2000", "image/jp2"),
    ],
)  # fmt: skip
def test_mime_of_image_files(kind: str, mime: str) -> None:
    assert formats.mime_of(picture(kind)) == mime


MP3 = audio_files.mp3("some words")


@pytest.mark.parametrize(
    ("start", "mime"),
    [
        (b"", None),
        (b"\xff", None),
        (b"\xff\xfa\x90", "audio/mpeg"),
        (b"\xff\xf1\x50", "audio/aac"),
        (MP3, "audio/mpeg"),
        (bytes(500) + MP3, "audio/mpeg"),
        (b"\1\2\3" * 100 + MP3, "audio/mpeg"),
        (MP3[77:], "audio/mpeg"),
        (tagged(MP3), "audio/mpeg"),
        (tagged(b""), "audio/mpeg"),
        (tagged(MP3, 20_000)[:100], "audio/mpeg"),
        (tagged(aac()), "audio/aac"),
        (tagged(b"fLaC"), "audio/flac"),
        (aac(), "audio/aac"),
        (aac(1), "audio/aac"),
        (b"\xff\xfb\x90\x64" + bytes(2000), None),
        (b"\xff\xff\xff\xff" * 100, None),
        (b"\x1aE\xdf\xa3", "audio/webm"),
        (b"#!AMR\n", "audio/amr"),
        (b"#!AMR-WB\n", "audio/amr"),
        (b"RIFX\0\0\0\0WAVE", "audio/wav"),
        (b"BW64\xff\xff\xff\xffWAVE", "audio/wav"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"\0\0\0\x20ftypM4A \0\0", "audio/mp4"),
        (b"\0\0\0\x20ftypqt  \0\0", "audio/mp4"),
        (b"\0\0\0\x18ftypheic", "image/heic"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "image/avif"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "image/heic"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- drawn --><svg/>", "image/svg+xml"),
        (b"BMW is a make of cars.", "text/plain"),
        (b"caffeine in coffee", "text/plain"),
        (b"\x0bwords after a vertical tab", "text/plain"),
        (b"\x0bw" + bytes(4), None),
        (b"MThd\0\0\0\6\0\0\0\1\0\x60", "application/x-midi"),
        (b"\0\0\1\0" + struct.pack("<100h", *range(1, 101)), None),
        (b"\xef\xbb\xbf  <!DOCTYPE HTML>", "text/html"),
        (b"<html lang='en'>", "text/html"),
        (b"<?xml version='1.0'?><Error/>", "application/xml"),
        (b'\n [{"a": 1}]', "application/json"),
        ("配额已用完。".encode() * 100, "text/plain"),
        ("The quota".encode("utf-16"), "text/plain"),
        ("配额已用完".encode("gbk"), None),
        (np.zeros(2000, "<i2").tobytes(), None),
        ((TONE * 32767).astype("<i2").tobytes(), None),
        (TONE.astype("<f4").tobytes(), None),
    ],
)  # fmt: skip
def test_mime_of_reads_the_bytes(start: bytes, mime: str | None) -> None:
    assert formats.mime_of(start) == mime


@given(
    st.binary(max_size=3000),
    st.sampled_from([b"", b"ID3", b"RIFF", b"\xff\xfb", b"\xff\xf1", b"\0\0\0\x1cftyp", b"BM"]),
)
def test_mime_of_takes_any_bytes(data: bytes, start: bytes) -> None:
    found = formats.mime_of(start + data)
    assert found is None or formats.is_known(found) or found in formats.OTHERS


@given(st.binary(min_size=2048, max_size=2048))
def test_typed_believes_that_raw_samples_are_what_was_asked_for(data: bytes) -> None:
    if formats.mime_of(data) is None:
        assert formats.typed(data, "audio", "audio/mpeg", "audio/pcm;rate=8000") == "audio/pcm;rate=8000"


@pytest.mark.parametrize(
    ("data", "stated", "mime"),
    [
        (sound("WAV"), ("audio/mpeg", "audio/mpeg"), "audio/wav"),
        (b"\1\2", ("audio/x-m4a; codecs=mp4a", "audio/mpeg"), "audio/mp4"),
        (b"\1\2", ("application/octet-stream", "audio/mpeg"), "audio/mpeg"),
        (b"\1\2", ("image/png", "audio/mpeg"), "audio/mpeg"),
        (b"\1\2", ("", ""), ""),
        (b"\1\2", ("audio/basic", "audio/pcm"), "audio/pcm"),
        (b"\1\2", ("audio/l16;rate=8000", "audio/pcm"), "audio/pcm;rate=8000"),
        (b"\1\2", ("audio/pcm", "audio/mpeg"), "audio/pcm"),
        (picture("PNG"), ("audio/mpeg",), ""),
        (b"<html><p>Sign in</p>", ("audio/mpeg",), ""),
        (b"mp3", ("audio/mpeg",), "audio/mpeg"),
    ],
)
def test_typed_is_of_the_bytes_then_of_what_is_stated(data: bytes, stated: tuple[str, ...], mime: str) -> None:
    assert formats.typed(data, "audio", *stated) == mime


def test_tables_agree() -> None:
    for item in formats.FORMATS:
        for alias in (item.mime, *item.aliases, item.mime.upper(), f"{item.mime}; x=1"):
            assert formats.canonical(alias) == item.mime
        for name in item.extensions:
            assert formats.mime_of_name(f"talk.{name.upper()}") == item.mime
        assert formats.extension(item.mime) == item.extensions[0]
        assert formats.title(item.mime) == item.title
    names = [name for item in formats.FORMATS for name in item.extensions]
    assert len(names) == len(set(names))
    assert set(formats.HEADERLESS) < {item.mime for item in formats.FORMATS}
    assert (formats.extension("image/webp"), formats.extension("audio"), formats.extension("")) == (
        "webp",
        "audio",
        "bin",
    )
