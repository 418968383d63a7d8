"""`saas/ollama` against a strict Ollama of ours, and against aimock's."""

from __future__ import annotations

import asyncio
import json
import re
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.base import typed_params
from byzer_magic.backends.saas.ollama import backend as ollama, schema
from byzer_magic.capabilities import Capability
from byzer_magic.types import ChatChunk, ChatRequest, EmbedRequest, Media, Message, Usage
from tests.backends import ask, collect, failure, opened, refuse_streams, setup_of, text_of, until_error
from tests.servers.process import Process, arrives, free_port, gone_after, last, received
from tests.servers.scripted import response, scripted

OLLAMA = registry.find("saas/ollama")
MODEL = "llama3:70b-instruct-q4_0"
PNG = Media("image/png", b"\x89PNG")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
HARD = "你好 🙂 a\u2028b 世界"


@pytest.fixture(scope="module")
def server(key: str, serving: Callable[..., Process]) -> Process:
    return serving("ollama", key)


async def connect(url: str, key: str | None, model: str = MODEL, **params: str) -> Any:
    given = {"saas.base_url": url, "saas.model": model} | ({"saas.api_key": key} if key else {})
    return await opened("saas/ollama", given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(server: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key)
    yield backend
    await backend.close()


# ---- chat


async def test_stream_ends_with_finish_and_usage(backend: Any) -> None:
    assert await collect(backend, ask("one two")) == [
        ChatChunk("Echo: "),
        ChatChunk("one "),
        ChatChunk("two"),
        ChatChunk(finish="stop", usage=Usage(7, 3), extra={"model": MODEL}),
    ]


async def test_complete_response_is_one_chunk(backend: Any) -> None:
    await refuse_streams(backend)
    chunks = await collect(backend, ask("one two"))
    assert chunks == [ChatChunk("Echo: one two", finish="stop", usage=Usage(7, 3), extra={"model": MODEL})]


async def test_long_prompt_loses_its_beginning_unless_the_context_is_set(server: Process, key: str) -> None:
    """What `runtime/prompt_check.py` tells, for Ollama does not."""
    asked = ask("word " * 7_895, max_tokens=1)
    for params, read in (({}, 2_050), ({"num_ctx": "16384"}, 7_900)):
        backend = await connect(server.url, key, **params)
        assert (await collect(backend, asked))[-1].usage == Usage(read, 1)
        await backend.close()
    backend = await connect(server.url, key, extra_body='{"truncate": false}')
    assert isinstance(await failure(backend, "word " * 7_895), errors.ContextTooLong)
    await backend.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_text_arrives_intact(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    assert text_of(await collect(backend, ask("say:" + HARD))) == HARD


@pytest.mark.parametrize("stream", [True, False])
async def test_truncated_response_has_finish_length(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("a b c", max_tokens=2))
    assert (text_of(chunks), chunks[-1].finish) == ("Echo: a ", "length")


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_is_separate_from_text(server: Process, key: str, stream: bool) -> None:
    backend = await connect(server.url, key, "qwen3", think="true")
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("think:hm well"))
    assert "".join(chunk.reasoning for chunk in chunks) == "hm well"
    assert text_of(chunks) == "Echo: hm well"
    await backend.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_openai_deltas(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("tool:weather", tools=[TOOL], tool_choice="auto"))
    function = {"name": "weather", "arguments": '{"city": "杭州"}'}
    assert [call for chunk in chunks for call in chunk.tool_calls or []] == [
        {"index": 0, "id": "call_a1", "type": "function", "function": function},
        {"index": 1, "id": "call_1", "type": "function", "function": function},
    ]
    assert chunks[-1].finish == "tool_calls"


async def test_conversation_with_tools_and_images_is_converted(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "llava")
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "杭州"}'}}
    turns = [
        Message("developer", "short"),
        Message("assistant", tool_calls=[call]),
        Message("tool", "12 degrees", tool_call_id="c1"),
        Message(
            "user",
            [
                {"type": "text", "text": "what "},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
                PNG,
                {"type": "text", "text": "is it?"},
            ],
        ),
    ]
    assert text_of(await collect(backend, ChatRequest(messages=turns))) == "Echo: what is it?"
    assert last(server)["body"]["messages"] == [
        {"role": "system", "content": "short"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "weather", "arguments": {"city": "杭州"}}}],
        },
        {"role": "tool", "content": "12 degrees", "tool_call_id": "c1", "tool_name": "weather"},
        {"role": "user", "content": "what is it?", "images": ["iVBORw==", "iVBORw=="]},
    ]
    await backend.close()


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            {"type": "image_url", "image_url": {"url": "https://host/a.png"}},
            "does not accept media URLs: https://host/a.png",
        ),
        (Media("image", url="https://host/a.png"), "does not accept media URLs: https://host/a.png"),
        (Media("audio/wav", b"RIFF"), "only text and images"),
        ({"type": "input_audio", "input_audio": {}}, "only text and images"),
    ],
)
async def test_unsupported_parts_raise_bad_request(backend: Any, part: Any, words: str) -> None:
    with pytest.raises(errors.BadRequest, match=re.escape(words)):
        await collect(backend, ChatRequest(messages=[Message("user", [part])]))


