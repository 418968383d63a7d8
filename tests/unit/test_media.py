"""Pictures and sounds from whatever people have at hand."""

from __future__ import annotations

import base64
import io
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
import soundfile
from IPython.display import Audio
from IPython.display import Image as Shown
from PIL import Image

from byzer_magic import media
from byzer_magic.errors import CommandError
from byzer_magic.types import Media

matplotlib.use("agg")
from matplotlib import pyplot as plt  # the backend must be chosen before


def png(mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.new(mode, (3, 2)).save(data, "PNG")
    return data.getvalue()


def sound(kind: str) -> bytes:
    data = io.BytesIO()
    soundfile.write(data, np.zeros(16000), 16000, format=kind)
    return data.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dot.png").write_bytes(png())
    (tmp_path / "talk.wav").write_bytes(sound("WAV"))
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


def figure() -> Any:
    made, axes = plt.subplots()
    axes.plot([1, 2])
    return made


SOURCES: dict[str, Any] = {
    "bytes": png,
    "bytearray": lambda: bytearray(png()),
    "data URL": lambda: f"data:image/png;base64,{base64.b64encode(png()).decode()}",
    "PIL": lambda: Image.new("RGBA", (2, 2)),
    "PIL palette": lambda: Image.new("P", (2, 2)),
    "figure": figure,
    "axes": lambda: figure().axes[0],
    "array": lambda: np.zeros((4, 3, 3), dtype=np.uint8),
    "IPython": lambda: Shown(data=png()),
    "widget": lambda: SimpleNamespace(value=png()),
    "open file": lambda: io.BytesIO(png()),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_picture_from(name: str) -> None:
    found = media.image(SOURCES[name]())
    assert (found.mime, found.data[:4]) == ("image/png", b"\x89PNG")


def test_a_picture_from_a_path_or_an_address(folder: Path) -> None:
    assert media.image(folder / "dot.png") == media.image(str(folder / "dot.png")) == Media("image/png", png())
    assert media.image("https://host/a.png") == Media("image", url="https://host/a.png")
    assert media.image(Media("image/png", b"x")).data == b"x"


@pytest.mark.parametrize(
    ("kind", "mime"), [("WAV", "audio/wav"), ("FLAC", "audio/flac"), ("OGG", "audio/ogg"), ("MP3", "audio/mpeg")]
)
def test_a_sound_says_what_it_is(kind: str, mime: str) -> None:
    assert media.audio(sound(kind)).mime == mime


def test_a_sound_from_other_things() -> None:
    assert media.audio(b"\0\0\0\x20ftypM4A \0\0").mime == "audio/mp4"
    assert media.audio(f"data:audio/mp3;base64,{base64.b64encode(sound('MP3')).decode()}").mime == "audio/mpeg"
    assert media.audio(SimpleNamespace(audio=SimpleNamespace(value=sound("WAV")))).mime == "audio/wav"
    assert media.audio(Audio(data=sound("WAV"))).mime == "audio/wav"


@pytest.mark.parametrize(
    ("samples", "channels"),
    [(np.zeros(100), 1), (np.zeros((100, 2)), 2), (np.zeros((2, 100)), 2), (np.zeros(100, dtype=np.int16), 1)],
)
def test_a_sound_from_samples(samples: Any, channels: int) -> None:
    for source in ((samples, 8000), (8000, samples)):
        with wave.open(io.BytesIO(media.audio(source).data)) as file:
            assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (channels, 8000, 100)


@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (lambda folder: folder / "dto.png", "No such file", "dot.png"),
        (lambda folder: folder / "empty.png", "is empty", "Record or load"),
        (lambda folder: folder / "talk.wav", "it is audio/wav data", "PNG"),
        (lambda folder: folder, "Is a directory", ""),
        (lambda _: b"just some text", "no image format", "PNG"),
        (lambda _: 7, "int is no image", "path"),
        (lambda _: "data:image/png;base64,%%%", "", ""),
    ],
)
def test_what_is_no_picture_is_said_so(folder: Path, make: Any, words: str, hint: str) -> None:
    with pytest.raises(CommandError) as caught:
        media.image(make(folder))
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_media_show_no_bytes() -> None:
    assert repr(Media("image/png", b"12345")) == "Media(image/png, 5 bytes)"
