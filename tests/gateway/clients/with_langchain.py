"""LangChain: ChatOpenAI, ChatAnthropic and OpenAIEmbeddings."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import openai
import pytest
from given import CALL, CHATS, EMBEDDINGS, KEY, LOCAL, NO_MODEL, URL, V1, WRONG_KEY, Place, documented, weather
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

TOOL = tool(weather)


def chat_openai(model: str, **more: Any) -> ChatOpenAI:
    return ChatOpenAI(
        **{"model": model, "base_url": V1, "api_key": KEY, "max_retries": 0, "stream_usage": True, **more}
    )


def chat_anthropic(model: str, **more: Any) -> ChatAnthropic:
    return ChatAnthropic(
        **{"model": model, "base_url": URL, "api_key": KEY, "max_retries": 0, "max_tokens": 60, **more}
    )


def responses(model: str, **more: Any) -> ChatOpenAI:
    return chat_openai(model, use_responses_api=True, **more)


APIS = pytest.mark.parametrize("api", [chat_openai, responses, chat_anthropic])
MODELS = pytest.mark.parametrize("model", CHATS)
REFUSED = pytest.mark.parametrize(
    ("api", "sdk"), [(chat_openai, openai), (responses, openai), (chat_anthropic, anthropic)]
)


@APIS
@MODELS
def test_answers(api: Any, model: str) -> None:
    answer = api(model).invoke("hello big world")
    assert answer.text == "Echo: hello big world"
    assert answer.usage_metadata["output_tokens"] > 0


@APIS
@pytest.mark.parametrize("model", [*CHATS, LOCAL])
def test_streams(api: Any, model: str) -> None:
    pieces = list(api(model, max_tokens=16).stream("hello big world"))
    whole = sum(pieces[1:], pieces[0])
    assert sum(bool(piece.text) for piece in pieces) > 1
    assert whole.usage_metadata["total_tokens"] > 0
    if model != LOCAL:
        assert whole.text == "Echo: hello big world"


@APIS
@MODELS
@pytest.mark.parametrize("streamed", [False, True])
def test_calls_tools(api: Any, model: str, streamed: bool) -> None:
    chat = api(model).bind_tools([TOOL])
    asked = [HumanMessage(CALL)]
    pieces = list(chat.stream(asked)) if streamed else [chat.invoke(asked)]
    called = sum(pieces[1:], pieces[0])
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("weather", {"city": "Paris"})
    assert "18 degrees in Paris" in chat.invoke([*asked, called, TOOL.invoke(call)]).text


@pytest.mark.parametrize("model", CHATS)
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(model: str, method: str) -> None:
    text = "tool:Place" if method == "function_calling" else "Where?"
    assert isinstance(chat_openai(model).with_structured_output(Place, method=method).invoke(text), Place)


@MODELS
def test_structured_output_of_anthropics_api(model: str) -> None:
    assert chat_anthropic(model).with_structured_output(Place).invoke("tool:Place") == Place(city="Paris")


@pytest.mark.parametrize("api", [chat_openai, chat_anthropic])
def test_local_model_calls_a_tool(api: Any) -> None:
    [call] = api(LOCAL).bind_tools([TOOL], tool_choice="weather").invoke("What is the weather in Paris?").tool_calls
    assert call["name"] == "weather"
    assert isinstance(call["args"]["city"], str)


def test_async() -> None:
    async def asked() -> str:
        answer = await chat_openai("gpt").ainvoke("hi")
        return answer.text + "".join([piece.text async for piece in chat_anthropic("claude").astream("hi there")])

    assert asyncio.run(asked()) == "Echo: hiEcho: hi there"


def test_embeds() -> None:
    embeddings = OpenAIEmbeddings(model=EMBEDDINGS, base_url=V1, api_key=KEY, check_embedding_ctx_length=False)
    one, other = embeddings.embed_documents(["one", "other"])
    assert len(one) == len(other) > 1
    assert embeddings.embed_query("one") == pytest.approx(one)


@REFUSED
def test_unknown_model(api: Any, sdk: Any) -> None:
    with pytest.raises(sdk.NotFoundError, match="gpt"):
        api(NO_MODEL).invoke("hi")


@REFUSED
def test_wrong_key(api: Any, sdk: Any) -> None:
    with pytest.raises(sdk.AuthenticationError):
        api("gpt", api_key=WRONG_KEY).invoke("hi")


def test_documentation() -> None:
    exec(documented("from langchain_anthropic"), {})
