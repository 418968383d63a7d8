"""Python functions as tools: their schemas and calls."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest

from byzer_magic.client.tools import Tool
from byzer_magic.errors import CommandError


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


class Odd:
    """No type that pydantic knows."""


def takes_odd(value: Odd) -> str:
    """Return a name."""
    return repr(value)


def takes_unknown(value: Unknown) -> str:  # type: ignore[name-defined]  # noqa: F821 - that is what is tested
    """Return a name."""
    return repr(value)


def takes_function(value: Callable[[], int]) -> int:
    """Return what a function returns."""
    return value()


@pytest.mark.parametrize("function", [takes_odd, takes_unknown, takes_function, max])
def test_tool_refuses_what_has_no_schema_with_one_error(function: Any) -> None:
    with pytest.raises(CommandError) as caught:
        Tool(function)
    assert caught.value.hint
    assert "errors.pydantic.dev" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["schema", "model_config", "model_fields", "_private", "json", "copy", "class_", "self_"]
)
def test_tool_takes_arguments_of_any_name(name: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def tool({name}: int, other: str = 'x'):\n    return {name}, other", scope)
    tool = Tool(scope["tool"])
    assert list(tool.schema["function"]["parameters"]["properties"]) == [name, "other"]
    assert tool.schema["function"]["parameters"]["required"] == [name]
    assert tool.call({name: "3"}) == (3, "x")
    with pytest.raises(pydantic.ValidationError, match=name):
        tool.call({})


def test_tool_takes_partials_and_knows_nothing_of_what_they_bind() -> None:
    tool = Tool(functools.partial(functools.partial(weather, unit="F"), "Paris"))
    assert (tool.name, tool.schema["function"]["description"][:6]) == ("weather", "Return")
    assert list(tool.schema["function"]["parameters"]["properties"]) == ["days"]
    assert tool.call('{"days": "2"}') == {"city": "Paris", "days": 2, "weather": "sunny", "unit": "F"}


def test_tool_passes_positional_arguments_by_position() -> None:
    def power(base: int, exponent: int = 2, /, *, negative: bool = False) -> int:
        """Return a power."""
        return -(base**exponent) if negative else base**exponent

    assert Tool(power).call('{"base": 3, "negative": true}') == -9
    assert Tool(power, hidden={"exponent": 3}).call('{"base": 3}') == 27


def test_tool_hides_arguments_from_the_model() -> None:
    def search(query: str, key: str) -> str:
        """Search."""
        return f"{query} {key}"

    tool = Tool(search, hidden={"key": "123", "unknown": 1})
    assert list(tool.schema["function"]["parameters"]["properties"]) == ["query"]
    assert tool.call('{"query": "x", "key": "of the model"}') == "x 123"


def test_tool_has_a_name_that_providers_take() -> None:
    assert Tool(lambda city: city).schema["function"]["name"] == "lambda"


def test_tool_finds_types_in_texts() -> None:
    def near(place: "Place", names: "list[Place]") -> str:  # noqa: UP037
        """Return a name."""
        return f"{place.lat} {names[0].lon}"

    assert Tool(near).call({"place": {"lat": 1, "lon": 2}, "names": [{"lat": 3, "lon": 4}]}) == "1.0 4.0"
