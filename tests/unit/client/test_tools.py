"""Python functions as tools: their schemas, and the loop that calls them."""

from __future__ import annotations

import datetime
import threading
from typing import Annotated, Any, Literal

import pydantic
import pytest

from byzer_magic.client.model import Model
from byzer_magic.client.tools import ROUNDS, Tool, ask_with_tools
from byzer_magic.errors import CommandError, RequestError
from tests.answering import Answering, called


def weather(
    city: Annotated[str, "name of the city"],
    days: Annotated[int, "days from today"] = 0,
    unit: Annotated[str, "unit", {"enum": ["C", "F"]}] = "C",
) -> dict[str, Any]:
    """Return the weather of a city.

    It is always sunny.
    """
    return {"city": city, "days": days, "weather": "sunny", "unit": unit}


class Place(pydantic.BaseModel):
    lat: float
    lon: float


def distance(start: Place, end: Place, how: Literal["road", "air"] = "air") -> float:
    """Return kilometres."""
    assert isinstance(start, Place)
    return abs(start.lat - end.lat) * 111


def test_tool_describes_a_function() -> None:
    schema = Tool(weather).schema["function"]
    assert schema["name"] == "weather"
    assert schema["description"] == "Return the weather of a city.\n\nIt is always sunny."
    assert schema["parameters"]["required"] == ["city"]
    assert schema["parameters"]["properties"]["days"]["description"] == "days from today"
    assert schema["parameters"]["properties"]["unit"]["enum"] == ["C", "F"]


def test_tool_converts_arguments_to_their_types() -> None:
    arguments = '{"start": {"lat": 1, "lon": 0}, "end": {"lat": "2", "lon": 0}}'
    assert Tool(distance).call(arguments) == 111


@pytest.mark.parametrize("arguments", ["{}", '{"city": ["x"]}', '{"city"', "[]"])
def test_tool_refuses_wrong_arguments(arguments: str) -> None:
    with pytest.raises(ValueError):
        Tool(weather).call(arguments)


def test_tool_takes_methods_and_lambdas() -> None:
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, number: int) -> int:
            """Add a number."""
            self.count += number
            return self.count

    assert Tool(Counter().add).call('{"number": 2}') == 2
    assert Tool(lambda city: city).call('{"city": "x"}') == "x"


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
    assert result.raw["calls"][0]["result"].startswith("Error: ValidationError")


async def test_ask_with_tools_awaits_coroutines_and_runs_functions_in_a_thread() -> None:
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