async def test_tool_arguments_that_are_not_json_raise_bad_request(backend: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{nonsense"}}
    with pytest.raises(errors.BadRequest, match="not a JSON object"):
        await collect(backend, ChatRequest(messages=[Message("assistant", tool_calls=[call])]))


# ---- requests


async def test_request_options_override_deployment_options(server: Process, key: str) -> None:
    params = {
        "temperature": "0.5",
        "num_ctx": "8192",
        "num_predict": "9",
        "stop": '["###"]',
        "keep_alive": "-1",
        "extra_body": '{"options": {"min_p": 0.1}, "truncate": false}',
        "extra_headers": '{"X-Title": "mine"}',
    }
    backend = await connect(server.url, key, **params)
    asked = {"temperature": 0.9, "max_tokens": 5, "top_p": None, "n": 1, "user": "me", "stream_options": {}}
    await collect(backend, ask("hi", **asked, extra_body={"shift": True}, extra_headers={"X-More": "yes"}))
    await backend.close()
    entry = last(server)
    assert {name: value for name, value in entry["body"].items() if name not in ("messages", "stream")} == {
        "model": MODEL,
        "keep_alive": -1,
        "truncate": False,
        "shift": True,
        "options": {"temperature": 0.9, "num_ctx": 8192, "num_predict": 5, "stop": ["###"], "min_p": 0.1},
    }
    assert {"x-title", "x-more"} <= set(entry["headers"])


def test_ollama_host_sets_the_base_url() -> None:
    found = typed_params(OLLAMA.info, {"saas.model": "m"}, {"OLLAMA_HOST": "gpu-box"})
    assert schema.base_url(found["saas.base_url"]) == "http://gpu-box:11434"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"saas.base_url": "http://h:11434/v1/"}, "is the URL of the OpenAI-compatible API"),
        ({"saas.base_url": "ftp://h"}, "is not a URL"),
        ({"saas.extra_body": "[1]"}, "is not a JSON object"),
        ({"saas.capabilities": "fly"}, "which is not a capability"),
    ],
)
def test_check_rejects_invalid_parameters(params: dict[str, str], words: str) -> None:
    with pytest.raises(errors.BadParameter, match=re.escape(words)):
        setup_of(OLLAMA, {"saas.model": "m", **params})


def test_api_key_is_optional() -> None:
    assert "saas.api_key" not in setup_of(OLLAMA, {"saas.model": "m"}).params


