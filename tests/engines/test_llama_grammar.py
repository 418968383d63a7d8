"""Answers of llama.cpp that are held by a grammar, a schema or tools, through both drivers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from byzer_magic import errors
from byzer_magic.backends.local.llama_cpp import load as llama_load
from byzer_magic.backends.local.llama_cpp.requests import WORDS
from byzer_magic.client.collect import ChatCollector
from byzer_magic.types import ChatRequest, Message
from tests.backends import ask, collect, opened, text_of
from tests.models.gguf_split import with_tools

KIND = "custom/auto@llama_cpp"
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
        "job": {"enum": ["cook", "pilot"]},
    },
    "required": ["name", "age", "job"],
    "additionalProperties": False,
}
WHO = "Describe a person, in JSON."
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"enum": ["C", "F"]}},
            "required": ["city", "unit"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "get_time"}}
RAIN = "What is the weather in Paris?"

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(llama_load.DRIVERS))
async def backend(request: pytest.FixtureRequest, gguf: Path) -> AsyncIterator[Any]:
    """A model whose chat template knows nothing of tools."""
    params = {"driver": request.param, "n_threads": "1", "n_ctx": "1024", "temperature": "0", "max_tokens": "100"}
    backend = await opened(KIND, params, model_path=str(gguf))
    yield backend
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=list(llama_load.DRIVERS))
async def with_template(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A model whose chat template shows tools."""
    params = {"driver": request.param, "n_threads": "1", "n_ctx": "1024", "temperature": "0", "max_tokens": "100"}
    backend = await opened(KIND, params, model_path=str(with_tools()))
    yield backend
    await backend.close()


async def answered(backend: Any, request: ChatRequest) -> Any:
    answer = ChatCollector("alias", request)
    async for chunk in backend.chat(request):
        answer.add(chunk)
    return answer.result()


@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}},
        {"type": "json_schema", "schema": PERSON},
        {"type": "json_object", "schema": PERSON},
    ],
)
async def test_schema_constrains_the_response(backend: Any, form: dict[str, Any]) -> None:
    chunks = await collect(backend, ask(WHO, response_format=form))
    person = json.loads(text_of(chunks))
    assert set(person) == {"name", "age", "job"}
    assert 1 <= person["age"] <= 120
    assert person["job"] in ("cook", "pilot")
    assert len(chunks) > 5, "piece by piece"


async def test_json_object_constrains_the_response(backend: Any) -> None:
    output = text_of(await collect(backend, ask(WHO + " Only name and age.", response_format={"type": "json_object"})))
    assert output.lstrip().startswith("{")


async def test_grammar_constrains_the_response(backend: Any) -> None:
    output = text_of(await collect(backend, ask("Is Paris in France?", grammar='root ::= ("yes" | "no") "!"')))
    assert output in ("yes!", "no!")
    free = text_of(await collect(backend, ask("What is the capital of France? Answer in one sentence.")))
    assert free == "The capital of France is Paris.", "the next request is free of it"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"grammar": "root ::= nothing"}, "The grammar cannot be parsed"),
        ({"grammar": 'root ::= ("a"'}, "The grammar cannot be parsed"),
        ({"grammar": 'start ::= "a"'}, "The grammar cannot be parsed"),
        ({"grammar": 'root ::= root "a"'}, "The grammar cannot be parsed"),
        ({"grammar": 7}, "grammar is not a string"),
        ({"response_format": {"type": "json_object", "schema": {"type": "nonsense"}}}, "nonsense"),
        ({"response_format": {"type": "xml"}}, "response_format is"),
        ({"response_format": "json"}, "response_format is"),
        ({"response_format": {"type": "json_schema"}}, "but no schema"),
        ({"response_format": {"type": "json_object", "schema": [1]}}, "not an object"),
        ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "not both"),
        ({"tools": [WEATHER], "grammar": 'root ::= "a"'}, "cannot be combined"),
        ({"tools": [{"name": "get_weather"}]}, "A tool has an unsupported format"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "rain"}}}, "tool_choice is"),
        ({"tools": [WEATHER], "tool_choice": "always"}, "tool_choice is"),
        ({"tool_choice": "required"}, "tool_choice is"),
    ],
)
async def test_grammar_that_is_invalid_is_refused(backend: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.BadRequest, match=words) as caught:
        await collect(backend, ask(WHO, **options))
    assert caught.value.hint
    assert text_of(await collect(backend, ask("Hi", max_tokens=3)))


