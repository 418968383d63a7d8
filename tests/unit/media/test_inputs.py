"""Images and audio from what users have."""

from __future__ import annotations

import base64
import http.server
import io
import tempfile
import threading
import urllib.parse
import wave
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from IPython.display import Audio, Image as Shown
from PIL import Image

from byzer_magic import media
from byzer_magic.errors import CommandError
from byzer_magic.media import wav
from byzer_magic.results import ImageResult
from byzer_magic.types import ImageItem, Media


def png(mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (3, 2)).save(data, "PNG")
    return data.getvalue()


def audio_file(kind: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, np.zeros(16000), 16000, format=kind)
    return data.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dot.png").write_bytes(png())
    (tmp_path / "talk.wav").write_bytes(audio_file("WAV"))
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


def figure() -> Any:
    from matplotlib.figure import Figure  # here, since each worker imports all files

    made = Figure()
    made.subplots().plot([1, 2])
    return made


def written() -> io.BytesIO:
    file = io.BytesIO()
    file.write(png())
    return file


def temporary() -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - it is the one to read
    file.write(png())
    file.seek(0)
    return file


SOURCES: dict[str, Any] = {
    "bytes": png,
    "bytearray": lambda: bytearray(png()),
    "data URL": lambda: f"data:image/png;base64,{base64.b64encode(png()).decode()}",
    "percent-encoded data URL": lambda: f"data:image/png,{urllib.parse.quote_from_bytes(png())}",
    "data URL with - and _": lambda: f"data:;base64,{base64.urlsafe_b64encode(png()).decode()}",
    "data URL with parameters and lines": lambda: f"data:image/png;name=a;BASE64,{base64.encodebytes(png()).decode()}",
    "PIL for print": lambda: Image.new("CMYK", (2, 2)),
    "PIL of floats": lambda: Image.new("F", (2, 2)),
    "array of floats": lambda: np.linspace(0, 1, 12).reshape(2, 2, 3),
    "array of integers": lambda: np.arange(12).reshape(2, 2, 3),
    "grey array": lambda: np.zeros((4, 3, 1)),
    "mask": lambda: np.eye(3) > 0,
    "PIL": lambda: Image.new("RGBA", (2, 2)),
    "PIL palette": lambda: Image.new("P", (2, 2)),
    "figure": figure,
    "axes": lambda: figure().axes[0],
    "array": lambda: np.zeros((4, 3, 3), dtype=np.uint8),
    "IPython": lambda: Shown(data=png()),
    "widget": lambda: SimpleNamespace(value=png()),
    "item of a data set": lambda: {"bytes": png(), "path": "a.png"},
    "open file": lambda: io.BytesIO(png()),
    "file at its end": written,
    "temporary file": temporary,
    "an image from a model": lambda: ImageResult(model="m", pictures=[ImageItem("image/png", png())], prompt=""),
}


@pytest.mark.parametrize("name", SOURCES)
def test_image_reads_what_users_have(name: str) -> None:
    found = media.image(SOURCES[name]())
    assert (found.mime, found.data[:4]) == ("image/png", b"\x89PNG")


def test_image_takes_a_path_or_a_url(folder: Path) -> None:
    assert media.image(folder / "dot.png") == media.image(str(folder / "dot.png")) == Media("image/png", png())
    assert media.image("https://host/a.png") == Media("image", url="https://host/a.png")
    assert media.image(Media("image/png", b"x")).data == b"x"


@pytest.mark.parametrize(
    ("kind", "mime"), [("WAV", "audio/wav"), ("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg")]
)
def test_audio_has_the_media_type_of_its_bytes(kind: str, mime: str) -> None:
    assert media.audio(audio_file(kind)).mime == mime


def test_audio_reads_what_users_have() -> None:
    assert media.audio(b"\0\0\0\x20ftypM4A \0\0").mime == "audio/mp4"
    assert media.audio(f"data:audio/mp3;base64,{base64.b64encode(audio_file('MP3')).decode()}").mime == "audio/mpeg"
    assert media.audio(SimpleNamespace(audio=SimpleNamespace(value=audio_file("WAV")))).mime == "audio/wav"
    assert media.audio(Audio(data=audio_file("WAV"))).mime == "audio/wav"


@pytest.mark.parametrize(
    ("samples", "channels"),
    [(np.zeros(100), 1), (np.zeros((100, 2)), 2), (np.zeros((2, 100)), 2), (np.zeros(100, dtype=np.int16), 1)],
)
def test_audio_of_samples_is_a_wav(samples: Any, channels: int) -> None:
    for source in ((samples, 8000), (8000, samples)):
        with wave.open(io.BytesIO(media.audio(source).data)) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (channels, 8000, 100)


