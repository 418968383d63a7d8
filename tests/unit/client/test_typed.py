"""Responses as values of a type: reading them, asking for them, asking again."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pydantic
import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.local.transformers import params
from byzer_magic.client.model import Model
from byzer_magic.client.structured import ask_typed, with_text
from byzer_magic.client.typed import BRACKETS, NotThatType, Typed
from byzer_magic.errors import BadRequest, CommandError, ContextTooLong, MalformedResponse, Unsupported
from byzer_magic.types import ChatChunk, ChatRequest, Message
from tests.answering import Answering, refuses_schemas


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0)


class Number(pydantic.BaseModel):
    n: int


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Point:
    x: float
    y: float


ANN = Person(name="Ann", age=30)
JSON = '{"name": "Ann", "age": 30}'


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"```json\n{JSON}\n```",
        f"Here:\n```\n{JSON}\n```\nDone.",
        f"An example is [1, 2]. The person: {JSON} That is all.",
        f"First I thought {{x}}, then {JSON}",
        "{'name': 'Ann', 'age': 30,}",
        '{name: Ann, age: "30"}',
        "{\n  // she\n  name: 'Ann',\n  age: 30\n}".replace("  // she\n", ""),
    ],
)
def test_typed_reads_what_models_write(text: str) -> None:
    assert Typed(Person).read(text) == ANN


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (list[int], "[1, 2]", [1, 2]),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (int, "42", 42),
        (int, " 42.\n", 42),
        (bool, "true", True),
        (float, '{"value": 1.5}', 1.5),
        (Colour, "blue", Colour.BLUE),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (dict[str, int], '{"value": 1}', {"value": 1}),
        (list[Person], f"[{JSON}]", [ANN]),
        (Person | None, "null", None),
    ],
)
def test_typed_reads_any_type(kind: Any, text: str, value: Any) -> None:
    assert Typed(kind).read(text) == value


@pytest.mark.parametrize(("text", "problem"), [("Ann is 30.", "no JSON"), ('{"name": "Ann", "age": -1}', "age: ")])
def test_typed_says_what_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(NotThatType, match=problem):
        Typed(Person).read(text)


@given(st.text(alphabet='[]{}":,ab1\\\n`'))
def test_typed_reads_or_refuses_any_text(text: str) -> None:
    try:
        assert isinstance(Typed(Person).read(text), Person)
    except NotThatType as err:
        assert str(err)


def test_typed_reads_a_text_of_brackets_in_bounded_time() -> None:
    with pytest.raises(NotThatType):
        Typed(Person).read("[{" * 100_000)
    assert Typed(Person).read("[" * (BRACKETS - 2) + JSON) == ANN


@pytest.mark.parametrize("kind", [Person, list[Person], int, Person | None, dict[str, Person]])
def test_typed_has_an_object_at_the_top_of_its_schema(kind: Any) -> None:
    schema = Typed(kind).schema
    assert schema["type"] == "object"
    assert "additionalProperties" in schema
    assert all(inner["additionalProperties"] is False for inner in schema.get("$defs", {}).values())
    assert json.dumps(schema) in Typed(kind).instruction


def test_schema_of_a_field_with_the_name_of_a_keyword_is_that_of_the_field() -> None:
    class Odd(pydantic.BaseModel):
        properties: int
        default: dict[str, int] = {"properties": 1}

    properties = Typed(Odd).schema["properties"]
    assert properties.keys() == {"properties", "default"}
    assert properties["default"]["default"] == {"properties": 1}


async def test_ask_typed_sends_the_schema_and_says_it() -> None:
    manager = Answering(JSON)
    value, result = await ask_typed(manager, "m", "Who?", Person)
    assert (value, result.text) == (ANN, JSON)
    [request] = manager.requests
    assert request.options["response_format"]["json_schema"]["name"] == "Person"
    assert request.messages[0].content.startswith("Who?\n\nRespond with JSON")


async def test_ask_typed_asks_again_once_with_what_is_wrong() -> None:
    manager = Answering('{"name": "Ann", "age": "old"}', JSON)
    value, _result = await ask_typed(manager, "m", "Who?", Person)
    assert value == ANN
    *_before, (said, first), (asks, correction) = manager.texts()
    assert (said, first, asks) == ("assistant", '{"name": "Ann", "age": "old"}', "user")
    assert "age: Input should be a valid integer" in correction


async def test_ask_typed_fails_after_the_second_response() -> None:
    manager = Answering("I do not know.")
    with pytest.raises(MalformedResponse, match=r"m did not respond with a valid Person") as caught:
        await ask_typed(manager, "m", "Who?", Person)
    assert len(manager.requests) == 2
    assert caught.value.partial.text == "I do not know."


async def test_ask_typed_says_that_a_response_was_truncated() -> None:
    manager = Answering([ChatChunk('{"name": "A', finish="length")])
    with pytest.raises(MalformedResponse) as caught:
        await ask_typed(manager, "m", "Who?", Person)
    assert "max_tokens" in caught.value.hint


async def test_ask_typed_repeats_the_question_after_an_empty_response() -> None:
    manager = Answering(" ", JSON)
    await ask_typed(manager, "m", "Who?", Person)
    assert manager.texts(0) == manager.texts(1)


@pytest.mark.parametrize("error", [BadRequest, Unsupported])  # a provider's, an engine's
async def test_ask_typed_does_without_a_schema_that_is_refused(error: type[Exception]) -> None:
    manager = Answering(functools.partial(refuses_schemas, error=error))
    assert (await ask_typed(manager, "m", "One?", Number))[0] == Number(n=1)
    assert ["response_format" in request.options for request in manager.requests] == [True, False]
    await ask_typed(manager, "m", "One?", Number)
    assert ["response_format" in request.options for request in manager.requests] == [True, False, False]


@pytest.mark.parametrize("error", [BadRequest("temperature is too high."), ContextTooLong("Too long.")])
async def test_ask_typed_raises_what_has_nothing_to_do_with_the_schema(error: Exception) -> None:
    manager = Answering(error)
    with pytest.raises(type(error)):
        await ask_typed(manager, "m", "One?", Number)
    assert not manager.learnt("m")


async def test_ask_typed_does_without_a_schema_that_an_engine_does_not_support() -> None:
    def transformers(request: ChatRequest) -> str:
        params.generation({}, request.options)
        return '{"n": 1}'

    manager = Answering(transformers)
    assert (await ask_typed(manager, "m", "One?", Number))[0] == Number(n=1)
    assert ["response_format" in request.options for request in manager.requests] == [True, False]


async def test_ask_typed_leaves_a_response_format_of_the_caller() -> None:
    manager = Answering('{"n": 1}')
    await ask_typed(manager, "m", "One?", Number, options={"response_format": {"type": "json_object"}})
    assert manager.requests[0].options["response_format"] == {"type": "json_object"}


def test_model_chat_with_a_schema_returns_the_value() -> None:
    assert Model("m", Answering(JSON)).chat("Who?", schema=Person) == ANN


async def test_model_achat_with_a_schema_returns_the_value() -> None:
    assert await Model("m", Answering("[1]")).achat("Which?", schema=list[int]) == [1]


class Odd:
    """No type that pydantic knows."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [(pd.DataFrame({"secret": range(99)}), "DataFrame"), ("Review", "str"), ({"a": 1}, "dict"), ([int], "list")],
)
def test_typed_names_the_kind_of_what_is_not_a_type(kind: Any, name: str) -> None:
    with pytest.raises(CommandError, match=f"is not a type, but a value of type {name}") as caught:
        Typed(kind)
    assert len(str(caught.value.message)) < 200, "not all of a frame"


