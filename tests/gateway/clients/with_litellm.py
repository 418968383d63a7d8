"""LiteLLM's SDK, as a client of OpenAI's API and of Anthropic's."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version
from typing import Any

import litellm
import pytest
from given import CALL, EMBEDDINGS, KEY, LOCAL, NO_MODEL, URL, V1, WRONG_KEY, Place, documented

TOOL = {"type": "function", "function": {"name": "weather", "parameters": Place.model_json_schema()}}
APIS = pytest.mark.parametrize(
    ("api", "base"),
    [("openai", V1), ("anthropic", URL), ("openai/responses", V1)],
    ids=["openai", "anthropic", "responses"],
)
MODELS = pytest.mark.parametrize("model", ["gpt", "claude"])


def ask(model: str, base: str, text: str = "hello big world", **more: Any) -> Any:
    given = {"messages": [{"role": "user", "content": text}], "api_base": base, "api_key": KEY, "max_retries": 0}
    return litellm.completion(model, **{**given, **more})


def test_is_not_the_compromised_release() -> None:
    assert tuple(map(int, version("litellm").split("."))) <= (1, 80, 0)


@APIS
@MODELS
def test_answers(api: str, base: str, model: str) -> None:
    answer = ask(f"{api}/{model}", base)
    assert answer.choices[0].message.content == "Echo: hello big world"
    assert answer.usage.completion_tokens > 0


@APIS
@MODELS
def test_streams(api: str, base: str, model: str) -> None:
    chunks = list(ask(f"{api}/{model}", base, stream=True, stream_options={"include_usage": True}))
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(text) > 1
    assert "".join(text) == "Echo: hello big world"
    assert [chunk.usage.total_tokens for chunk in chunks if getattr(chunk, "usage", None)]


@pytest.mark.parametrize(
    ("api", "base", "stream"),
    [
        ("openai", V1, False), ("openai", V1, True), ("anthropic", URL, False), ("anthropic", URL, True),
        ("openai/responses", V1, False),  # LiteLLM 1.80 drops the calls of such streams, of OpenAI's own, too
    ],
)  # fmt: skip
@MODELS
def test_calls_tools(api: str, base: str, model: str, stream: bool) -> None:
    answer = ask(f"{api}/{model}", base, CALL, tools=[TOOL], stream=stream)
    message = (litellm.stream_chunk_builder(list(answer)) if stream else answer).choices[0].message
    [call] = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Paris"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"}
    turns = [{"role": "user", "content": CALL}, message.model_dump(), result]
    assert "18 degrees" in ask(f"{api}/{model}", base, messages=turns, tools=[TOOL]).choices[0].message.content


def test_local_model_calls_a_tool_over_anthropics_api() -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = ask(f"anthropic/{LOCAL}", URL, "The weather in Paris?", tools=[TOOL], tool_choice=choice, max_tokens=60)
    assert answer.choices[0].message.tool_calls[0].function.name == "weather"


@MODELS
def test_structured_output(model: str) -> None:
    answer = ask(f"openai/{model}", V1, "Where?", response_format=Place)
    assert Place.model_validate_json(answer.choices[0].message.content)


def test_async() -> None:
    async def asked() -> str:
        answer = await litellm.acompletion(
            "openai/claude", [{"role": "user", "content": "hi"}], api_base=V1, api_key=KEY
        )
        return str(answer.choices[0].message.content)

    assert asyncio.run(asked()) == "Echo: hi"


def test_embeds() -> None:
    found = litellm.embedding(f"openai/{EMBEDDINGS}", ["one", "other"], api_base=V1, api_key=KEY)
    assert len(found.data[0]["embedding"]) == len(found.data[1]["embedding"]) > 1
    assert found.usage.prompt_tokens > 0


@APIS
def test_errors(api: str, base: str) -> None:
    with pytest.raises(litellm.NotFoundError, match="gpt"):
        ask(f"{api}/{NO_MODEL}", base)
    with pytest.raises(litellm.AuthenticationError):
        ask(f"{api}/gpt", base, api_key=WRONG_KEY)
    with pytest.raises(litellm.RateLimitError):
        ask(f"{api}/gpt", base, "fault:429")
    with pytest.raises(litellm.ContextWindowExceededError):
        ask(f"{api}/gpt", base, "fault:context")


def test_documentation() -> None:
    exec(documented("import litellm"), {})
