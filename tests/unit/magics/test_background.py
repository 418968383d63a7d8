"""`%%chat --background` without a kernel: an output that fills after its cell has ended, and what is kept of it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.actions.context import Context
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.ledger import LEDGER, Cell
from byzer_magic.commands import parser
from byzer_magic.i18n import lazy_gettext as _, using
from byzer_magic.magics import repaint
from byzer_magic.magics.chat import Chats
from byzer_magic.magics.show import Notebook
from byzer_magic.types import ChatChunk, Dispatched
from tests.pools import Near, Pools
from tests.waiting import eventually

KEY = "sk-hidden-0123456789"


class Model:
    """Answers when it is let, then fails if it has an error."""

    def __init__(self, error: errors.ByzerError | None = None) -> None:
        self.let = threading.Event()
        self._error = error

    async def __call__(self, request: Any) -> AsyncIterator[Any]:
        import asyncio

        yield Dispatched(0, 0.0)
        yield ChatChunk("Be")
        await asyncio.to_thread(self.let.wait, 10)
        if self._error:
            raise self._error
        yield ChatChunk(f"cause of {len(request.messages)}.", finish="stop")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for name in ("display", "update"):
        monkeypatch.setattr(repaint.DisplayHandle, name, lambda _, data, **__: found.append(data))
    return found


def notebook(output: Any = None) -> tuple[Chats, dict[str, Any]]:
    variables: dict[str, Any] = {"API_KEY": KEY}
    return Chats(SimpleNamespace(user_ns=variables), output or Notebook()), variables


def ask(talk: Chats, pools: Pools, line: str, prompt: str | None = "Why?") -> None:
    talk.chat(Near(pools), parser.parse_chat(line), prompt)


def test_output_fills_after_the_cell_has_ended(shown: list[dict[str, str]]) -> None:
    model = Model()
    talk, variables = notebook()
    ask(talk, Pools(model), "m --background --out found --session t")
    assert "_chat" not in variables
    assert eventually(lambda: "Be" in shown[-1]["text/plain"])
    model.let.set()
    assert eventually(lambda: "TTFT" in shown[-1]["text/plain"])
    assert shown[-1]["text/plain"].startswith("Because of 1.\n")
    assert variables["_chat"].text == variables["found"].text == "Because of 1."
    assert eventually(lambda: [turn.content for turn in talk.kept["t"]] == ["Why?", "Because of 1."])


def test_end_is_not_shown_as_a_part_of_the_ended_cell_but_in_its_language(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has the ended cell as its parent, nbclient drops: a saved notebook had half of the answer."""
    cell: ContextVar[str] = ContextVar("cell", default="none")
    shown: list[tuple[str, str]] = []
    for name in ("display", "update"):
        monkeypatch.setattr(
            repaint.DisplayHandle, name, lambda _, data, **__: shown.append((cell.get(), data["text/plain"]))
        )
    model, token = Model(errors.Cancelled(_("The answer was cancelled."))), cell.set("asked")
    with using("zh"):
        ask(notebook()[0], Pools(model), "m --background")
    cell.reset(token)
    model.let.set()
    assert eventually(lambda: "回答已被取消。" in shown[-1][1])
    assert shown[-1][0] == "none"


def test_answer_is_counted_for_its_cell_and_not_for_the_one_that_runs_meanwhile(shown: list[dict[str, str]]) -> None:
    model = Model()
    model.let.set()
    talk, variables = notebook()
    LEDGER.begin(Cell(number=71, id="asks"))
    ask(talk, Pools(model), "m --background")
    LEDGER.begin(Cell(number=72, id="other"))
    try:
        assert eventually(lambda: "_chat" in variables)
        assert eventually(lambda: 71 in {run.cell.number for run in LEDGER.runs()})
        assert 72 not in {run.cell.number for run in LEDGER.runs()}
    finally:
        LEDGER.end()


def test_turn_is_in_its_session_once_and_the_next_prompt_goes_on_after_it(shown: list[dict[str, str]]) -> None:
    model = Model()
    model.let.set()
    pools = Pools(model)
    talk, variables = notebook()
    ask(talk, pools, "m --background --session t")
    assert eventually(lambda: "_chat" in variables)
    ask(talk, pools, "m --session t", "And?")
    assert [turn.content for turn in talk.kept["t"]] == ["Why?", "Because of 1.", "And?", "Because of 3."]


def test_failure_is_shown_below_what_had_arrived_without_secrets(shown: list[dict[str, str]]) -> None:
    model = Model(errors.ProviderUnavailable(f"The key {KEY} is down.", "Wait a minute."))
    talk, variables = notebook()
    ask(talk, Pools(model), "m --background")
    assert eventually(lambda: "Be" in shown[-1]["text/plain"])
    model.let.set()
    assert eventually(lambda: "Wait a minute." in shown[-1]["text/plain"])
    assert shown[-1]["text/plain"].startswith("Be\n")
    assert "The key *** is down." in shown[-1]["text/plain"]
    assert KEY not in str(shown)
    assert 'role="alert"' in shown[-1]["text/html"]
    assert variables["_chat"].interrupted


def test_terminal_gets_the_result_and_is_told_where_it_is(
    shown: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model()
    talk, variables = notebook(Terminal())
    ask(talk, Pools(model), "m --background")
    assert "%chat --attach " in capsys.readouterr().err
    model.let.set()
    assert eventually(lambda: "_chat" in variables)
    assert capsys.readouterr().out == ""
    assert shown == []


def test_another_notebook_attaches_and_cancel_ends_the_answer(
    shown: list[dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model()
    pools = Pools(model)
    ask(notebook()[0], pools, "m --background")
    assert eventually(lambda: shown and "Be" in shown[-1]["text/plain"])
    other, variables = notebook()
    context = Context(manager=Near(pools), output=Notebook())
    threading.Timer(0.2, model.let.set).start()
    other.attach(context, parser.parse_chat("--attach --out found"))
    assert variables["found"].text == "Because of 1."
    other.attach(context, parser.parse_chat("--attach m --cancel"))
    assert "had ended already" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["a,b --background", "m --background --schema int", "m --background --tools print"])
def test_what_the_background_cannot_do_is_refused(line: str) -> None:
    talk, _variables = notebook()
    with pytest.raises(errors.CommandError, match="--background works with one model"):
        ask(talk, Pools(), line)


def test_cancel_without_attach_is_refused() -> None:
    with pytest.raises(errors.CommandError, match="--cancel needs --attach"):
        ask(notebook()[0], Pools(), "m --cancel")
