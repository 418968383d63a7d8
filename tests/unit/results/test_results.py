"""Results: saved, displayed, and when little or nothing has arrived."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from byzer_magic import types
from byzer_magic.errors import CommandError
from byzer_magic.media import wav
from byzer_magic.rendering.media import base as media
from byzer_magic.results import EmbedResult, ImageResult, SpeakResult
from byzer_magic.types import ImageItem
from tests.exchanges import exchange, interrupt
from tests.pages import Page

REQUESTS: list[types.Request] = [
    types.ChatRequest(messages=[]),
    types.EmbedRequest(texts=["a"]),
    types.RerankRequest(query="q", documents=["a"]),
    types.TranscribeRequest(audio=types.Media("audio/mpeg", b"ID3")),
    types.SpeakRequest(text="hi"),
    types.ImageRequest(prompt="a cat"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda item: type(item).__name__)
def test_result_exists_when_interrupted_before_anything_arrived(request_: types.Request) -> None:
    found = exchange(request_).wait(interrupt)
    assert (found.interrupted, found.usage, found.model) == (True, None, "m")
    assert "m" in repr(found)
    assert isinstance(str(found), str)
    if hasattr(found, "_repr_mimebundle_"):
        shows_audio = {"text/html"} if isinstance(request_, types.TranscribeRequest) else set()  # the one that was sent
        assert found._repr_mimebundle_().keys() == {"text/plain", *shows_audio}


PNG = types.ImageItem("image/png", b"\x89PNG<>", caption="a cat")


def result_of(request: types.Request, *items: Any) -> Any:
    return exchange(request, *items).wait()


def embeddings(*rows: list[float]) -> types.EmbeddingBatch:
    return types.EmbeddingBatch(0, len(rows[0]), np.array(rows, dtype="<f4").tobytes())


def speech(data: bytes = b"RIFFsecretbytes", mime: str = "audio/wav") -> SpeakResult:
    return SpeakResult(model="m", data=data, mime=mime, text="hi")


def drawing(*pictures: ImageItem) -> ImageResult:
    return ImageResult(model="m", pictures=list(pictures), prompt="a cat")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (speech(b""), "no audio"),
        (drawing(), "no image"),
        (drawing(ImageItem("image/png", b"x"), ImageItem(url="https://host/a.png")), "a URL only"),
    ],
)
def test_save_without_content_overwrites_nothing(found: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"earlier")
    with pytest.raises(CommandError, match=words):
        found.save(path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "no/such/x.wav", "a\0b"])
def test_save_names_a_path_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="Cannot write"):
        speech().save(tmp_path / name)


def test_repr_and_str_show_no_bytes() -> None:
    for found in (speech(), drawing(ImageItem("image/png", b"secretbytes"))):
        assert "secretbytes" not in repr(found) + str(found)


def test_results_escape_provider_texts_in_html() -> None:
    shown = speech(mime='audio/wav" onerror="alert(1)')._repr_mimebundle_()["text/html"]
    assert ' onerror="' not in shown
    grid = drawing(*[ImageItem(url='https://host/"><script>')] * 2)._repr_mimebundle_()["text/html"]
    assert [tag for tag, _ in Page(grid).elements].count("script") == 1, "our own"


def test_image_result_with_a_url_is_shown_from_there() -> None:
    found = drawing(ImageItem(url="https://host/a.png"))
    assert (found.output, str(found)) == ("https://host/a.png", "https://host/a.png")
    assert 'src="https://host/a.png"' in found._repr_mimebundle_()["text/html"]


def test_image_result_does_not_embed_large_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = drawing(ImageItem("image/png", bytes(media.EMBED_BYTES + 1)))._repr_mimebundle_()
    assert len(shown["text/html"]) < 20_000
    assert "16.8 MB · too large to embed; saved to byzer_media/" in shown["text/plain"]


def test_embed_result_array_is_a_copy() -> None:
    found = EmbedResult(model="m", vectors=np.ones((1, 2), dtype="<f4"))
    made = np.array(found)
    made[0, 0] = 7
    assert found.vectors[0, 0] == 1
    assert np.asarray(found) is found.vectors
    assert np.asarray(found, dtype=np.float64).dtype == np.float64
    assert found == found  # numpy's comparison would raise
    assert hash(found)


def test_save_reads_extensions_in_any_case(tmp_path: Path) -> None:
    found = EmbedResult(model="m", vectors=np.ones((1, 2), dtype="<f4"))
    assert np.load(found.save(tmp_path / "X.NPY")).tolist() == [[1, 1]]


def test_results_save_in_the_format_of_the_file_name(tmp_path: Path) -> None:
    found = result_of(types.EmbedRequest(texts=["a"]), embeddings([1, 2]))
    assert json.loads(found.save(tmp_path / "x.json").read_text()) == [[1, 2]]
    assert np.array_equal(np.load(found.save(tmp_path / "x.npy")), [[1, 2]])
    transcript = result_of(
        types.TranscribeRequest(audio=types.Media("audio/mpeg", b"ID3")),
        types.TranscriptChunk("hi", [types.Segment(0, 1, "hi")]),
    )
    assert transcript.save(tmp_path / "x.txt").read_text() == "hi"
    assert json.loads(transcript.save(tmp_path / "y.json").read_text())["segments"][0]["end"] == 1
    images = result_of(types.ImageRequest(prompt="a cat"), PNG, PNG)
    images.save(tmp_path / "z.png")
    assert (tmp_path / "z.png").read_bytes() == (tmp_path / "z-2.png").read_bytes() == PNG.data
    with pytest.raises(CommandError, match="Cannot write"):
        images.save(tmp_path / "no" / "such" / "z.png")


def test_image_result_escapes_the_prompt_in_its_figure() -> None:
    for count in (1, 2):
        shown = result_of(types.ImageRequest(prompt='a "cat" <b>'), *[PNG] * count)._repr_mimebundle_()["text/html"]
        assert shown.count(f"data:image/png;base64,{base64.b64encode(PNG.data).decode()}") >= count
        assert "<b>" not in shown


def test_large_media_are_stored_beside_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = bytes(17 * 2**20)
    shown = result_of(types.SpeakRequest(text="hi"), types.AudioChunk(data, "audio/wav"))._repr_mimebundle_()
    [kept] = (tmp_path / "byzer_media").iterdir()
    assert kept.read_bytes() == data
    assert f"byzer_media/{kept.name}" in shown["text/plain"]
    assert len(shown["text/html"]) < 100_000


def test_transcribe_result_output_is_the_json_of_byzer_llm() -> None:
    found = result_of(
        types.TranscribeRequest(audio=types.Media("audio/mpeg", b"ID3")),
        types.TranscriptChunk("he"),
        types.TranscriptChunk("llo", language="en"),
    )
    assert (found.text, json.loads(found.output)) == ("hello", {"text": "hello", "language": "en"})


def test_results_and_client_load_no_rendering_before_something_is_displayed() -> None:
    code = (
        "import sys, byzer_magic.client.model\n"
        "from byzer_magic.results import SpeakResult\n"
        "loaded = lambda: 'byzer_magic.rendering.results' in sys.modules\n"
        "before, result = loaded(), SpeakResult(model='m', data=b'x', mime='audio/mpeg', text='hi')\n"
        "result._repr_mimebundle_()\n"
        "print(before, loaded())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout == "False True\n"


WAV = wav.write(bytes(range(1, 201)), 8000)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0"


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("x.mp3", "x.wav"),
        ("x.MP3", "x.wav"),
        ("x.pcm", "x.wav"),
        ("x.png", "x.wav"),
        ("a.b.ogg", "a.b.wav"),
        ("x.wav", "x.wav"),
        ("x.wave", "x.wave"),
        ("x", "x"),
        ("x.bin", "x.bin"),
        (".mp3", ".mp3"),
    ],
)
def test_saved_audio_has_the_extension_of_its_bytes(name: str, saved: str, tmp_path: Path) -> None:
    result = speech(WAV, "audio/mpeg")
    assert (result.mime, str(result)) == ("audio/wav", "audio/wav, 0:00, 1 kB")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = result.save(tmp_path / name)
    assert (path.name, path.read_bytes()) == (saved, WAV)
    assert [path] == list(tmp_path.iterdir())
    assert len(caught) == (name != saved)
    for item in caught:
        assert str(item.message).startswith("This is WAV, not ")
        assert item.filename == __file__


def test_saved_audio_overwrites_no_file_that_was_not_named(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"mine")
    with pytest.warns(UserWarning, match=r"saved as .*x-2\.wav"):
        assert speech(WAV).save(tmp_path / "x.mp3").name == "x-2.wav"
    with pytest.warns(UserWarning, match="WAV, not MP3"):
        assert speech(WAV).save(tmp_path / "x.mp3").name == "x-2.wav", "it has these bytes already"
    assert (tmp_path / "x.wav").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "saved", "start"),
    [
        ("x.wav", "x.wav", b"RIFF"), ("x.mp3", "x.wav", b"RIFF"), ("x.pcm", "x.pcm", b"\1\2"),
        ("x.raw", "x.raw", b"\1\2"), ("x", "x", b"\1\2"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:This is")
def test_saved_raw_samples_are_wav_unless_the_name_is_of_raw_samples(
    name: str, saved: str, start: bytes, tmp_path: Path
) -> None:
    path = speech(b"\1\2\3\4" * 100, "audio/pcm;rate=16000").save(tmp_path / name)
    assert (path.name, path.read_bytes()[:4][: len(start)]) == (saved, start)
    if start == b"RIFF":
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnframes()) == (16_000, 200)


def test_saved_images_have_the_extension_of_their_bytes(tmp_path: Path) -> None:
    result = drawing(ImageItem("image/png", JPEG), PNG)
    assert [item.mime for item in result.pictures] == ["image/jpeg", "image/png"]
    with pytest.warns(UserWarning, match="JPEG, not PNG"):
        assert result.save(tmp_path / "cat.png").name == "cat.jpg"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat-2.png", "cat.jpg"]
    shown = result._repr_mimebundle_()["text/html"]
    assert "data:image/jpeg;base64," in shown
    assert "m-a-cat-1.jpg" in shown


@pytest.mark.parametrize(
    ("raw", "audio", "silent"),
    [
        ({}, wav.write(bytes(3200), 16_000), True),
        ({}, wav.write(b"\0\x20\0\xe0" * 800, 16_000), False),
        ({}, b"ID3", False),
        ({"silent": True}, b"ID3", True),
    ],
)
def test_transcript_of_silence_says_so(raw: dict[str, Any], audio: bytes, *, silent: bool) -> None:
    request = types.TranscribeRequest(audio=types.Media("audio/wav", audio))
    found = result_of(request, types.TranscriptChunk(extra=raw))
    assert found.is_silent is silent
    assert ("the audio is silent" in found._repr_mimebundle_()["text/plain"]) is silent
    assert "(no speech" in found._repr_mimebundle_()["text/plain"]
