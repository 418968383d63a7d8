"""A terminal: results on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.actions import terminal
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.converse import Exchange
from byzer_magic.i18n import using
from byzer_magic.rendering import progress
from byzer_magic.types import (
    ENDLESS,
    AudioChunk,
    ChatChunk,
    ChatRequest,
    Dispatched,
    Loading,
    Media,
    Placed,
    Ready,
    Request,
    SpeakRequest,
    TranscribeRequest,
    TranscriptChunk,
    Usage,
)
from tests.exchanges import exchange
from tests.waiting import PATIENCE


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


NOTE = "m is a base model without a chat template"


class Slow:
    """Answers in two parts; the second comes once `until` holds."""

    def __init__(self, *items: ChatChunk, until: Callable[[], bool]) -> None:
        self._items = items
        self._until = until

    async def ask(self, _alias: str, _request: Request, /) -> AsyncIterator[Any]:
        yield Dispatched(1, 0.0)
        for item in self._items[:-1]:
            yield item
        while not self._until():
            await asyncio.sleep(0.005)
        yield self._items[-1]


def slow(first: ChatChunk, until: Callable[[], bool]) -> Exchange:
    """Return an exchange whose response ends once a condition holds."""
    return Exchange(Slow(first, ChatChunk("!", finish="stop"), until=until), "m", ChatRequest(messages=[]))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines on stderr, as they are written, every few milliseconds."""
    lines: list[str] = []
    monkeypatch.setattr(terminal, "FIRST_REPORT_SECONDS", 0.01)
    monkeypatch.setattr(Terminal, "say", lambda _self, text: lines.append(text))
    return lines


@pytest.mark.parametrize("style", ["complete", "markdown"])
def test_terminal_reports_on_a_chat_that_shows_nothing(
    style: str, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    def reports() -> int:
        return sum(bool(re.fullmatch(r"m: 1,234 characters after \d+ s", line)) for line in said)

    Terminal().answer(slow(ChatChunk("x" * 1234), lambda: reports() > 1), style)
    assert reports() > 1
    assert capsys.readouterr().out == "x" * 1234 + "!\n"


def test_terminal_says_once_that_a_base_model_may_not_end(
    said: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "NOTE_SECONDS", 0.0)

    def after() -> list[str]:
        """Return the lines after the first note."""
        return next((said[place + 1 :] for place, line in enumerate(said) if line.startswith(NOTE)), [])

    with using("en"):
        Terminal().answer(slow(ChatChunk("Once", extra=ENDLESS), lambda: len(after()) > 1), "complete")
    assert said[0].startswith("m: "), "it begins with a report"
    assert not any(line.startswith(NOTE) for line in after())
    assert capsys.readouterr().out == "Once!\n"


def test_terminal_shows_the_progress_of_a_long_response(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "PROGRESS_SECONDS", 0.0)
    chunks = [AudioChunk(bytes(1500), "audio/mpeg")] * 2
    Terminal().answer(exchange(SpeakRequest(text="hi"), *chunks), "hidden")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.search(r"m: generating audio, 3 kB · \d+ s", shown.err)


def test_terminal_writes_a_line_per_stage_of_a_deploy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "LOAD_PROGRESS_SECONDS", PATIENCE)
    events = [
        Placed("n", 7),
        Loading("weights", fraction=0.1),
        Loading("weights", fraction=0.9),
        Ready(1.0, 1, ["chat"]),
    ]
    Terminal().events("m", iter(events))
    assert len(capsys.readouterr().err.splitlines()) == 3, "a stage that goes on is not repeated at once"


@pytest.mark.parametrize("style", ["complete", "markdown"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
def test_terminal_writes_an_answer_in_any_encoding(style: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    Terminal().answer(exchange(ChatRequest(messages=[]), ChatChunk("a\u4f60"), ChatChunk("\U0001f511!")), style)
    if encoding == "gbk":
        assert raw.getvalue().decode("gbk") == "a\u4f60\\U0001f511!\n"
    else:
        assert raw.getvalue() == b"a\\u4f60\\U0001f511!\n"


def test_cli_says_in_a_sentence_that_stdout_cannot_be_written() -> None:
    for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        command = f'exec "$0" -m byzer_magic.cli help {redirection}'
        done = subprocess.run(
            ["sh", "-c", command, sys.executable],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"LC_ALL": "C", "LANG": ""},
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[0] == f"Error: Cannot write the output: {reason}."
        assert len(done.stderr.splitlines()) == 2


def test_terminal_goes_on_where_stderr_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        Terminal().answer(exchange(ChatRequest(messages=[]), ChatChunk("hi", finish="stop")), "markdown")
        with contextlib.suppress(OSError):
            full.close()
    assert capsys.readouterr().out == "hi\n"


class Screen(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


CONTROLS = ["a\x1b", "]0;title\x07b\r", "\n\x9b2J", "\u202ec"]


@pytest.mark.parametrize("style", ["markdown", "complete"])
def test_a_terminal_gets_no_control_characters(style: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    Terminal().answer(exchange(ChatRequest(messages=[]), *map(ChatChunk, CONTROLS), alias="m\x1b[1m"), style)
    Terminal().table([{"alias": "m\x1b[2J"}], "none")
    Terminal().say("failed: \x1b[31m")
    assert screen.getvalue() == "a␛]0;title␇b\n\ufffd2Jc\nalias\nm␛[2J\n"
    assert "\x1b" not in capsys.readouterr().err


def test_a_file_gets_the_answer_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    Terminal().answer(exchange(ChatRequest(messages=[]), *map(ChatChunk, CONTROLS)), "markdown")
    assert file.getvalue() == "".join(CONTROLS) + "\n"
