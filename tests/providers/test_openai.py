"""saas/openai against servers that speak OpenAI: our strict one, aimock, and llama-cpp-python with a real model."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.catalog import begun_turns
from byzer_magic.client.collect import ChatCollector
from byzer_magic.types import ChatRequest, Message, Usage
from tests.backends import ask, collect, failure, opened, refuse_streams, setup_of, text_of
from tests.servers.process import Process, arrives, gone_after, last, received

OPENAI = registry.find("saas/openai")


@pytest.fixture
async def backend(provider: Process, key: str) -> AsyncIterator[Any]:
    params = {
        "saas.base_url": provider.url + "/v1",
        "saas.api_key": key,
        "saas.model": "gpt-4o",
        "saas.max_retries": "0",
    }
    backend = await opened("saas/openai", params)
    yield backend
    await backend.close()


async def test_stream_ends_with_finish_and_usage(backend: Any) -> None:
    chunks = await collect(backend, ask("hello there"))
    assert [chunk.text for chunk in chunks] == ["Echo:", " hello", " there", "", ""]
    assert [chunk.finish for chunk in chunks] == [None, None, None, "stop", None]
    assert chunks[-1].usage == Usage(7, 3)
    assert chunks[3].extra is not None
    assert chunks[3].extra["model"] == "gpt-4o"
    assert chunks[3].extra["request_id"].startswith("req_")


async def test_complete_response_is_one_chunk(backend: Any) -> None:
    await refuse_streams(backend)
    [chunk] = await collect(backend, ask("hello there"))
    assert (chunk.text, chunk.finish, chunk.usage) == ("Echo: hello there", "stop", Usage(7, 3))


async def test_text_arrives_intact(backend: Any) -> None:
    text = '日本語 😀 a\u2028b \\ " {x}'
    assert text_of(await collect(backend, ask(f"say:{text}"))) == text
    await refuse_streams(backend)
    assert text_of(await collect(backend, ask(f"say:{text}"))) == text


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_is_separate_from_text(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("think:hmm"))
    assert "".join(chunk.reasoning for chunk in chunks) == "hmm"
    assert "hmm" not in text_of(chunks)


async def test_tool_calls_are_passed_on(backend: Any) -> None:
    chunks = await collect(backend, ask("tool:weather"))
    deltas = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert deltas[0]["function"]["name"] == "weather"
    assert json.loads("".join(call["function"]["arguments"] for call in deltas)) == {"city": "Paris"}
    assert "tool_calls" in [chunk.finish for chunk in chunks]
    await refuse_streams(backend)
    [chunk] = await collect(backend, ask("tool:weather"))
    assert chunk.tool_calls is not None
    assert chunk.tool_calls[0]["function"]["arguments"] == '{"city": "Paris"}'


async def test_chat_other_choices_are_extra(backend: Any) -> None:
    await refuse_streams(backend)
    [chunk] = await collect(backend, ask("hi", n=2))
    assert chunk.text == "Echo: hi"
    assert chunk.extra is not None
    assert chunk.extra["choices"] == [{"index": 1, "text": "Echo: hi", "finish": "stop"}]


@pytest.mark.parametrize("streams", [True, False])
async def test_chat_tool_calls_of_other_choices_are_theirs(backend: Any, *, streams: bool) -> None:
    if not streams:
        await refuse_streams(backend)
    request = ask("tool:weather", n=2)
    collector = ChatCollector("m", request)
    for chunk in await collect(backend, request):
        collector.add(chunk)
    result = collector.result()
    [other] = result.raw["choices"]
    for calls in (result.tool_calls, other["tool_calls"]):
        [call] = calls
        assert (call["function"]["name"], json.loads(call["function"]["arguments"])["city"].strip()) == (
            "weather",
            "Paris",
        )
    assert other["finish"] == "tool_calls"


async def test_request_options_override_deployment_options(provider: Process, key: str) -> None:
    params = {
        "saas.api_base": provider.url + "/v1/",
        "saas.api_key": key,
        "saas.model": "tiny",
        "saas.temperature": "0.5",
        "saas.max_tokens": "2",
        "saas.stop": '["###"]',
        "saas.extra_body": '{"top_k": 5}',
        "saas.extra_headers": '{"X-Title": "mine"}',
    }
    backend = await opened("saas/official_openai", params)
    chunks = await collect(backend, ask("a b c d", temperature=0.9, seed=None, extra_body={"min_p": 0.1}))
    await backend.close()
    entry = last(provider)
    assert text_of(chunks) == "Echo: a"
    fields = {name: value for name, value in entry["body"].items() if name not in ("messages", "stream_options")}
    assert fields == {
        "model": "tiny",
        "stream": True,
        "temperature": 0.9,
        "max_tokens": 2,
        "stop": ["###"],
        "top_k": 5,
        "min_p": 0.1,
    }
    assert "x-title" in entry["headers"]
    assert not {"http-referer", "referer", "cookie"} & set(entry["headers"])


async def test_image_parts_are_sent_unchanged(backend: Any, provider: Process) -> None:
    parts = [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
    ]
    await collect(backend, ChatRequest(messages=[Message("system", "short"), Message("user", parts)]))
    assert last(provider)["body"]["messages"] == [
        {"role": "system", "content": "short"},
        {"role": "user", "content": parts},
    ]


async def test_rejected_stream_options_are_left_out(backend: Any, provider: Process) -> None:
    chunks = await collect(backend, ask("fault:usage hi"))
    assert text_of(chunks) == "Echo: hi"
    assert "stream_options" not in last(provider)["body"]
    before = received(provider)
    await collect(backend, ask("fault:usage hi"))
    assert received(provider) == before + 1, "the next stream knows already"


async def test_refused_field_is_sent_by_the_name_that_the_server_gives(provider: Process, key: str) -> None:
    for model, given, sent in (
        ("gpt-5", "max_tokens", "max_completion_tokens"),
        ("tiny", "max_completion_tokens", "max_tokens"),
    ):
        params = {"saas.base_url": provider.url + "/v1", "saas.api_key": key, "saas.model": model, f"saas.{given}": "2"}
        backend = await opened("saas/openai", params)
        before = received(provider)
        for prompt in ("a b c d", "e f g h"):
            assert text_of(await collect(backend, ask(prompt))) == f"Echo: {prompt[0]}"
            assert last(provider)["body"][sent] == 2
            assert given not in last(provider)["body"]
        assert received(provider) == before + 3, "the second request knows already"
        await backend.close()


async def test_refused_field_without_successor_has_the_next_step(provider: Process, key: str) -> None:
    params = {"saas.base_url": provider.url + "/v1", "saas.api_key": key, "saas.model": "gpt-5"}
    backend = await opened("saas/openai", params)
    error = await failure(backend, "hi", temperature=0.2)
    assert "'temperature' does not support 0.2 with this model" in error.message
    assert error.hint == "Leave temperature out of the request."
    await backend.close()
    backend = await opened("saas/openai", params | {"saas.temperature": "0.2"})
    error = await failure(backend, "hi")
    assert error.hint == "Deploy the model again without saas.temperature."
    assert text_of(await collect(backend, ask("hi", temperature=1))) == "Echo: hi"
    await backend.close()


async def test_closing_closes_the_connection(backend: Any, provider: Process) -> None:
    async with aclosing(backend.chat(ask("tokens:500@50"))) as chunks:
        async for chunk in chunks:
            if chunk.text == "t5 ":
                break
        since = time.time()
    assert await gone_after(provider, since) >= 0


@pytest.mark.parametrize("text", ["tokens:500@50", "fault:silence"])
@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_closes_the_connection(backend: Any, provider: Process, text: str, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    text = text if stream else "fault:silence"
    before = received(provider)
    task = asyncio.create_task(collect(backend, ask(text)))
    await arrives(provider, before)
    since = time.time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone_after(provider, since) >= 0


async def test_finished_stream_releases_its_connection(backend: Any, provider: Process) -> None:
    clients = []
    for _ in range(3):
        await collect(backend, ask("hi"))
        clients.append(last(provider)["client"])
    assert clients == [clients[0]] * 3


async def test_chat_runs_many_streams_at_once(backend: Any) -> None:
    answers = await asyncio.gather(*(collect(backend, ask("meet:64 tokens:50")) for _ in range(64)))
    assert {text_of(chunks) for chunks in answers} == {"".join(f"t{i} " for i in range(50))}


async def test_connections_may_exceed_a_hundred(backend: Any) -> None:
    """The libraries' default limit is 100."""
    await asyncio.gather(*(collect(backend, ask("meet:130 hi")) for _ in range(130)))


