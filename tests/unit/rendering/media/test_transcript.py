"""Transcripts in a cell."""

from __future__ import annotations

from byzer_magic.i18n import using
from byzer_magic.rendering.media import (
    audio as audio_view,
    transcript as transcript_view,
)
from byzer_magic.types import Media, Segment
from tests.pages import Page
from tests.servers.audio_files import tone

SEGMENTS = [Segment(0.0, 2.5, " One."), Segment(62.5, 64.0, " Two."), Segment(3725.0, 3726.0, "Three.")]


def test_bundle_times_seek_in_the_audio() -> None:
    transcribed = audio_view.recording(Media("audio/wav", tone(1), name="talk.wav"), "")
    shown = transcript_view.bundle("One. Two. Three.", SEGMENTS, ("listen", "en"), transcribed)
    page = Page(shown["text/html"])
    buttons = [attrs for attrs in page.all("button") if "data-bz-seek" in attrs]
    assert [button["data-bz-seek"] for button in buttons] == ["0.00", "62.50", "3725.00"]
    assert buttons[2]["aria-label"] == "Play from 1:02:05"
    assert "audio" in page.tags()
    assert shown["text/plain"].startswith("[0:00] One.\n[1:02] Two.\n[1:02:05] Three.\n\nlisten · en")


def test_bundle_times_without_audio_are_plain() -> None:
    page = Page(transcript_view.bundle("One.", SEGMENTS, (), None)["text/html"])
    assert "button" not in page.tags()
    assert len(page.all("time")) == 3
    assert page.all("ol")[0]["tabindex"] == "0", "what scrolls can be reached by keyboard"


def test_bundle_says_in_both_languages_that_there_is_no_speech() -> None:
    transcribed = audio_view.recording(Media("audio/wav", tone(0.1)), "")
    assert "(no speech)" in transcript_view.bundle("", None, (), transcribed)["text/html"]
    with using("zh"):
        assert "没有语音内容" in transcript_view.bundle("", None, (), transcribed)["text/html"]
    assert transcript_view.bundle("", None, (), None) == {"text/plain": ""}
