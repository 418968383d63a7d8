"""OpenAI's SDK against the endpoint, with models of several backends behind it."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import openai as sdk
import pytest

from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.engine]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(openai: Any, text: str, model: str = "gpt", **more: Any) -> Any:
    return openai.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def test_models_are_the_aliases(openai: Any) -> None:
    assert {"gpt", "claude", "llama", "emb"} <= {model.id for model in openai.models.list()}
    assert openai.models.retrieve("gpt").owned_by == "byzer-magic"


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_chat_answers_at_once(openai: Any, model: str) -> None:
    answer = ask(openai, "hello world", model)
    assert answer.choices[0].message.content == "Echo: hello world"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == model
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", ["gpt", "claude", "llama"])
def test_chat_streams_deltas(openai: Any, model: str) -> None:
    stream = ask(openai, "hello big world", model, stream=True, stream_options={"include_usage": True}, max_tokens=8)
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    text = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(text) > 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens > 1
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] in ("stop", "length")


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("stream", [False, True])
def test_chat_calls_tools_and_takes_their_results(openai: Any, model: str, stream: bool) -> None:
    if stream:
        with openai.chat.completions.stream(
            model=model, messages=[{"role": "user", "content": "tool:weather"}], tools=[WEATHER]
        ) as events:
            message = events.get_final_completion().choices[0].message
    else:
        message = ask(openai, "tool:weather", model, tools=[WEATHER]).choices[0].message
    [call] = message.tool_calls
    assert (call.type, call.function.name, json.loads(call.function.arguments)) == (
        "function", "weather", {"city": "Paris"},
    )  # fmt: skip
    turns = [
        {"role": "user", "content": "tool:weather"},
        {"role": "assistant", "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"},
    ]
    answer = openai.chat.completions.create(model=model, messages=turns, tools=[WEATHER])
    assert "18 degrees" in answer.choices[0].message.content


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_chat_sees_images(openai: Any, model: str) -> None:
    parts = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
    ]
    answer = openai.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
    assert "image" in answer.choices[0].message.content


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("stream", [False, True])
def test_several_answers(openai: Any, model: str, stream: bool) -> None:
    answer = ask(openai, "say:two words", model, n=3, stream=stream)
    if stream:
        found = {0: "", 1: "", 2: ""}
        for chunk in answer:
            for choice in chunk.choices:
                found[choice.index] += choice.delta.content or ""
    else:
        found = {choice.index: choice.message.content for choice in answer.choices}
    assert found == dict.fromkeys(range(3), "two words")


def test_schema_holds_a_local_model(openai: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    answer = ask(openai, "Give me a number.", "llama", response_format=form, max_tokens=40, temperature=0)
    assert isinstance(json.loads(answer.choices[0].message.content)["n"], int)


def test_embeddings_are_the_same_in_both_encodings(openai: Any) -> None:
    default = openai.embeddings.create(model="emb", input=["one", "two"])
    plain = openai.embeddings.create(model="emb", input=["one", "two"], encoding_format="float")
    coded = openai.embeddings.create(model="emb", input="one", encoding_format="base64")
    assert [len(row.embedding) for row in default.data] == [len(row.embedding) for row in plain.data]
    assert default.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert default.data[0].embedding != default.data[1].embedding
    assert len(base64.b64decode(coded.data[0].embedding)) == 4 * len(plain.data[0].embedding)


def test_unknown_model_names_the_nearest(openai: Any) -> None:
    with pytest.raises(sdk.NotFoundError) as caught:
        ask(openai, "hi", "gtp")
    assert caught.value.code == "model_not_found"
    assert "gpt" in caught.value.message


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("429", sdk.RateLimitError, "rate_limit_exceeded"),
        ("context", sdk.BadRequestError, "context_length_exceeded"),
        ("filter", sdk.BadRequestError, "content_filter"),
        ("401", sdk.InternalServerError, "upstream_authentication"),
        ("500", sdk.InternalServerError, "upstream_unavailable"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_of_a_provider_have_the_sdks_classes(
    openai: Any, fault: str, kind: type[Exception], code: str, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        ask(openai, f"fault:{fault}", stream=stream)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_error_in_the_middle_of_a_stream_is_raised(openai: Any) -> None:
    with pytest.raises(sdk.APIError, match="overloaded"):
        list(ask(openai, "fault:error one two three four", stream=True))


def test_request_id_comes_back(endpoint: Process, openai: Any) -> None:
    raw = openai.chat.completions.with_raw_response.create(
        model="gpt", messages=[{"role": "user", "content": "hi"}], extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.parse()._request_id == "mine-1"


async def test_async_sdk_streams_side_by_side(endpoint: Process) -> None:
    async def streamed(client: Any, number: int) -> str:
        stream = await client.chat.completions.create(
            model=("gpt", "claude")[number % 2], messages=[{"role": "user", "content": f"say {number}"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    async with sdk.AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key="none", max_retries=0) as client:
        found = await asyncio.gather(*(streamed(client, number) for number in range(30)))
    assert found == [f"Echo: say {number}" for number in range(30)]


def test_raw_stream_is_server_sent_events(openai: Any) -> None:
    with openai.chat.completions.with_streaming_response.create(
        model="gpt", messages=[{"role": "user", "content": "one two"}], stream=True
    ) as response:
        lines = [line for line in response.iter_lines() if line]
        assert response.headers["content-type"].startswith("text/event-stream")
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"


def test_base_url_without_v1_works(endpoint: Process) -> None:
    with sdk.OpenAI(base_url=endpoint.url, api_key="none", max_retries=0) as client:
        assert ask(client, "hi").choices[0].message.content == "Echo: hi"


def test_fields_that_only_a_provider_knows_reach_it(openai: Any) -> None:
    with pytest.raises(sdk.BadRequestError, match="max_tokens"):
        ask(openai, "hi", max_tokens="seven")
    assert ask(openai, "one two three", extra_body={"max_completion_tokens": 2}).usage.completion_tokens == 2
