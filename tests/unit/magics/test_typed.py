"""`--schema` and `--tools` of a cell, with a model that answers as told."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic.commands.parser import parse_chat
from byzer_magic.errors import CommandError
from byzer_magic.magics import typed
from byzer_magic.types import Message
from tests.answering import Answering, called

ASKED = [Message("user", "Weather?")]


def weather(city: str) -> str:
    """Return the weather."""
    return f"sunny in {city}"


class Output:
    """Keeps the lines that it is to show."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("m --schema A --tools b", "do not go together"),
        ("a,b --schema A", "--schema works with one model only"),
        ("a,b --tools b", "--tools works with one model only"),
    ],
)
def test_check_refuses_options_that_do_not_go_together(line: str, words: str) -> None:
    item = parse_chat(line)
    with pytest.raises(CommandError, match=words):
        typed.check(item, item.model.split(","))


@pytest.mark.parametrize(
    ("names", "words"), [("weather,none", "none is not defined"), ("three", "3 is not a function")]
)
def test_functions_names_what_is_wrong(names: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        typed.functions(names, {"weather": weather, "three": 3})


def test_functions_takes_both_commas() -> None:
    found = typed.functions("weather， other", {"weather": weather, "other": lambda: 1})
    assert [tool.name for tool in found] == ["weather", "lambda"]


def test_answer_shows_calls_and_runs_them_here() -> None:
    out: Any = Output()
    manager = Answering(called("weather", '{"city":  "Paris"}'), "It is sunny.")
    tools = typed.functions("weather", {"weather": weather})
    asked = []

    def ask(exchange: Any) -> Any:
        asked.append(exchange)
        return manager.run(exchange.run())

    result = typed.answer(manager, out, parse_chat("m --tools weather"), ASKED, tools, ask)
    assert (result.text, len(asked)) == ("It is sunny.", 2)
    assert out.lines == ['weather({"city": "Paris"}) -> sunny in Paris']
    assert result.raw["calls"][0]["result"] == "sunny in Paris"


def test_value_is_of_the_type_that_the_variable_has() -> None:
    item = parse_chat("m --schema Numbers")
    value, result = typed.value(Answering("[1, 2]"), item, ASKED, {"Numbers": list[int]})
    assert (value, result.text) == ([1, 2], "[1, 2]")
    with pytest.raises(CommandError, match="Numbers is not defined"):
        typed.value(Answering("[1]"), item, ASKED, {})


def test_schema_may_be_a_type_of_python_and_an_expression_needs_a_name() -> None:
    assert typed.value(Answering("3"), parse_chat("m --schema int"), ASKED, {})[0] == 3
    with pytest.raises(CommandError, match="not defined") as caught:
        typed.value(Answering("[1]"), parse_chat("m --schema list[int]"), ASKED, {})
    assert "Answer = list[int]" in caught.value.hint
