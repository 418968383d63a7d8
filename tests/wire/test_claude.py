"""`saas/claude` against a strict Anthropic of ours, and against aimock, which others wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.types import ChatRequest, Media, Message, Usage
from tests.servers.process import Process, own
from tests.wire.conftest import ask, collect, opened, text_of

PNG = Media("image/png", b"\x89PNG1234")
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def server(key: str) -> Iterator[Process]:
    with own("claude", key) as process:
        yield process


async def connect(url: str, key: str, **params: str) -> Any:
    given = {"saas.base_url": url, "saas.api_key": key, "saas.model": "claude-sonnet-5-5"}
    return await opened("saas/claude", given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(server: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key)
    yield backend
    await backend.close()


def last(server: Process) -> Any:
    return server.get("/journal")[-1]


async def test_a_stream_is_deltas_then_reason_and_counts(backend: Any) -> None:
    chunks = await collect(backend, ask("one two"))
    assert [chunk.text for chunk in chunks] == ["Echo:", " one", " two", ""]
    assert chunks[-1].finish == "stop"
    assert chunks[-1].usage == Usage(10, 5), "cached tokens of the prompt are counted, too"
    assert chunks[-1].extra == {"id": "msg_1", "model": "claude-sonnet-5-5", "request_id": "req_1"}


@pytest.mark.parametrize("stream", [True, False])
async def test_text_thoughts_and_tools(backend: Any, stream: bool) -> None:
    chunks = await collect(backend, ask("think:hmm", stream=stream))
    assert "".join(chunk.reasoning for chunk in chunks) == "hmm"
    said = '日本語 😀 a\u2028b \\ " {x}'
    assert text_of(await collect(backend, ask(f"say:{said}", stream=stream))) == said
    chunks = await collect(backend, ask("tool:weather", stream=stream, tools=[TOOL], tool_choice="required"))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("toolu_1", "weather")
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == {"city": "Paris"}
    assert chunks[-1].finish == "tool_calls"


async def test_the_system_prompt_and_a_default_limit(backend: Any, server: Process) -> None:
    turns = [Message("system", "Be brief."), Message("user", "hi")]
    assert text_of(await collect(backend, ChatRequest(messages=turns))) == "Echo: hi (Be brief.)"
    assert last(server)["body"]["max_tokens"] == 8192
    await collect(backend, ask("hi", max_tokens=5, stop="x", user="me"))
    assert (
        last(server)["body"] | {"max_tokens": 5, "stop_sequences": ["x"], "metadata": {"user_id": "me"}}
        == last(server)["body"]
    )


async def test_pictures_as_bytes_and_addresses(backend: Any) -> None:
    url = {"type": "image_url", "image_url": {"url": "https://host/a.png"}}
    turn = Message("user", [{"type": "text", "text": "look"}, PNG, url])
    assert (
        text_of(await collect(backend, ChatRequest(messages=[turn]))) == "Echo: look [image/png] [https://host/a.png]"
    )


async def test_results_of_tools_go_back_together(backend: Any, server: Process) -> None:
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


async def test_sampling_asks_for_the_version_that_knows_it(backend: Any, server: Process, key: str) -> None:
    await collect(backend, ask("hi"))
    assert last(server)["version"] == "2026-10-21"
    await collect(backend, ask("hi", temperature=0.5))
    assert (last(server)["version"], last(server)["body"]["temperature"]) == ("2023-06-01", 0.5)
    fixed = await connect(server.url, key, anthropic_version="2026-10-21")
    with pytest.raises(errors.BadRequest, match="no longer supported"):
        await collect(fixed, ask("hi", temperature=0.5))
    await fixed.close()


async def test_a_schema_shapes_the_answer(backend: Any, server: Process) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    await collect(backend, ask("hi", response_format=form))
    assert last(server)["body"]["output_config"]["format"] == {"type": "json_schema", "schema": {"type": "object"}}


@pytest.mark.parametrize("options", [{"seed": 1}, {"n": 2}, {"response_format": {"type": "json_object"}}])
async def test_what_the_api_lacks_is_refused_by_name(backend: Any, options: dict[str, Any]) -> None:
    with pytest.raises(errors.BadRequest, match="Anthropic's API"):
        await collect(backend, ask("hi", **options))


async def test_an_overload_in_mid_stream_keeps_what_came(backend: Any) -> None:
    seen: list[str] = []
    with pytest.raises(errors.ProviderUnavailable, match=r"failed \(529\): Overloaded"):
        async for chunk in backend.chat(ask("fault:overloaded some words")):
            seen.append(chunk.text)  # noqa: PERF401 - the list must keep what came before the error
    assert seen == ["Echo:", " some"]


async def test_leaving_closes_the_connection(backend: Any, server: Process) -> None:
    async with aclosing(backend.chat(ask("slow:100ms " + "word " * 50_000))) as chunks:
        async for _ in chunks:
            break
    for _ in range(100):
        if last(server).get("gone"):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the server still has its client")


async def test_aimock_answers(aimock: Process, key: str) -> None:
    backend = await connect(aimock.url, key)
    for stream in (True, False):
        chunks = await collect(backend, ask("What is the capital of France?", stream=stream))
        assert text_of(chunks) == "The capital of France is Paris."
        assert chunks[-1].finish == "stop"
    await backend.close()