async def test_aimock_chat(aimock: Process, key: str) -> None:
    params = {"saas.base_url": aimock.url + "/v1", "saas.api_key": key, "saas.model": "gpt-4o", "saas.max_retries": "0"}
    backend = await opened("saas/openai", params)
    chunks = await collect(backend, ask("the capital of France"))
    assert text_of(chunks) == "The capital of France is Paris."
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]
    assert chunks[-1].usage is not None
    tools = [call for chunk in await collect(backend, ask("what is the weather")) for call in chunk.tool_calls or []]
    assert json.loads("".join(call["function"].get("arguments", "") for call in tools)) == {"city": "Paris"}
    await backend.close()


@pytest.mark.engine
async def test_llama_cpp_server_chat(llama_server: Process) -> None:
    params = {"saas.base_url": llama_server.url + "/v1", "saas.model": "smollm", "saas.temperature": "0"}
    backend = await opened("saas/openai", params)
    question = "What is the capital of France? Answer in one sentence."
    chunks = await collect(backend, ask(question))
    assert "Paris" in text_of(chunks)
    with pytest.raises(errors.ContextTooLong):
        await collect(backend, ask("word " * 3000))
    await backend.close()


@pytest.mark.parametrize(
    ("params", "kind", "words"),
    [
        ({"saas.model": "m"}, errors.MissingKey, "saas/openai needs saas.api_key."),
        ({"saas.api_key": "k"}, errors.MissingKey, "saas/openai needs saas.model."),
        ({"saas.model": "m", "saas.base_url": "localhost:1"}, errors.BadParameter, "not a URL"),
        ({"saas.model": "m", "saas.base_url": "http://x/v1/chat/completions"}, errors.BadParameter, "chat/completions"),
        ({"saas.model": "m", "saas.base_url": "http://x", "saas.extra_body": "[]"}, errors.BadParameter, "JSON object"),
        ({"saas.modle": "m"}, errors.BadParameter, "Did you mean saas.model?"),
    ],
)
def test_check_rejects_invalid_parameters(params: dict[str, str], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words.replace("?", r"\?")):
        setup_of(OPENAI, params)


async def test_last_message_of_the_model_is_marked_where_the_provider_wants_that(
    provider: Process, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = begun_turns.BegunTurn(hosts="127.0.0.1", field="partial", source="", checked="")
    monkeypatch.setattr(begun_turns, "load", lambda: (row,))
    params = {"saas.base_url": provider.url + "/v1", "saas.api_key": key, "saas.model": "gpt-4o"}
    backend = await opened("saas/openai", params)
    turns = [Message("user", "Name a colour."), Message("assistant", "My favourite is")]
    await collect(backend, ChatRequest(messages=turns))
    assert [turn.get("partial") for turn in last(provider)["body"]["messages"]] == [None, True]
    await collect(backend, ChatRequest(messages=[*turns, Message("user", "Go on.")]))
    assert [turn.get("partial") for turn in last(provider)["body"]["messages"]] == [None, None, None]
    await backend.close()
