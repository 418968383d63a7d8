"""A result is kept before it is shown: showing may fail, and may be interrupted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.actions import actions
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.converse import Exchange
from byzer_magic.commands import parser
from byzer_magic.config import Settings
from byzer_magic.magics import chat as chat_module, columns as asking, repaint, show
from byzer_magic.magics.byzer import ByzerMagics
from byzer_magic.magics.chat import Chats
from byzer_magic.magics.kept import Interrupted
from byzer_magic.magics.show import Notebook
from byzer_magic.rendering import results as rendered
from byzer_magic.rendering.answer import columns as columns_view, view
from byzer_magic.results import ChatResult, ImageResult, SpeakResult
from byzer_magic.types import AudioChunk, ChatChunk, ChatRequest, ImageItem, ImageRequest, SpeakRequest
from tests.exchanges import exchange, interrupt
from tests.pools import Near

ANSWER = "A paid answer."


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return what a front end is sent."""
    found: list[dict[str, str]] = []
    for name in ("display", "update"):
        monkeypatch.setattr(repaint.DisplayHandle, name, lambda _, data, **__: found.append(data))
    return found


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def chats(monkeypatch: pytest.MonkeyPatch, output: Any, *items: Any) -> Chats:
    found = items or (ChatChunk(ANSWER, finish="stop"),)

    def converse(_manager: object, alias: str, *_: object, **__: object) -> Exchange:
        return exchange(ChatRequest(messages=[]), *found, alias=alias)

    monkeypatch.setattr(chat_module, "converse", converse)
    return Chats(SimpleNamespace(user_ns={}), output)


def ask(talk: Chats, line: str) -> None:
    talk.chat(Near(), parser.parse_chat(line), "Hello")


def namespace(talk: Chats) -> dict[str, Any]:
    found: dict[str, Any] = talk._shell.user_ns
    return found


def test_a_renderer_that_fails_shows_the_text_and_where_the_answer_is(
    monkeypatch: pytest.MonkeyPatch, shown: list[dict[str, str]]
) -> None:
    talk = chats(monkeypatch, Notebook())
    monkeypatch.setattr(show.answer_view, "bundle", failing(RuntimeError("broken")))
    ask(talk, "m --session s --out found")
    assert namespace(talk)["_chat"].text == namespace(talk)["found"].text == ANSWER
    assert talk.kept["s"][-1].content == ANSWER
    assert ANSWER in shown[-1]["text/plain"]
    assert "_chat" in shown[-1]["text/plain"]
    assert "RuntimeError: broken" in shown[-1]["text/plain"]


def test_an_interrupt_while_it_is_shown_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = chats(monkeypatch, Notebook())
    monkeypatch.setattr(show.answer_view, "bundle", failing(KeyboardInterrupt()))
    with pytest.raises(Interrupted, match="_chat"):
        ask(talk, "m --session s")
    assert namespace(talk)["_chat"].text == ANSWER
    assert talk.kept["s"][-1].content == ANSWER


def test_a_front_end_that_is_gone_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = chats(monkeypatch, Notebook())
    monkeypatch.setattr(repaint.DisplayHandle, "display", failing(OSError("closed")))
    ask(talk, "m")
    assert namespace(talk)["_chat"].text == ANSWER


def test_a_stdout_that_is_gone_keeps_what_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = chats(monkeypatch, Terminal())
    monkeypatch.setattr("byzer_magic.actions.terminal._write", failing(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        ask(talk, "m")
    assert namespace(talk)["_chat"].text == ANSWER


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("broken")])
def test_columns_are_kept_before_they_are_shown(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    talk = chats(monkeypatch, Notebook())

    def close(board: Any) -> None:
        board._done.set()
        raise error

    monkeypatch.setattr(asking.Repainted, "close", close)
    with pytest.raises((Interrupted, RuntimeError)) as caught:
        ask(talk, "a,b --session s")
    assert "_chat" in str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert [result.text for result in namespace(talk)["_chat"]] == [ANSWER, ANSWER]
    assert {name: turns[-1].content for name, turns in talk.kept.items()} == {"s@a": ANSWER, "s@b": ANSWER}


def test_a_column_that_cannot_be_shown_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = (ChatResult(model=name, text=f"{name} says") for name in ("good", "bad"))
    views = {"good": view.View(), "bad": view.View()}
    monkeypatch.setattr(views["bad"], "inner", failing(RuntimeError("broken")))
    columns = [columns_view.Column(alias=item.model, state="done", result=item) for item in (good, bad)]
    page = columns_view.bundle(columns, views)["text/html"]
    assert "good says" in page
    assert "bad says" in page


MEDIA = [
    (SpeakRequest(text="hi"), AudioChunk(b"ID3" + bytes(4000), "audio/mpeg"), "audio", "audio/mpeg, 5 kB"),
    (ImageRequest(prompt="hi"), ImageItem("image/png", bytes(4000)), "image", "image/png, 4 kB"),
]


@pytest.mark.parametrize(("request_", "item", "renderer", "text"), MEDIA)
def test_media_that_cannot_be_shown_are_kept_and_named(
    request_: Any,
    item: Any,
    renderer: str,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[Any] = []
    asked = exchange(request_, item)
    asked.keep = kept.append
    monkeypatch.setattr(f"byzer_magic.rendering.media.{renderer}.bundle", failing(RuntimeError("broken")))
    Notebook().answer(asked, "markdown")
    assert isinstance(kept[0], SpeakResult | ImageResult)
    printed = capsys.readouterr().out
    assert text in printed
    assert "_chat" in printed
    assert "broken" in rendered.bundle(kept[0])["text/plain"]


@pytest.mark.parametrize(("request_", "item", "renderer", "text"), MEDIA)
def test_an_interrupt_while_media_are_shown_loses_nothing(
    request_: Any, item: Any, renderer: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"byzer_magic.rendering.media.{renderer}.bundle", failing(KeyboardInterrupt()))
    magics = query_magics(monkeypatch, exchange(request_, item))
    with pytest.raises(Interrupted, match="_chat"):
        magics._run(parser.parse(parser.split("query --model m --query hi")))
    assert str(magics.chats.results._shell.user_ns["_chat"]) == text


def test_an_interrupted_query_says_where_its_part_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = exchange(ChatRequest(messages=[]), ChatChunk("A paid"), ChatChunk(" answer."))
    monkeypatch.setattr(asked, "wait", functools.partial(asked.wait, interrupt))
    magics = query_magics(monkeypatch, asked)
    with pytest.raises(Interrupted, match="_chat"):
        magics._run(parser.parse(parser.split("query --model m --query hi")))
    assert magics.chats.results._shell.user_ns["_chat"].interrupted


def query_magics(monkeypatch: pytest.MonkeyPatch, asked: Exchange) -> Any:
    """Return the magics of a notebook whose query is this exchange."""
    monkeypatch.setattr(actions, "converse", lambda *_, **__: asked)
    talk = chats(monkeypatch, Notebook())
    manager = SimpleNamespace(settings=Settings())
    context = SimpleNamespace(manager=manager, output=Notebook(), keep=talk.results.put, variables=dict, typed={})
    magics: Any = SimpleNamespace(chats=talk, context=lambda: context)
    magics._run = functools.partial(ByzerMagics._run, magics)
    return magics
