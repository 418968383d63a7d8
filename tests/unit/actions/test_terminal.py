"""A terminal: results on stdout, everything else on stderr."""

from __future__ import annotations

import time
from typing import Any

import pytest

from byzer_magic.actions import terminal
from byzer_magic.actions.terminal import Terminal
from byzer_magic.i18n import using
from byzer_magic.types import (
    AudioChunk,
    ChatChunk,
    ChatRequest,
    Loading,
    Media,
    Placed,
    Ready,
    SpeakRequest,
    TranscribeRequest,
    TranscriptChunk,
    Usage,
)
from tests.exchanges import exchange


@pytest.mark.parametrize(("lang", "output"), [("en", "5 + 1 tokens"), ("zh", "5 + 1 个 token")])
def test_terminal_shows_the_footer_in_the_active_language(
    lang: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = ChatRequest(messages=[])
    chunks = (ChatChunk("hi"), ChatChunk(finish="stop", usage=Usage(5, 1, 0.02, "USD")))
    with using(lang):
        Terminal().answer(exchange(request, *chunks, worker=2), "markdown")
    shown = capsys.readouterr()
    assert shown.out == "hi\n"
    assert output in shown.err
    assert "· $0.0200" in shown.err


def test_terminal_waits_for_the_end_where_the_text_is_to_be_complete(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().answer(exchange(ChatRequest(messages=[]), ChatChunk("he"), ChatChunk("llo")), "complete")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("hello\n", "")


@pytest.mark.parametrize(
    ("extra", "words"), [({"silent": True}, "(no speech: the audio is silent)"), ({}, "(no speech)")]
)
def test_terminal_says_why_a_transcript_is_empty(
    extra: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    request = TranscribeRequest(audio=Media("audio/mpeg", b"ID3"))
    Terminal().answer(exchange(request, TranscriptChunk(extra=extra)), "complete")
    shown = capsys.readouterr()
    assert shown.out == "\n"
    assert shown.err.splitlines()[0] == words


def test_terminal_shows_the_progress_of_a_long_response(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PROGRESS_SECONDS", 0.0)
    chunks = [AudioChunk(bytes(1500), "audio/mpeg")] * 2
    Terminal().answer(exchange(SpeakRequest(text="hi"), *chunks), "hidden")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "m: generating audio, 3 kB · 0 s" in shown.err


def test_terminal_writes_a_line_per_stage_of_a_deploy(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    events = [
        Placed("n", 7),
        Loading("weights", fraction=0.1),
        Loading("weights", fraction=0.9),
        Ready(1.0, 1, ["chat"]),
    ]
    Terminal().events("m", iter(events))
    assert time.monotonic() - began < 1
    assert len(capsys.readouterr().err.splitlines()) == 3, "a stage that goes on is not repeated at once"
