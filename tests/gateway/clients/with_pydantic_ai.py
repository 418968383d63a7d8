"""Pydantic AI: agents over OpenAI's chats and responses, and Anthropic's messages."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from given import CALL, CHATS, EMBEDDINGS, KEY, NO_MODEL, URL, V1, WRONG_KEY, Place, documented, weather
from pydantic_ai import Agent, Embedder, ModelHTTPError, NativeOutput
from pydantic_ai.embeddings.openai import OpenAIEmbeddingModel
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


def chats(model: str, key: str = KEY) -> OpenAIChatModel:
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=V1, api_key=key))


def responses(model: str, key: str = KEY) -> OpenAIResponsesModel:
    return OpenAIResponsesModel(model, provider=OpenAIProvider(base_url=V1, api_key=key))


def messages(model: str, key: str = KEY) -> AnthropicModel:
    return AnthropicModel(model, provider=AnthropicProvider(base_url=URL, api_key=key))


APIS = pytest.mark.parametrize("api", [chats, responses, messages])
MODELS = pytest.mark.parametrize("model", CHATS)


@APIS
@MODELS
def test_answers(api: Any, model: str) -> None:
    answer = Agent(api(model)).run_sync("hello big world")
    assert answer.output == "Echo: hello big world"
    assert answer.usage.output_tokens > 0


@APIS
@MODELS
def test_streams(api: Any, model: str) -> None:
    async def streamed() -> list[str]:
        async with Agent(api(model)).run_stream("hello big world") as answer:
            return [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]

    pieces = asyncio.run(streamed())
    assert len(pieces) > 1
    assert "".join(pieces) == "Echo: hello big world"


@APIS
@MODELS
def test_calls_tools(api: Any, model: str) -> None:
    answer = Agent(api(model), tools=[weather]).run_sync(CALL)
    assert "18 degrees in Paris" in answer.output
    assert answer.usage.requests == 2


@APIS
@MODELS
def test_values_by_tools(api: Any, model: str) -> None:
    assert Agent(api(model), output_type=Place).run_sync("tool:final_result").output == Place(city="Paris")


@pytest.mark.parametrize("api", [chats, responses])
@MODELS
def test_values_by_schema(api: Any, model: str) -> None:
    assert isinstance(Agent(api(model), output_type=NativeOutput(Place)).run_sync("Where?").output, Place)


def test_embeds() -> None:
    model = OpenAIEmbeddingModel(EMBEDDINGS, provider=OpenAIProvider(base_url=V1, api_key=KEY))
    one, other = Embedder(model).embed_documents_sync(["one", "other"]).embeddings
    assert len(one) == len(other) > 1


@APIS
@pytest.mark.parametrize(("model", "key", "status"), [(NO_MODEL, KEY, 404), ("gpt", WRONG_KEY, 401)])
def test_errors(api: Any, model: str, key: str, status: int) -> None:
    with pytest.raises(ModelHTTPError) as caught:
        Agent(api(model, key)).run_sync("hi")
    assert caught.value.status_code == status


def test_documentation() -> None:
    exec(documented("from pydantic_ai"), {})
