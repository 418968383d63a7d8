"""The loop of a chat with functions."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import pytest

from byzer_magic.client.calling import ROUNDS, Rounds, ask_with_tools
from byzer_magic.client.model import Model
from byzer_magic.client.tools import Tool
from byzer_magic.errors import CommandError, RequestError
from byzer_magic.results import ChatResult
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import ChatRequest
from tests.answering import Answering, called
from tests.unit.client.test_tools import weather
from tests.waiting import PATIENCE

CALL = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}


async def test_ask_with_tools_calls_and_answers() -> None:
    manager = Answering(called("weather", '{"city": "Paris"}'), "It is sunny.")
    result = await ask_with_tools(manager, "m", "Weather?", {"tools": [weather], "temperature": 0})
    assert result.text == "It is sunny."
    [made] = result.raw["calls"]
    assert made["name"] == "weather"
    assert '"weather":"sunny"' in made["result"]
    assert [turn.role for turn in manager.requests[1].messages] == ["user", "assistant", "tool"]
    assert manager.requests[1].messages[-1].tool_call_id == "call_1"
    assert manager.requests[0].options["tools"][0]["function"]["name"] == "weather"


async def test_ask_with_tools_tells_the_model_its_errors() -> None:
    manager = Answering(called("weather", '{"town": "Paris"}'), called("weather", '{"city": "Paris"}', 2), "Sunny.")
    result = await ask_with_tools(manager, "m", "Weather?", {"tools": [weather]})
    assert result.text == "Sunny."
    assert result.raw["calls"][0]["result"] == "Error: ValidationError: city: Field required"


async def test_ask_with_tools_awaits_coroutines_and_runs_functions_off_the_loop() -> None:
    threads = []

    async def now() -> datetime.datetime:
        """Return the time."""
        return datetime.datetime(2026, 1, 2, 3, 4)

    def where() -> str:
        """Return a name."""
        threads.append(threading.current_thread())
        return "here"

    manager = Answering(called("now", "{}"), called("where", ""), "Done.")
    result = await ask_with_tools(manager, "m", "When?", {"tools": [now, where]})
    assert [each["result"] for each in result.raw["calls"]] == ['"2026-01-02T03:04:00"', "here"]
    assert threads != [threading.current_thread()]


async def test_ask_with_tools_leaves_calls_of_other_tools_to_the_caller() -> None:
    manager = Answering(called("search", "{}"))
    schema = {"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}
    result = await ask_with_tools(manager, "m", "Find it.", {"tools": [weather, schema]})
    assert result.tool_calls
    assert result.tool_calls[0]["function"]["name"] == "search"
    assert len(manager.requests) == 1


async def test_ask_with_tools_ends_after_some_rounds() -> None:
    manager = Answering(called("weather", '{"city": "Paris"}'))
    with pytest.raises(RequestError, match=f"still calls tools after {ROUNDS} rounds"):
        await ask_with_tools(manager, "m", "Weather?", {"tools": [weather]})
    assert len(manager.requests) == ROUNDS + 1


async def test_ask_with_tools_refuses_two_of_one_name() -> None:
    with pytest.raises(CommandError, match="same name"):
        await ask_with_tools(Answering(""), "m", "?", {"tools": [weather, weather]})


def test_model_chat_calls_functions() -> None:
    manager = Answering(called("weather", '{"city": "Paris"}'), "It is sunny.")
    assert Model("m", manager).chat("Weather?", tools=[weather]).text == "It is sunny."


async def test_ask_with_tools_keeps_the_loop_of_the_requests_free() -> None:
    """A coroutine function may ask a model in the blocking way: the loop that it waits for must not be its own."""
    other = Answering("sunny")

    async def ask() -> str:
        """Ask another model."""
        return Model("other", other).chat("Weather?").text

    manager = Answering(called("ask", "{}"), "Done.")
    waiting = asyncio.wait_for(LOOP.adopt(ask_with_tools(manager, "m", "?", {"tools": [ask]})), PATIENCE)
    assert (await waiting).raw["calls"][0]["result"] == "sunny"


def calls(function: Any) -> Any:
    """The call of a function, as a notebook's cell makes it."""
    talk = Rounds(ChatRequest(messages=[]), [Tool(function)])
    return talk.calls(ChatResult(model="m", text="", tool_calls=[CALL]))[0]


async def now() -> str:
    """Return the time."""
    await asyncio.sleep(0)
    return "noon"


def test_done_awaits_coroutines() -> None:
    assert calls(now).done()["result"] == "noon"


async def test_done_awaits_coroutines_where_a_loop_runs() -> None:
    assert calls(now).done()["result"] == "noon"


def test_ask_with_tools_may_be_nested_deeply() -> None:
    """Each call has a thread of its own; a shared pool would be full of calls that wait for others."""

    def ask(depth: int) -> str:
        """Ask once more."""
        if depth == 0:
            return "bottom"
        manager = Answering(called("ask", f'{{"depth": {depth - 1}}}'), "up")
        found: ChatResult = Model("m", manager).chat("?", tools=[ask])
        return str(found.raw["calls"][0]["result"])

    assert ask(60) == "bottom"


async def test_stream_and_schema_say_that_functions_are_not_called() -> None:
    model = Model("m", Answering("1"))
    with pytest.raises(CommandError, match="cannot be called in this request"):
        model.chat("?", schema=int, tools=[weather])
    with pytest.raises(CommandError, match="cannot be called in this request"):
        list(model.stream("?", tools=[weather]))