@pytest.mark.parametrize(
    ("model", "capabilities"),
    [
        ("llama3:70b-instruct-q4_0", {Capability.CHAT, Capability.TOOLS}),
        ("llama3.2-vision:11b", {Capability.CHAT, Capability.VISION, Capability.TOOLS}),
        ("nomic-embed-text", {Capability.EMBED}),
        ("whisper", set()),
    ],
)
async def test_capabilities_follow_the_model_name(server: Process, model: str, capabilities: set[Capability]) -> None:
    backend = await connect(server.url, None, model)
    assert backend.capabilities() == capabilities
    await backend.close()


# ---- embeddings


async def test_embed_returns_vectors_in_order(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "nomic-embed-text", keep_alive="5m")
    texts = [f"text#{number}" for number in range(2 * ollama.EMBED_BATCH + 1)]
    items = [item async for item in backend.embed(EmbedRequest(texts=texts, options={"dimensions": 3}))]
    assert [(item.start, item.rows, item.dimensions) for item in items] == [(0, 64, 3), (64, 64, 3), (128, 1, 3)]
    firsts = [row[0] for item in items for row in struct.iter_unpack("<3f", item.data)]
    assert firsts == [float(number) for number in range(len(texts))]
    assert sum(item.usage.prompt_tokens for item in items) == len(texts)
    assert last(server)["body"]["keep_alive"] == "5m"
    await backend.close()


@pytest.mark.parametrize(
    ("text", "kind"),
    [("fault:truncate #1", errors.ProviderUnavailable), ("fault:context #1", errors.ContextTooLong)],
)
async def test_embed_with_missing_vectors_is_unreadable(
    server: Process, key: str, text: str, kind: type[Exception]
) -> None:
    backend = await connect(server.url, key, "bge-m3")
    with pytest.raises(kind):
        _ = [item async for item in backend.embed(EmbedRequest(texts=[text, "#2"]))]
    await backend.close()


# ---- faults


REFUSALS = [
    ("fault:401", errors.AuthenticationFailed, "invalid API key (401): unauthorized"),
    ("fault:403", errors.AuthenticationFailed, "denied (403)"),
    ("fault:404", errors.ModelNotFound, "not found (404): model 'gone' not found"),
    ("fault:context", errors.ContextTooLong, "exceeds the context length"),
    ("fault:429 retry_after=3", errors.RateLimited, "(429): you've reached"),
    ("fault:500", errors.ProviderUnavailable, "(500): the model failed to generate"),
    ("fault:529", errors.ProviderUnavailable, "(503): server busy"),
    ("fault:load", errors.ProviderUnavailable, "requires more system memory (40.2 GiB)"),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed before"),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("text", "kind", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    backend: Any, key: str, text: str, kind: type[Exception], words: str, stream: bool
) -> None:
    if not stream:
        await refuse_streams(backend)
    error = await failure(backend, text + " a b c")
    assert type(error) is kind
    assert words in error.message
    assert key not in f"{error!r} {error} {error.details}"
    if "retry_after" in text:
        assert error.details["retry_after"] == 3.0


IN_STREAM = [
    ("fault:truncate", errors.StreamTruncated, "ended before the response was complete"),
    ("fault:error", errors.ProviderUnavailable, "an error was encountered while running the model"),
    ("fault:reset", errors.ProviderUnavailable, "connection closed"),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response"),
]


@pytest.mark.parametrize(("text", "kind", "words"), IN_STREAM, ids=[row[0] for row in IN_STREAM])
async def test_stream_keeps_text_before_an_error(
    backend: Any, key: str, text: str, kind: type[Exception], words: str
) -> None:
    seen, error = await until_error(backend.chat(ask(text + " some words that were said")))
    assert type(error) is kind
    assert words in error.message
    assert [chunk.text for chunk in seen] == ["Echo: ", "some "], "what came before the fault is passed on"
    assert key not in f"{error!r} {error}"


async def test_missing_model_hint_names_ollama_pull(backend: Any) -> None:
    error = await failure(backend, "hi", model="gone")
    assert type(error) is errors.ModelNotFound
    assert "ollama pull" in error.hint


