"""LlamaIndex: OpenAILike and OpenAILikeEmbedding."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from given import CALL, CHATS, EMBEDDINGS, KEY, NO_MODEL, V1, WRONG_KEY, Place, documented, weather
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike

MODELS = pytest.mark.parametrize("model", CHATS)


def llm(model: str, **more: Any) -> OpenAILike:
    given = {
        "model": model, "api_base": V1, "api_key": KEY, "is_chat_model": True, "is_function_calling_model": True,
        "max_retries": 0,
    }  # fmt: skip
    return OpenAILike(**{**given, **more})


@MODELS
def test_answers(model: str) -> None:
    answer = llm(model).complete("hello big world")
    assert answer.text == "Echo: hello big world"
    assert answer.raw.usage.completion_tokens > 0


@MODELS
def test_streams(model: str) -> None:
    pieces = [piece.delta for piece in llm(model).stream_chat([ChatMessage("hello big world")])]
    assert sum(map(bool, pieces)) > 1
    assert "".join(pieces) == "Echo: hello big world"


def test_completes_without_a_chat() -> None:
    assert llm("gpt", is_chat_model=False).complete("hello").text == "Echo: hello"


@MODELS
def test_calls_tools(model: str) -> None:
    tool, chat = FunctionTool.from_defaults(weather), llm(model)
    called = chat.chat_with_tools([tool], user_msg=CALL)
    [call] = chat.get_tool_calls_from_response(called)
    assert (call.tool_name, call.tool_kwargs) == ("weather", {"city": "Paris"})
    result = ChatMessage(
        role=MessageRole.TOOL,
        content=tool(**call.tool_kwargs).content,
        additional_kwargs={"tool_call_id": call.tool_id},
    )
    answer = chat.chat_with_tools([tool], chat_history=[ChatMessage(CALL), called.message, result])
    assert "18 degrees in Paris" in answer.message.content


@MODELS
def test_structured_output(model: str) -> None:
    assert llm(model).as_structured_llm(Place).complete("tool:Place").raw == Place(city="Paris")
    by_schema = llm(model, should_use_structured_outputs=True).as_structured_llm(Place)
    assert by_schema.complete("Where?").raw == Place(city="text")


def test_async() -> None:
    async def asked() -> list[str]:
        stream = await llm("claude").astream_complete("hi there")
        return [piece.delta async for piece in stream]

    assert "".join(asyncio.run(asked())) == "Echo: hi there"


def test_embeds() -> None:
    embedding = OpenAILikeEmbedding(model_name=EMBEDDINGS, api_base=V1, api_key=KEY)
    one, other = embedding.get_text_embedding_batch(["one", "other"])
    assert len(one) == len(other) > 1
    assert embedding.get_text_embedding("one") == pytest.approx(one)


def test_errors() -> None:
    with pytest.raises(openai.NotFoundError, match="gpt"):
        llm(NO_MODEL).complete("hi")
    with pytest.raises(openai.AuthenticationError):
        llm("gpt", api_key=WRONG_KEY).complete("hi")


def test_documentation() -> None:
    exec(documented("from llama_index"), {})