@pytest.mark.parametrize("kind", [Odd, list[Odd], Callable[[], int]])
def test_typed_refuses_a_type_without_a_schema_with_one_error(kind: Any) -> None:
    with pytest.raises(CommandError, match="cannot be the type of a response") as caught:
        Typed(kind)
    assert caught.value.hint
    assert "errors.pydantic.dev" not in str(caught.value)


def test_function_is_no_type() -> None:
    def weather(city: str) -> str:
        return city

    with pytest.raises(CommandError, match="weather is a function"):
        Typed(weather)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Such as {"n": 1}. So: {"n": 2}', 2),
        ('{"n": 1}\n\nNo, I was wrong:\n\n{"n": 2}\n\nSee [3].', 2),
        ('```json\n{"n": 1}\n```\nBetter:\n```json\n{"n": 2}\n```', 2),
        ('{"n": 2}, not {"n": "two"}', 2),
    ],
)
def test_typed_reads_the_last_value_that_is_valid(text: str, value: int) -> None:
    assert Typed(Number).read(text).n == value


class Story(pydantic.BaseModel):
    title: str


def test_typed_does_not_read_the_schema_that_a_model_repeats_as_its_value() -> None:
    typed = Typed(Story)
    assert typed.read(f'{{"title": "Snow"}}\n\n{typed.instruction}') == Story(title="Snow")
    with pytest.raises(NotThatType):
        typed.read(typed.instruction)


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: datetime.date
    colour: Colour
    pair: tuple[int, int]


def test_typed_reads_json_as_pydantic_does() -> None:
    found = Typed(Strict).read('{"day": "2026-01-02", "colour": "red", "pair": [1, 2]}')
    assert found == Strict(day=datetime.date(2026, 1, 2), colour=Colour.RED, pair=(1, 2))


def test_with_text_ends_the_users_turn_and_leaves_what_tools_have_returned() -> None:
    said, call, result, begun = (
        Message("user", "Weather?"), Message("assistant", tool_calls=[{}]), Message("tool", "sunny", tool_call_id="1"),
        Message("assistant", "It is"),
    )  # fmt: skip
    told = Message("user", "In JSON.")
    assert with_text([said, begun], "In JSON.") == [Message("user", "Weather?\n\nIn JSON."), begun]
    assert with_text([said, call, result], "In JSON.") == [said, call, result, told]
    assert with_text([said, call, result, begun], "In JSON.") == [said, call, result, told, begun]
