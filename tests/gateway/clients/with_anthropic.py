"""Anthropic's SDK: sync, async, raw, its own error classes."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest
from given import CALL, CHATS, KEY, LOCAL, NO_MODEL, URL, WRONG_KEY, weather

MODELS = pytest.mark.parametrize("model", CHATS)


@pytest.fixture
def client() -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=URL, api_key=KEY, max_retries=0)


def asked(model: str, text: str = "hello big world") -> dict[str, Any]:
    return {"model": model, "max_tokens": 60, "messages": [{"role": "user", "content": text}]}


@MODELS
def test_answers(client: anthropic.Anthropic, model: str) -> None:
    raw = client.messages.with_raw_response.create(**asked(model))
    assert raw.headers["request-id"]
    answer = raw.parse()
    assert answer.content[0].text == "Echo: hello big world"
    assert answer._request_id == raw.headers["request-id"]


@pytest.mark.parametrize("model", [*CHATS, LOCAL])
def test_streams_async(model: str) -> None:
    async def streamed() -> list[str]:
        client = anthropic.AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0)
        async with client, client.messages.stream(**asked(model)) as stream:
            return [text async for text in stream.text_stream]

    pieces = asyncio.run(streamed())
    assert len(pieces) > 1
    assert model == LOCAL or "".join(pieces) == "Echo: hello big world"


@MODELS
def test_raw_stream_is_of_named_events(client: anthropic.Anthropic, model: str) -> None:
    with client.messages.with_streaming_response.create(**asked(model), stream=True) as response:
        lines = list(response.iter_lines())
    assert lines[0] == "event: message_start"
    assert "event: message_stop" in lines


@MODELS
def test_runs_tools(client: anthropic.Anthropic, model: str) -> None:
    runner = client.beta.messages.tool_runner(**asked(model, CALL), tools=[anthropic.beta_tool(weather)])
    assert "18 degrees in Paris" in runner.until_done().content[-1].text


def test_local_model_calls_a_tool_and_takes_its_result(client: anthropic.Anthropic) -> None:
    tool = anthropic.beta_tool(weather)
    given = {**asked(LOCAL, "What is the weather in Paris?"), "tools": [tool.to_dict()]}
    called = client.messages.create(**given, tool_choice={"type": "tool", "name": "weather"})
    assert called.stop_reason == "tool_use"
    [use] = [block for block in called.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": tool.call(use.input)}
    turns = [
        *given["messages"],
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(**{**given, "messages": turns})
    assert answer.content
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_errors(client: anthropic.Anthropic, stream: bool) -> None:
    for text, kind in (
        ("fault:429", anthropic.RateLimitError),
        ("fault:context", anthropic.BadRequestError),
        ("fault:401", anthropic.InternalServerError),
    ):
        with pytest.raises(kind):
            client.messages.create(**asked("gpt", text), stream=stream)
    with pytest.raises(anthropic.NotFoundError, match="gpt"):
        client.messages.create(**asked(NO_MODEL), stream=stream)
    with pytest.raises(anthropic.AuthenticationError):
        client.with_options(api_key=WRONG_KEY).messages.create(**asked("gpt"), stream=stream)


def test_error_in_the_middle_of_a_stream(client: anthropic.Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIError, match="overloaded"),
        client.messages.stream(**asked("gpt", "fault:error one two three four")) as stream,
    ):
        stream.until_done()


def test_key_of_another_kind(client: anthropic.Anthropic) -> None:
    by_token = anthropic.Anthropic(base_url=URL, auth_token=KEY, max_retries=0)
    assert by_token.messages.create(**asked("gpt")).content
    assert {model.id for model in by_token.models.list()} >= {*CHATS}