async def test_grammar_overrides_the_format_of_the_deployment(gguf: Path, backend: Any) -> None:
    form = json.dumps({"type": "json_object"})
    params = {"n_threads": "1", "n_ctx": "512", "temperature": "0", "max_tokens": "20", "response_format": form}
    other = await opened(KIND, params, model_path=str(gguf))
    assert text_of(await collect(other, ask(WHO))).lstrip().startswith("{")
    assert text_of(await collect(other, ask(WHO, grammar='root ::= "word"'))) == "word"
    await other.close()


@pytest.mark.parametrize(
    ("tools", "choice"),
    [
        ([WEATHER], "required"),
        ([CLOCK, WEATHER], {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
async def test_tool_choice_forces_a_call(backend: Any, tools: Any, choice: Any) -> None:
    result = await answered(backend, ask(RAIN, tools=tools, tool_choice=choice))
    [call] = result.tool_calls
    assert call["function"]["name"] == "get_weather"
    arguments = json.loads(call["function"]["arguments"])
    assert set(arguments) == {"city", "unit"}
    assert call["id"]
    assert (result.text, result.finish) == ("", "tool_calls")
    assert result.usage.completion_tokens > 5


async def test_tools_allow_a_call_or_text(backend: Any) -> None:
    chosen = await answered(backend, ask(RAIN, tools=[WEATHER, CLOCK], tool_choice="required"))
    assert chosen.tool_calls[0]["function"]["name"] in ("get_weather", "get_time")
    json.loads(chosen.tool_calls[0]["function"]["arguments"])
    free = await answered(backend, ask(RAIN, tools=[WEATHER, CLOCK], tool_choice="auto", max_tokens=30))
    assert bool(free.tool_calls) != bool(free.text), "one of the two"
    assert WORDS not in free.text
    none = await answered(backend, ask(RAIN, tools=[WEATHER], tool_choice="none", max_tokens=10))
    assert none.text
    assert none.tool_calls is None


async def test_tool_result_is_in_the_prompt(backend: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    turns = [
        Message("user", RAIN),
        Message("assistant", None, tool_calls=[call]),
        Message("tool", "It is raining in Paris, 14 degrees.", tool_call_id="c1"),
    ]
    result = await answered(backend, ChatRequest(messages=turns, options={"tools": [WEATHER], "tool_choice": "none"}))
    assert "rain" in result.text.lower() or "14" in result.text


async def test_text_parts_are_joined(backend: Any) -> None:
    parts: list[Any] = [{"type": "text", "text": "What is the capital of France? "}]
    parts.append({"type": "text", "text": "Answer in one sentence."})
    result = await answered(backend, ChatRequest(messages=[Message("user", parts)]))
    assert result.text == "The capital of France is Paris."


async def test_tool_choice_forces_a_call_with_a_tool_template(with_template: Any) -> None:
    choice = {"type": "function", "function": {"name": "get_weather"}}
    result = await answered(with_template, ask(RAIN, tools=[CLOCK, WEATHER], tool_choice=choice))
    [call] = result.tool_calls
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city", "unit"}
    assert result.finish == "tool_calls"


async def test_tool_call_of_the_model_is_parsed(with_template: Any) -> None:
    written = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris", "unit": "C"}}\n</tool_call>'
    result = await answered(with_template, ask(f"Repeat exactly: {written}", tools=[WEATHER]))
    [call] = result.tool_calls
    assert call["function"]["name"] == "get_weather"
    assert set(json.loads(call["function"]["arguments"])) == {"city", "unit"}
    assert (result.text, result.finish) == ("", "tool_calls")


async def test_tool_conversation_fits_a_tool_template(with_template: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    turns = [
        Message("user", RAIN),
        Message("assistant", None, tool_calls=[call]),
        Message("tool", "It is raining in Paris, 14 degrees.", tool_call_id="c1"),
    ]
    result = await answered(with_template, ChatRequest(messages=turns, options={"max_tokens": 20}))
    assert result.text