async def test_unknown_field_raises_bad_request(backend: Any) -> None:
    assert type(await failure(backend, "hi", temperature="hot")) is errors.BadRequest


@pytest.mark.parametrize("stream", [True, False])
async def test_timeout_raises_deadline_exceeded(server: Process, key: str, stream: bool) -> None:
    backend = await connect(server.url, key, timeout="0.4")
    if not stream:
        await refuse_streams(backend)
    started = time.monotonic()
    error = await failure(backend, "fault:silence")
    assert type(error) is errors.DeadlineExceeded
    assert time.monotonic() - started > 0.3
    await backend.close()


async def test_closed_port_raises_provider_unavailable() -> None:
    port = free_port()
    backend = await connect(f"127.0.0.1:{port}", None)
    error = await failure(backend, "hi")
    assert type(error) is errors.ProviderUnavailable
    assert f"Cannot connect to http://127.0.0.1:{port}" in error.message
    await backend.close()


async def test_key_is_in_no_text(server: Process, key: str) -> None:
    wrong = "sk-wrong-abcdefgh0123456789"
    for given, text in ((wrong, "hi"), (key, "fault:leak")):
        backend = await connect(server.url, given)
        error = await failure(backend, text)
        assert type(error) is errors.AuthenticationFailed
        assert not any(given[i : i + 8] in f"{error!r} {error} {error.details}" for i in range(len(given) - 8))
        await backend.close()


# ---- cancel


@pytest.mark.parametrize("text", ["fault:hang a b c", "fault:silence"])
async def test_cancelling_closes_the_connection(backend: Any, server: Process, text: str) -> None:
    async def read() -> None:
        async for _ in backend.chat(ask(text)):
            pass

    before = received(server)
    task = asyncio.create_task(read())
    await arrives(server, before)
    since = time.time()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await gone_after(server, since) >= 0


async def test_closing_closes_the_connection(backend: Any, server: Process) -> None:
    async with aclosing(backend.chat(ask("fault:hang a b c"))) as chunks:
        assert (await anext(chunks)).text == "Echo: "
        since = time.time()
    assert await gone_after(server, since) >= 0


# ---- aimock


async def test_aimock_chat(aimock: Process, key: str) -> None:
    backend = await connect(aimock.url, key)
    chunks = await collect(backend, ask("What is the capital of France?"))
    assert (text_of(chunks), chunks[-1].finish) == ("The capital of France is Paris.", "stop")
    chunks = await collect(backend, ask("weather", tools=[TOOL]))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Paris"}'}
    assert chunks[-1].finish == "tool_calls"
    await backend.close()


async def test_aimock_errors(aimock: Process, key: str) -> None:
    backend = await connect(aimock.url, key)
    error = await failure(backend, "too many")
    assert (type(error), error.details["retry_after"]) == (errors.RateLimited, 7.0)
    assert type(await failure(backend, "cut off")) in (errors.StreamTruncated, errors.ProviderUnavailable)
    stranger = await connect(aimock.url, "sk-other-key-000000")
    assert type(await failure(stranger, "hi")) is errors.AuthenticationFailed
    await asyncio.gather(backend.close(), stranger.close())


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([{"response": "Hi"}, {"response": " you", "done": True}], "Hi you"),
        ([{"message": {"content": "Hi"}}, {"done": True}], "Hi"),
        ([{"done": True}], None),
        ([{"message": {"content": ""}, "done": True, "done_reason": "load"}], None),
    ],
)
async def test_done_alone_is_no_answer(lines: list[Any], text: str | None) -> None:
    sent = response(b"".join(json.dumps(line).encode() + b"\n" for line in lines), "application/x-ndjson")
    async with scripted(lambda _: sent) as server:
        backend = await opened("saas/ollama", {"saas.base_url": server.url, "saas.model": "m"})
        try:
            assert text_of(await collect(backend, ask("hi"))) == text
        except errors.ProviderError:
            assert text is None
        finally:
            await backend.close()
