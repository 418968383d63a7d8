"""`%%chat --schema` and `--tools` with sessions, DataFrames and variables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from byzer_magic.client.converse import Exchange
from byzer_magic.commands import parser
from byzer_magic.errors import CommandError
from byzer_magic.magics.chat import Chats
from byzer_magic.results import ChatResult
from tests.answering import Answering, called


class Output:
    """Notes what is said, and waits for responses."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(str(text))

    text = say

    def answer(self, exchange: Exchange, _form: object) -> Any:
        return exchange.wait()


def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


def asked(line: str, *answers: Any) -> tuple[Chats, Output, dict[str, Any], Answering]:
    output, variables = Output(), {"weather": weather, "Numbers": list[int]}
    talk = Chats(SimpleNamespace(user_ns=variables), output)  # type: ignore[arg-type]
    manager = Answering(*answers)
    talk.chat(manager, parser.parse_chat(line), "What?")
    return talk, output, variables, manager


def test_session_with_tools_keeps_the_answer_and_says_nothing_of_the_calls() -> None:
    calls = called("weather", '{"city": "Paris"}')
    talk, output, variables, _manager = asked("m --tools weather --session s --out found", calls, calls, "Sunny.")
    assert [(turn.role, turn.content) for turn in talk.kept["s"]] == [("user", "What?"), ("assistant", "Sunny.")]
    assert not [line for line in output.said if "session" in line]
    assert len(output.said) == 2
    assert len(variables["found"].raw["calls"]) == 2


def test_tools_with_df_leave_the_table() -> None:
    import pandas

    _talk, _output, variables, _manager = asked(
        "m --tools weather --df --out found", called("weather", '{"city": "Paris"}'), "Sunny."
    )
    assert isinstance(variables["found"], pandas.DataFrame)
    assert list(variables["found"]["output"] if "output" in variables["found"] else variables["found"].iloc[0])


def test_session_with_a_schema_remembers_the_turn() -> None:
    talk, _output, variables, _manager = asked("m --schema Numbers --session s --out found", "[1, 2]")
    assert variables["found"] == [1, 2]
    assert [(turn.role, turn.content) for turn in talk.kept["s"]] == [("user", "What?"), ("assistant", "[1, 2]")]


def test_coroutine_functions_are_awaited() -> None:
    output = Output()

    async def now() -> str:
        """Return the time."""
        return "noon"

    talk = Chats(SimpleNamespace(user_ns={"now": now}), output)  # type: ignore[arg-type]
    talk.chat(Answering(called("now", "{}"), "Noon."), parser.parse_chat("m --tools now"), "When?")
    assert output.said == ["now({}) -> noon"]
    assert isinstance(talk.results._shell.user_ns["_chat"], ChatResult)


def test_schema_does_not_go_with_df() -> None:
    with pytest.raises(CommandError, match="do not go together"):
        asked("m --schema Numbers --df", "[1]")
