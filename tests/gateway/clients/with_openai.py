"""OpenAI's SDK, one major version before that of `tests/gateway/test_openai.py`: sync, async, raw, errors of keys."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from given import CALL, CHATS, KEY, NO_MODEL, V1, WRONG_KEY, Place, weather

MODELS = pytest.mark.parametrize("model", CHATS)


@pytest.fixture
def client() -> openai.OpenAI:
    return openai.OpenAI(base_url=V1, api_key=KEY, max_retries=0)


def asked(model: str, text: str = "hello big world") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


@MODELS
def test_answers(client: openai.OpenAI, model: str) -> None:
    raw = client.chat.completions.with_raw_response.create(**asked(model))
    assert raw.headers["x-request-id"]
    assert raw.parse().choices[0].message.content == "Echo: hello big world"


@MODELS
def test_streams_async(model: str) -> None:
    async def streamed() -> list[str]:
        async with openai.AsyncOpenAI(base_url=V1, api_key=KEY, max_retries=0) as client:
            stream = await client.chat.completions.create(**asked(model), stream=True)
            return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]

    assert "".join(asyncio.run(streamed())) == "Echo: hello big world"


@MODELS
def test_parses(client: openai.OpenAI, model: str) -> None:
    tool = openai.pydantic_function_tool(Place, name="weather", description=weather.__doc__)
    [call] = client.chat.completions.parse(**asked(model, CALL), tools=[tool]).choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Place(city="Paris")
    assert client.chat.completions.parse(**asked(model, "Where?"), response_format=Place).choices[0].message.parsed
    assert client.responses.parse(model=model, input="Where?", text_format=Place).output_parsed


def test_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="gpt"):
        client.chat.completions.create(**asked(NO_MODEL))
    stranger = client.with_options(api_key=WRONG_KEY)
    for call in (
        lambda: stranger.chat.completions.create(**asked("gpt")),
        lambda: stranger.chat.completions.create(**asked("gpt"), stream=True),
        lambda: stranger.responses.create(model="gpt", input="hi"),
        lambda: stranger.embeddings.create(model="emb", input="hi"),
        lambda: stranger.models.list(),
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            call()
        assert caught.value.code == "invalid_api_key"