@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (lambda folder: folder / "dto.png", "No such file", "dot.png"),
        (lambda folder: folder / "empty.png", "is empty", "Record or load"),
        (lambda folder: folder / "talk.wav", "talk.wav is audio (WAV), not an image.", "PNG"),
        (lambda folder: folder, "is a directory", "path"),
        (lambda _: "/dev/zero", "is not a regular file", "path"),
        (lambda folder: folder / "no" / "dot.png", "No such file", "Pass the path"),
        (lambda _: "a\0.png", "null", "path"),
        (lambda _: "~nobody-here/a.png", "Cannot read ~nobody-here", "There is no user nobody-here"),
        (lambda _: "A" * 100_000, "(100000 characters)", "path"),
        (lambda _: b"", "is empty", "load"),
        (lambda _: io.BytesIO(), "is empty", "load"),
        (lambda _: Media("audio/wav", audio_file("WAV")), "This is audio (WAV), not an image.", "PNG"),
        (lambda _: SimpleNamespace(save=lambda path: path), "SimpleNamespace cannot be converted to an image", "path"),
        (lambda _: np.full((2, 2), 70_000), "not in 0..255", "path"),
        (lambda _: np.zeros((2, 2, 2, 2)), "cannot be converted to an image", "path"),
        (lambda _: b"just some text", "This is text, not an image.", "PNG"),
        (lambda _: bytes(range(1, 20)), "its format is unknown", "PNG"),
        (lambda _: 7, "int does not contain an image", "path"),
        (lambda _: "data:image/png;base64,%%%", "is not valid", "base64"),
        (lambda _: "data:image/png;base64,a", "is not valid", "base64"),
        (lambda _: "data:" + "A" * 1_000_000, "no comma", "base64"),
    ],
)
def test_image_names_what_is_not_an_image(folder: Path, make: Any, words: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        media.image(make(folder))
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_media_repr_shows_no_bytes() -> None:
    assert repr(Media("image/png", b"12345")) == "Media(image/png, 5 bytes)"


def test_paths_expand_home_and_text_files_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert media.image("~/dot.png").data == png()
    with (folder / "dot.png").open("rb") as file:
        assert media.image(file).data == png()
    with (folder / "dot.png").open() as text, pytest.raises(CommandError, match="open as text"):
        media.image(text)


def test_missing_path_suggests_the_nearest_name_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(CommandError) as caught:
        media.image("pictures/dot.pn")
    assert caught.value.hint == "Did you mean dot.png?"


def test_image_of_floats_has_shades() -> None:
    shown = Image.open(io.BytesIO(media.image(np.array([[0.0, 0.5, 1.0, 2.0]])).data))
    assert list(shown.tobytes()) == [0, 128, 255, 255]


def test_image_url_is_not_downloaded() -> None:
    url = "https://host/a.png"
    for source in (
        url.replace("https", "HTTPS"),
        Shown(url=url),
        ImageResult(model="m", pictures=[ImageItem(url=url)], prompt=""),
    ):
        assert media.image(source).url.lower() == url


@pytest.mark.parametrize(
    ("samples", "loud"),
    [
        (np.array([0, 1.0, -1.0]), [0, 32767, -32767]),
        (np.array([0, 5.0, np.nan]), [0, 32767, 0]),
        (np.array([0, 2**31 - 1, -(2**31)], dtype=np.int32), [0, 32767, -32768]),
        (np.array([128, 255, 0], dtype=np.uint8), [0, 127 << 8, -32768]),
        (np.array([32768, 65535, 0], dtype=np.uint16), [0, 32767, -32768]),
        (np.array([0, 127, -128], dtype=np.int8), [0, 127 << 8, -32768]),
        ([0, 1000, -1000], [0, 1000, -1000]),
        (np.array([0, 0.5, -0.25], dtype=np.float16), [0, 16383, -8191]),
        (np.array([0, 0.5, np.inf]), [0, 16383, 0]),
        (np.array([[0, 0.5, -0.25]]), [0, 16383, -8191]),
        ([0.0, 0.5, -0.25], [0, 16383, -8191]),
        (np.array([0, 16384.0, -32768.0]), [0, 16383, -32767]),
    ],
)
def test_audio_of_samples_keeps_their_loudness(samples: Any, loud: list[int]) -> None:
    for source in ((samples, np.int64(8000)), (8000.0, samples), {"array": samples, "sampling_rate": 8000}):
        with wave.open(io.BytesIO(media.audio(source).data)) as file:
            assert np.frombuffer(file.readframes(3), dtype="<i2").tolist() == loud
            assert file.getframerate() == 8000


def test_audio_of_tensors_keeps_their_loudness() -> None:
    import torch  # which takes seconds, for all who only collect the tests

    for more in ({"requires_grad": True}, {"dtype": torch.bfloat16}):
        test_audio_of_samples_keeps_their_loudness(torch.tensor([0, 0.5, -0.25], **more), [0, 16383, -8191])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (([], 8000), "is empty"),
        (([0, 100_000], 8000), "int64"),
        ((np.zeros((2, 2, 2)), 8000), "3 dimensions"),
        ((np.full(3, np.nan), 8000), "all samples are NaN"),
        ((np.zeros(3, complex), 8000), "complex128"),
        *(((np.zeros(3), rate), "the sample rate is") for rate in (0, -8000, np.nan, np.inf, 1e9, "fast", None, [])),
        (("a", "b"), "cannot be converted to audio"),
        ((1, 2, 3), "tuple does not contain audio"),
        (png(), "This is an image (PNG), not audio."),
    ],
)
def test_audio_names_what_is_not_audio(source: Any, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        media.audio(source)
    assert words in caught.value.message


def test_samples_without_their_rate_are_told_how_to_pass_it() -> None:
    import torch

    for samples in ([0.1, 0.2], np.zeros(9), {"array": np.zeros(9)}, torch.zeros(9)):
        with pytest.raises(CommandError, match="does not contain audio") as caught:
            media.audio(samples)
        assert caught.value.hint.endswith("(samples, 16000).")


class AudioServer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        data = TEXTS["an HTML page"] if "page" in self.path else audio_file("WAV")
        data = bytes(range(1, 99)) if "odd" in self.path else data
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Type", "audio/x-m4a; codecs=mp4a")
        self.send_header("Content-Length", str(len(data) + ("short" in self.path)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def server_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), AudioServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_audio_url_is_downloaded(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert media.audio(f"{server_url}/talk.wav") == Media("audio/wav", audio_file("WAV"))
    assert media.audio(f"{server_url}/odd.mp3").mime == "audio/mp4", "of the header, where the bytes do not tell"
    with pytest.raises(CommandError, match=r"talk-page\.mp3 is an HTML page, not audio\."):
        media.audio(f"{server_url}/talk-page.mp3?sig=1")
    monkeypatch.setattr("byzer_magic.media.inputs.LARGEST_BYTES", 90)
    with pytest.raises(CommandError, match="exceeds the limit of"):
        media.audio(f"{server_url}/talk.wav")


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing", "404"), ("short", "the download was truncated"), ("with space", "control characters")],
)
def test_audio_download_error_hides_the_signature(server_url: str, path: str, words: str) -> None:
    with pytest.raises(CommandError) as caught:
        media.audio(f"{server_url}/{path}?sig=SECRET")
    assert words in caught.value.message
    assert "SECRET" not in str(caught.value)


TEXTS = {
    "an HTML page": b"<!DOCTYPE html><html><title>404</title></html>",
    "JSON": b'{"error": {"message": "The link has expired."}}',
    "XML": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "text": "The quota is exceeded: 配额已用完。\n".encode(),
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3",
    "a ZIP archive": b"PK\3\4" + bytes(40),
    "a MIDI file, which contains notes and no sound": b"MThd\0\0\0\6\0\0\0\1\0\x60MTrk\0\0\0\4\0\xff\x2f\0",
}


@pytest.mark.parametrize("what", TEXTS)
@pytest.mark.parametrize(("kind", "name", "noun"), [("audio", "talk.mp3", "audio"), ("image", "a.png", "an image")])
def test_files_of_another_kind_are_named(what: str, kind: str, name: str, noun: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(TEXTS[what])
    read = getattr(media, kind)
    with pytest.raises(CommandError) as caught:
        read(tmp_path / name)
    assert caught.value.message == f"{name} is {what}, not {noun}."
    stated = "audio/mpeg" if kind == "audio" else "image/png"
    for source in (Media(stated, TEXTS[what]), f"data:{stated};base64,{base64.b64encode(TEXTS[what]).decode()}"):
        with pytest.raises(CommandError) as caught:
            read(source)
        assert caught.value.message == f"This is {what}, not {noun}."


def test_files_have_the_type_of_their_bytes_whatever_they_are_called(tmp_path: Path) -> None:
    (tmp_path / "talk.mp3").write_bytes(audio_file("WAV"))
    (tmp_path / "photo.jpg").write_bytes(png())
    assert media.audio(tmp_path / "talk.mp3").mime == "audio/wav"
    assert media.audio(Media("audio/mpeg", audio_file("FLAC"))).mime == "audio/flac"
    assert media.audio(f"data:audio/mpeg;base64,{base64.b64encode(audio_file('OGG')).decode()}").mime == "audio/ogg"
    assert media.image(tmp_path / "photo.jpg").mime == "image/png"
    assert media.image(Media("image/jpeg", png())).mime == "image/png"


def test_audio_that_is_no_sound_is_named(tmp_path: Path) -> None:
    (tmp_path / "talk.pcm").write_bytes(bytes(range(1, 200)))
    for source, words in (
        (wav.write(b"", 16_000), "The audio is empty (0 s)."),
        (wav.write(b"\1\0", 16_000)[:36], "The audio is empty (0 s)."),
        (wav.write(b"\1\0", 1)[:24] + bytes(4) + wav.write(b"\1\0", 1)[28:], "1 channels at 0 Hz"),
        (tmp_path / "talk.pcm", "talk.pcm is not audio: its format is unknown."),
    ):
        with pytest.raises(CommandError) as caught:
            media.audio(source)
        assert words in caught.value.message
    assert "(samples, rate)" in caught.value.hint


def test_audio_of_a_stream_gets_its_length() -> None:
    data = wav.stream_header(16_000) + bytes(3200)
    assert soundfile.info(io.BytesIO(media.audio(data).data)).frames == 1600
