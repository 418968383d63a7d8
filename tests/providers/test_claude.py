"""`saas/claude` against a strict Anthropic of ours, and against aimock, which others wrote."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import sse
from byzer_magic.types import ChatRequest, Media, Message, Usage
from tests.backends import ask, collect, opened, refuse_streams, text_of, until_error
from tests.servers.process import Process, gone_after, last

"""How late the server may notice that a client has left: the goal is 0.1 s, on a machine that does nothing else."""
PNG = Media("image/png", b"\x89PNG1234")
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(key: str, serving: Callable[..., Process]) -> Process:
    return serving("claude", key)


async def connect(url: str, key: str, **params: str) -> Any:
    given = {"saas.base_url": url, "saas.api_key": key, "saas.model": "claude-sonnet-5-5"}
    return await opened("saas/claude", given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(server: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key)
    yield backend
    await backend.close()


async def test_stream_ends_with_finish_and_usage(backend: Any) -> None:
    chunks = await collect(backend, ask("one two"))
    assert [chunk.text for chunk in chunks] == ["Echo:", " one", " two", ""]
    assert chunks[-1].finish == "stop"
    assert chunks[-1].usage == Usage(10, 5, cached_tokens=3), "cached tokens of the prompt are counted, too"
    assert chunks[-1].extra == {"id": "msg_1", "model": "claude-sonnet-5-5", "request_id": "req_1"}


@pytest.mark.parametrize("stream", [True, False])
async def test_chat_returns_text_reasoning_and_tool_calls(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("think:hmm"))
    assert "".join(chunk.reasoning for chunk in chunks) == "hmm"
    text = '日本語 😀 a\u2028b \\ " {x}'
    assert text_of(await collect(backend, ask(f"say:{text}"))) == text
    chunks = await collect(backend, ask("tool:weather", tools=[TOOL], tool_choice="required"))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("toolu_1", "weather")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert chunks[-1].finish == "tool_calls"


async def test_request_has_system_prompt_and_default_limit(backend: Any, server: Process) -> None:
    turns = [Message("system", "Be brief."), Message("user", "hi")]
    assert text_of(await collect(backend, ChatRequest(messages=turns))) == "Echo: hi (Be brief.)"
    assert last(server)["body"]["max_tokens"] == 8192
    await collect(backend, ask("hi", max_tokens=5, stop="x", user="me"))
    assert (
        last(server)["body"] | {"max_tokens": 5, "stop_sequences": ["x"], "metadata": {"user_id": "me"}}
        == last(server)["body"]
    )


async def test_images_are_sent_as_bytes_or_urls(backend: Any, server: Process) -> None:
    urls = ("https://host/a.png", "data:image/jpeg;base64,/9j/4AAQ")
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    turn = Message("user", [{"type": "text", "text": "look"}, PNG, *parts])
    await collect(backend, ChatRequest(messages=[turn]))
    assert [block.get("source") for block in last(server)["body"]["messages"][0]["content"]] == [
        None,
        {"type": "base64", "media_type": "image/png", "data": "iVBORzEyMzQ="},
        {"type": "url", "url": "https://host/a.png"},
        {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AAQ"},
    ]


async def test_tool_results_are_joined_in_one_turn(backend: Any, server: Process) -> None:
    calls = [
        {"id": name, "type": "function", "function": {"name": "weather", "arguments": '{"city": "x"}'}} for name in "ab"
    ]
    turns = [
        Message("user", "weather?"),
        Message("assistant", "Looking.", tool_calls=calls),
        Message("tool", "sunny", tool_call_id="a"),
        Message("tool", "rain", tool_call_id="b"),
    ]
    assert text_of(await collect(backend, ChatRequest(messages=turns))) == "Echo: <a: sunny> <b: rain>"
    assert [turn["role"] for turn in last(server)["body"]["messages"]] == ["user", "assistant", "user"]


async def test_tool_result_may_have_an_image(backend: Any, server: Process) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "plot", "arguments": ""}}
    turns = [
        Message("user", "plot!"),
        Message("assistant", tool_calls=[call]),
        Message("tool", [{"type": "text", "text": "see"}, PNG], tool_call_id="a"),
    ]
    await collect(backend, ChatRequest(messages=turns))
    result = last(server)["body"]["messages"][-1]["content"][0]
    assert [block["type"] for block in result["content"]] == ["text", "image"]


async def test_system_prompt_keeps_cache_control(backend: Any, server: Process) -> None:
    part = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    turns = [Message("system", [part]), Message("user", "hi")]
    await collect(backend, ChatRequest(messages=turns))
    assert last(server)["body"]["system"] == [part]


async def test_extra_body_of_deployment_and_request_are_merged(server: Process, key: str) -> None:
    backend = await connect(server.url, key, extra_body='{"metadata": {"user_id": "me"}, "service_tier": "auto"}')
    await collect(backend, ask("hi", extra_body={"service_tier": "standard_only"}))
    body = last(server)["body"]
    assert (body["metadata"], body["service_tier"]) == ({"user_id": "me"}, "standard_only")
    await backend.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_malformed_messages_raise_bad_request(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    call = {"id": "a", "type": "function", "function": {"name": "w", "arguments": "{bad"}}
    turns = [Message("user", "w"), Message("assistant", tool_calls=[call]), Message("tool", "x", tool_call_id="a")]
    for request in (
        ChatRequest(messages=turns),
        ChatRequest(messages=[Message("user", [{"type": "image_url"}])]),
        ask("hi", tools=["weather"]),
        ask("hi", tools=[{"type": "function", "function": {}}]),
    ):
        with pytest.raises(errors.BadRequest, match=r"does not match OpenAI's schema|not a JSON object") as caught:
            await collect(backend, request)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_max_tokens_zero_is_sent(backend: Any, server: Process) -> None:
    await collect(backend, ask("hi", max_tokens=0))
    assert last(server)["body"]["max_tokens"] == 0


async def test_streams_reuse_a_connection(backend: Any, server: Process) -> None:
    for _ in range(5):
        await collect(backend, ask("one two"))
    assert len({entry["peer"] for entry in server.get("/journal")[-5:]}) == 1


@pytest.mark.parametrize("ending", ["/v1", "/v1/", "/v1/messages"])
async def test_check_rejects_base_url_with_version(server: Process, key: str, ending: str) -> None:
    with pytest.raises(errors.BadParameter, match="is added"):
        await connect(server.url + ending, key)


async def test_sampling_options_select_the_older_api_version(backend: Any, server: Process, key: str) -> None:
    await collect(backend, ask("hi"))
    assert last(server)["version"] == "2026-10-21"
    await collect(backend, ask("hi", temperature=0.5))
    assert (last(server)["version"], last(server)["body"]["temperature"]) == ("2023-06-01", 0.5)
    fixed = await connect(server.url, key, anthropic_version="2026-10-21")
    with pytest.raises(errors.BadRequest, match="no longer supported"):
        await collect(fixed, ask("hi", temperature=0.5))
    await fixed.close()
    fixed = await connect(server.url, key, extra_headers='{"Anthropic-Version": "2026-10-21"}')
    with pytest.raises(errors.BadRequest, match="no longer supported"):
        await collect(fixed, ask("hi", temperature=0.5))
    await fixed.close()


async def test_json_schema_sets_output_format(backend: Any, server: Process) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    await collect(backend, ask("hi", response_format=form))
    assert last(server)["body"]["output_config"]["format"] == {"type": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize("options", [{"seed": 1}, {"n": 2}, {"response_format": {"type": "json_object"}}])
async def test_unsupported_options_raise_bad_request(backend: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.BadRequest, match="Anthropic's API"):
        await collect(backend, ask("hi", **options))


START = {"type": "message_start", "message": {"usage": {"input_tokens": 4, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "message_start", "message": "x"},
        {"type": "message_start", "message": {"usage": [1]}},
        {"type": "message_delta", "delta": "x", "usage": 3},
        {"type": "content_block_delta", "index": 0, "delta": None},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "input": 4}},
        {"type": "content_block_delta", "index": [], "delta": {}},
        {"type": "ping", "message": None},
        None,
        [],
    ],
)
async def test_odd_fields_of_events_refuse_no_answer(backend: Any, monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    text = {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "Hi"}}

    async def sent(_: Any) -> AsyncIterator[bytes]:
        for event in (START, text, odd, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, STOP):
            yield json.dumps(event).encode()

    monkeypatch.setattr(sse, "events", sent)
    chunks = await collect(backend, ask("hi"))
    assert (text_of(chunks), [chunk.finish for chunk in chunks if chunk.finish]) == ("Hi", ["stop"])


async def test_events_without_a_type_or_an_end_are_read(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    block = {"type": "tool_use", "id": "t", "name": "get", "input": {"q": 1}}
    events = [
        {"type": "content_block_delta", "index": 0, "delta": {"text": "Hi"}},
        {"type": "content_block_start", "index": 1, "content_block": block},  # nothing says that it ends
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    ]

    async def sent(_: Any) -> AsyncIterator[bytes]:
        for event in (START, *events, STOP):
            yield json.dumps(event).encode()

    monkeypatch.setattr(sse, "events", sent)
    chunks = await collect(backend, ask("hi"))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert text_of(chunks) == "Hi"
    assert "".join(call["function"].get("arguments") or "" for call in calls) == '{"q": 1}'


async def test_connection_reset_after_message_stop_is_ignored(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sent(_: Any) -> AsyncIterator[bytes]:
        for event in (START, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, STOP):
            yield json.dumps(event).encode()
        raise ConnectionResetError

    monkeypatch.setattr(sse, "events", sent)
    assert (await collect(backend, ask("hi")))[-1].finish == "stop"


async def test_overload_inside_a_stream_keeps_text(backend: Any) -> None:
    seen, error = await until_error(backend.chat(ask("fault:overloaded some words")))
    assert type(error) is errors.ProviderUnavailable
    assert "(529): Overloaded" in error.message
    assert [chunk.text for chunk in seen] == ["Echo:", " some"]


async def test_closing_closes_the_connection(backend: Any, server: Process) -> None:
    async with aclosing(backend.chat(ask("slow:100ms " + "word " * 50_000))) as chunks:
        async for _ in chunks:
            break
        left = time.time()
    assert await gone_after(server, left) >= 0


async def test_aimock_chat(aimock: Process, key: str) -> None:
    backend = await connect(aimock.url, key)
    chunks = await collect(backend, ask("What is the capital of France?"))
    assert text_of(chunks) == "The capital of France is Paris."
    assert chunks[-1].finish == "stop"
    await backend.close()
