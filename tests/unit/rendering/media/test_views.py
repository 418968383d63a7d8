"""Sounds, pictures and transcripts as HTML: right, escaped, and not too large for a notebook."""

from __future__ import annotations

import array
import io
import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, strategies as st
from PIL import Image

from byzer_magic.i18n import using
from byzer_magic.media import describe, wav as wav_file
from byzer_magic.rendering.media import (
    audio as sound_view,
    base as media,
    image as picture_view,
    transcript as transcript_view,
)
from byzer_magic.rendering.media.audio import AudioView
from byzer_magic.rendering.media.image import ImageView
from byzer_magic.types import Media, Segment
from tests.pages import Page

EVIL = "<script>alert('1')</script> \" onerror=\"x\" & \x00 ' </figure></div>"


def wav(samples: bytes, width: int = 2, channels: int = 1, rate: int = 8000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(samples)
    return buffer.getvalue()


def tone(seconds: float = 1.0, rate: int = 8000) -> bytes:
    return wav(array.array("h", [int(9000 * math.sin(i / 5)) for i in range(int(seconds * rate))]).tobytes(), rate=rate)


def sound(data: bytes, mime: str = "audio/wav", **more: str) -> AudioView:
    return AudioView(data=data, mime=mime, name="voice.wav", **more)  # type: ignore[arg-type]  # they are all text


# ---- waveforms


@pytest.mark.parametrize("kind", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_peaks_are_those_of_the_sound(kind: str, channels: int) -> None:
    rising = np.linspace(0, 0.9, 16000)[:, None] * np.where(np.arange(16000) % 2, 1, -1)[:, None]
    buffer = io.BytesIO()
    soundfile.write(buffer, np.repeat(rising, channels, axis=1), 8000, format="WAV", subtype=kind)
    found = wav_file.read(buffer.getvalue())
    assert found is not None
    assert found.seconds == pytest.approx(2.0)
    shown = sound_view.peaks(found, 10)
    assert shown == pytest.approx([(n + 1) / 10 for n in range(10)], abs=0.03)


def test_silence_has_no_peaks_and_nothing_breaks_on_little() -> None:
    for samples in (b"", b"\0\0", b"\0\0" * 100):
        found = wav_file.read(wav(samples))
        assert found is not None
        assert set(sound_view.peaks(found)) <= {0.0}
    assert len(sound_view.peaks(wav_file.read(wav(b"\1\0" * 5)) or pytest.fail("no wave"))) == 5


def test_a_long_sound_is_looked_at_in_part_and_in_time() -> None:
    found = wav_file.read(wav(b"\0\x20" * 10_000_000, rate=48000))
    assert found is not None
    assert set(sound_view.peaks(found)) == {1.0}


@given(st.binary(max_size=200))
def test_damaged_sounds_give_no_waveform_or_one_and_never_an_error(data: bytes) -> None:
    for whole in (data, b"RIFF\0\0\0\0WAVE" + data, tone(0.01)[: len(data)], tone(0.01)[:36] + data):
        found = wav_file.read(whole)
        assert found is None or all(0 <= value <= 1 for value in sound_view.peaks(found))


def test_numbers_that_are_none_are_silence() -> None:
    body = struct.pack("<4f", math.nan, math.inf, 0.5, -0.25)
    form = struct.pack("<HHIIHH", 3, 1, 4, 16, 4, 32)
    data = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", 16) + body
    found = wav_file.read(data)
    assert found is not None
    assert sound_view.peaks(found, 4)[2:] == [1.0, 0.5]


# ---- sounds


def test_a_sound_has_player_waveform_length_words_and_a_download() -> None:
    shown = sound_view.bundle(sound(tone(75), transcript="hello there", facts=("voice",)), "")
    page = Page(shown["text/html"])
    assert page.all("audio")[0]["src"].startswith("data:audio/wav;base64,")
    assert "hello there" in page.all("audio")[0]["aria-label"]
    assert page.all("div", "bz-wave")[0]["data-seconds"] == "75.000"
    assert page.all("svg")[0]["role"] == "img"
    assert page.all("button", "bz-download")[0]["data-bz-name"] == "voice.wav"
    assert "hello there" in page.text
    assert shown["text/plain"] == "voice · audio/wav · 1:15 · 1.2 MB"


def test_bare_pcm_can_be_played_and_what_is_compressed_has_no_waveform() -> None:
    page = Page(sound_view.bundle(sound(b"\1\2" * 24000, "audio/pcm"), "")["text/html"])
    assert page.all("audio")[0]["src"].startswith("data:audio/wav;base64,UklGR")
    assert wav_file.seconds(b"\1\2" * 24000, "audio/pcm") == 1.0
    assert not Page(sound_view.bundle(sound(b"ID3xx", "audio/mpeg"), "")["text/html"]).all("svg")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_foreign_words_stay_words(lang: str) -> None:
    bad = AudioView(data=tone(0.1), mime=f"audio/wav{EVIL}", name=EVIL, transcript=EVIL, facts=(EVIL,), label=EVIL)
    drawn = ImageView(data=b"x", mime="image/png", caption=EVIL), ImageView(url=f"https://h/{EVIL}")
    with using(lang):
        heard = transcript_view.bundle(EVIL, [Segment(0, 1, EVIL)], (EVIL,), bad)
        outputs = [
            sound_view.bundle(bad, ""),
            picture_view.bundle(drawn, EVIL, (EVIL,), EVIL, ""),
            heard,
        ]
    for shown in outputs:
        page = Page(shown["text/html"])
        assert [tag for tag, _ in page.elements].count("script") == 1
        assert not any("onerror" in attrs for _, attrs in page.elements)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(media, "EMBED_BYTES", 1000)
    return tmp_path


def test_a_large_sound_is_kept_beside_the_notebook_and_linked(here: Path) -> None:
    data = tone(1)
    shown = sound_view.bundle(sound(data), "")
    kept = next((here / "byzer_media").iterdir())
    assert kept.read_bytes() == data
    page = Page(shown["text/html"])
    assert page.all("audio")[0]["src"] == f"byzer_media/{kept.name}"
    assert page.all("a")[0]["href"] == f"byzer_media/{kept.name}"
    assert f"saved to byzer_media/{kept.name}" in shown["text/plain"]
    assert len(shown["text/html"]) < 20_000
    sound_view.bundle(sound(data), "")
    assert len(list((here / "byzer_media").iterdir())) == 1, "showing it again writes nothing new"


def test_a_large_sound_that_has_a_file_is_linked_there(here: Path) -> None:
    (here / "my talk.wav").write_bytes(tone(1))
    heard = Media("audio/wav", tone(1), name="my talk.wav")
    shown = sound_view.bundle(sound_view.recording(heard, ""), "")
    assert Page(shown["text/html"]).all("audio")[0]["src"] == "my%20talk.wav"
    assert "the file is my talk.wav" in shown["text/plain"]
    assert not (here / "byzer_media").exists()


def test_a_large_sound_elsewhere_is_named_and_not_linked(here: Path) -> None:
    heard = Media("audio/wav", tone(1), name="/somewhere/else.wav")
    page = Page(sound_view.bundle(sound_view.recording(heard, ""), "")["text/html"])
    assert "audio" not in page.tags()
    assert "/somewhere/else.wav" in page.text


def test_where_nothing_can_be_written_the_text_says_how_to_save(here: Path) -> None:
    (here / "byzer_media").write_text("a file is in the way")
    shown = sound_view.bundle(sound(tone(1)), "")
    assert ".save(path)" in shown["text/plain"]
    assert "audio" not in Page(shown["text/html"]).tags()


# ---- pictures


def png(size: tuple[int, int] = (30, 20), form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "GIF", "JPEG"])
def test_dimensions_are_those_of_the_picture(form: str) -> None:
    assert picture_view.dimensions(png((31, 17), form)) == (31, 17)


@given(st.binary(max_size=100))
def test_damaged_pictures_have_no_dimensions_and_raise_nothing(data: bytes) -> None:
    for whole in (data, b"\xff\xd8" + data, b"\xff\xd8\xff\xe0" + data, b"GIF89a" + data, png()[: len(data)]):
        picture_view.dimensions(whole)


def test_pictures_are_a_grid_with_prompt_and_parameters() -> None:
    drawn = [ImageView(data=png(), mime="image/png", caption="a cat, rewritten"), ImageView(url="https://host/a.png")]
    shown = picture_view.bundle(drawn, "a cat", ("size=30x20",), "draw", "")
    page = Page(shown["text/html"])
    assert [button["aria-label"] for button in page.all("button", "bz-enlarge")] == [
        "Enlarge image 1 of 2: a cat",
        "Enlarge image 2 of 2: a cat",
    ]
    first, second = page.all("img")
    assert (first["width"], first["height"], first["alt"]) == ("30", "20", "a cat")
    assert second["src"] == "https://host/a.png"
    assert page.all("button", "bz-download")[0]["data-bz-name"] == "draw-a-cat-1.png"
    for part in ("30 x 20 · image/png · 1 kB · rewritten by the provider: a cat, rewritten", "draw · size=30x20"):
        assert part in shown["text/plain"]
        assert part in page.text


def test_large_pictures_are_kept_beside_the_notebook(here: Path) -> None:
    data = png((300, 300), "BMP")
    shown = picture_view.bundle([ImageView(data=data, mime="image/bmp")], "a cat", (), "draw", "")
    kept = next((here / "byzer_media").iterdir())
    assert Page(shown["text/html"]).all("img")[0]["src"] == f"byzer_media/{kept.name}"
    assert kept.suffix == ".bmp"


# ---- transcripts

SAID = [Segment(0.0, 2.5, " One."), Segment(62.5, 64.0, " Two."), Segment(3725.0, 3726.0, "Three.")]


def test_times_lead_to_their_place_in_the_sound() -> None:
    heard = sound_view.recording(Media("audio/wav", tone(1), name="talk.wav"), "")
    shown = transcript_view.bundle("One. Two. Three.", SAID, ("listen", "en"), heard)
    page = Page(shown["text/html"])
    buttons = [attrs for attrs in page.all("button") if "data-bz-seek" in attrs]
    assert [button["data-bz-seek"] for button in buttons] == ["0.00", "62.50", "3725.00"]
    assert buttons[2]["aria-label"] == "Play from 1:02:05"
    assert "audio" in page.tags()
    assert shown["text/plain"].startswith("[0:00] One.\n[1:02] Two.\n[1:02:05] Three.\n\nlisten · en")


def test_without_a_sound_times_are_times() -> None:
    page = Page(transcript_view.bundle("One.", SAID, (), None)["text/html"])
    assert "button" not in page.tags()
    assert len(page.all("time")) == 3
    assert page.all("ol")[0]["tabindex"] == "0", "what scrolls can be reached by keyboard"


def test_that_nothing_was_said_is_said_in_both_languages() -> None:
    heard = sound_view.recording(Media("audio/wav", tone(0.1)), "")
    assert "(no speech)" in transcript_view.bundle("", None, (), heard)["text/html"]
    with using("zh"):
        assert "没有语音内容" in transcript_view.bundle("", None, (), heard)["text/html"]
    assert transcript_view.bundle("", None, (), None) == {"text/plain": ""}


# ---- names


@pytest.mark.parametrize(
    ("text", "mime", "name"),
    [
        ("Hello, world!", "audio/mpeg", "m-Hello-world.mp3"),
        ("你好，世界", "audio/wav", "m-你好-世界.wav"),
        ("", "image/png", "m.png"),
        ("../../etc/passwd", "audio/x", "m-etc-passwd.bin"),
        ("word " * 50, "audio/wav; codecs=1", "m-word-word-word-word-word-word-word-word.wav"),
    ],
)
def test_files_have_names_that_tell_what_is_in_them(text: str, mime: str, name: str) -> None:
    assert describe.file_name("m", text, mime) == name


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (7.9, "0:07"), (61, "1:01"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_times_are_read_by_people(seconds: float, text: str) -> None:
    assert describe.clock(seconds) == text
