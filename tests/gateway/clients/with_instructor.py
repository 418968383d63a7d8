"""instructor: values of a type, over OpenAI's API and Anthropic's."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import instructor
import openai
import pytest
from given import CHATS, KEY, NO_MODEL, URL, V1, WRONG_KEY, Place, documented
from instructor.v2.core.errors import InstructorRetryException

MODELS = pytest.mark.parametrize("model", CHATS)


def over_openai(mode: instructor.Mode, key: str = KEY) -> instructor.Instructor:
    return instructor.from_openai(openai.OpenAI(base_url=V1, api_key=key, max_retries=0), mode=mode)


def over_anthropic(key: str = KEY) -> instructor.Instructor:
    return instructor.from_anthropic(anthropic.Anthropic(base_url=URL, api_key=key, max_retries=0))


def asked(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 100, "max_retries": 0}


@MODELS
def test_values_by_tools(model: str) -> None:
    place, raw = over_openai(instructor.Mode.TOOLS).create_with_completion(
        response_model=Place, **asked(model, "tool:Place")
    )
    assert place.city == "Paris"
    assert raw.usage.total_tokens > 0


@MODELS
def test_values_by_schema(model: str) -> None:
    value = over_openai(instructor.Mode.JSON_SCHEMA).create(response_model=Place, **asked(model, "Where?"))
    assert isinstance(value, Place)


@MODELS
def test_values_over_anthropics_api(model: str) -> None:
    place, raw = over_anthropic().create_with_completion(response_model=Place, **asked(model, "tool:Place"))
    assert place.city == "Paris"
    assert raw.usage.output_tokens > 0


@MODELS
def test_streams_parts_of_a_value(model: str) -> None:
    parts = list(over_openai(instructor.Mode.TOOLS).create_partial(response_model=Place, **asked(model, "tool:Place")))
    assert parts[-1].city == "Paris"


def test_async() -> None:
    client = instructor.from_openai(openai.AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0))
    found = asyncio.run(client.create(response_model=Place, **asked("gpt", "tool:Place")))
    assert found.city == "Paris"


@pytest.mark.parametrize("make", [lambda key: over_openai(instructor.Mode.TOOLS, key), over_anthropic])
def test_errors(make: Any) -> None:
    with pytest.raises(InstructorRetryException, match=r"404.*gpt"):
        make(KEY).create(response_model=Place, **asked(NO_MODEL, "tool:Place"))
    with pytest.raises(InstructorRetryException, match="401"):
        make(WRONG_KEY).create(response_model=Place, **asked("gpt", "tool:Place"))


def test_documentation() -> None:
    exec(documented("import instructor"), {})
