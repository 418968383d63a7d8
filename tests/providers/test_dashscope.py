"""`saas/qianwen` and `saas/qianwen_vl` against a strict DashScope of ours."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends import registry
from byzer_magic.backends.dashscope import schema
from byzer_magic.capabilities import Capability
from byzer_magic.types import ChatChunk, ChatRequest, EmbeddingBatch, EmbedRequest, Media, Message, RerankRequest, Usage
from tests.backends import ask, collect, failure, opened, refuse_streams, setup_of, text_of, until_error
from tests.servers.process import Process, free_port, gone_after, last, received
from tests.servers.scripted import response, scripted

PNG = Media("image/png", b"\x89PNG")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
HARD = "你好 🙂 a\u2028b 世界"


@pytest.fixture(scope="module")
def server(key: str, serving: Callable[..., Process]) -> Process:
    return serving("dashscope", key)


async def connect(url: str, key: str, model: str = "qwen-plus", kind: str = "saas/qianwen", **params: str) -> Any:
    given = {"saas.base_url": url + "/api/v1", "saas.api_key": key, "saas.model": model}
    return await opened(kind, given | {f"saas.{name}": value for name, value in params.items()})


@pytest.fixture
async def backend(server: Process, key: str) -> AsyncIterator[Any]:
    backend = await connect(server.url, key)
    yield backend
    await backend.close()


# ---- chat


async def test_stream_ends_with_finish_usage_and_request_id(backend: Any) -> None:
    chunks = await collect(backend, ask("one two"))
    assert [chunk.text for chunk in chunks] == ["Echo: ", "one ", "two"]
    assert [chunk.usage for chunk in chunks] == [None, None, Usage(7, 3)]
    assert chunks[-1].finish == "stop"
    assert chunks[-1].extra == {"model": "qwen-plus", "request_id": "r-1"}


async def test_complete_response_is_one_chunk(backend: Any) -> None:
    await refuse_streams(backend)
    chunks = await collect(backend, ask("one two"))
    extra = {"model": "qwen-plus", "request_id": "r-1"}
    assert chunks == [ChatChunk("Echo: one two", finish="stop", usage=Usage(7, 3), extra=extra)]


@pytest.mark.parametrize("model", ["qwen-plus", "qwen-vl-max"])
@pytest.mark.parametrize("stream", [True, False])
async def test_text_arrives_intact(server: Process, key: str, model: str, stream: bool) -> None:
    backend = await connect(server.url, key, model)
    if not stream:
        await refuse_streams(backend)
    assert text_of(await collect(backend, ask("say:" + HARD))) == HARD
    await backend.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_tool_calls_are_openai_deltas(backend: Any, stream: bool) -> None:
    if not stream:
        await refuse_streams(backend)
    chunks = await collect(backend, ask("tool:weather", tools=[TOOL], tool_choice=None))
    calls = [call for chunk in chunks for call in chunk.tool_calls or []]
    assert [call["index"] for call in calls] == [0] * len(calls)
    assert [call["id"] for call in calls if "id" in call] == ["call_1"]
    assert calls[0]["function"]["name"] == "weather"
    assert "".join(call["function"]["arguments"] for call in calls) == '{"city": "杭州"}'
    assert chunks[-1].finish == "tool_calls"


@pytest.mark.parametrize("model", ["qwen-plus", "qwen-vl-max"])
async def test_conversation_with_tools_is_converted(server: Process, key: str, model: str) -> None:
    backend = await connect(server.url, key, model)
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    turns = [
        Message("system", "Be brief."),
        Message("user", [{"type": "text", "text": "Weather"}, {"type": "text", "text": "?"}]),
        Message("assistant", None, tool_calls=[call]),
        Message("tool", "sunny", tool_call_id="call_1"),
    ]
    assert text_of(await collect(backend, ChatRequest(messages=turns))) == "Echo: sunny"
    sent = last(server)["body"]["input"]["messages"]
    texts = ["Be brief.", "Weather?", "", "sunny"]
    flat = [turn["content"] if model == "qwen-plus" else schema._text(turn["content"]) for turn in sent]
    assert flat == texts
    assert sent[2]["tool_calls"] == [call]
    assert sent[3]["tool_call_id"] == "call_1"
    await backend.close()


async def test_reasoning_is_separate_from_text(server: Process, key: str) -> None:
    backend = await connect(server.url, key, enable_thinking="true")
    chunks = await collect(backend, ask("think:so it is"))
    assert "".join(chunk.reasoning for chunk in chunks) == "so it is"
    assert text_of(chunks) == "Echo: so it is"
    assert last(server)["body"]["parameters"]["enable_thinking"] is True
    await backend.close()


async def test_deployment_options_become_parameters(server: Process, key: str) -> None:
    settings = {"temperature": "0.5", "top_k": "9", "stop": '["x", "y"]', "seed": "7", "repetition_penalty": "1.1"}
    backend = await connect(server.url, key, **settings, extra_body='{"search_options": {"forced_search": true}}')
    request = ask("hi", temperature=0.1, max_completion_tokens=5, top_p=None, extra_body={"thinking_budget": 3})
    await collect(backend, request)
    assert last(server)["body"]["parameters"] == {
        "temperature": 0.1,
        "top_k": 9,
        "stop": ["x", "y"],
        "seed": 7,
        "repetition_penalty": 1.1,
        "search_options": {"forced_search": True},
        "thinking_budget": 3,
        "max_tokens": 5,
        "result_format": "message",
        "incremental_output": True,
    }
    await backend.close()


async def test_search_results_and_other_choices_are_extra(server: Process, key: str) -> None:
    backend = await connect(server.url, key, enable_search="true", n="2")
    chunks = await collect(backend, ask("one"))
    assert text_of(chunks) == "Echo: one"
    assert chunks[0].extra is not None
    assert chunks[0].extra["search_info"]["search_results"][0]["url"] == "http://t"
    others = [other for chunk in chunks for other in (chunk.extra or {})["choices"]]
    assert [other["text"] for other in others] == ["Echo: ", "one"]
    assert [other["finish"] for other in others] == [None, "stop"]
    await backend.close()


async def test_headers_have_workspace_and_sse(server: Process, key: str) -> None:
    backend = await connect(
        server.url, key, workspace="llm-1", extra_headers='{"X-DashScope-OssResourceResolve": "enable"}'
    )
    await collect(backend, ask("hi", extra_headers={"X-Own": "1"}))
    headers = last(server)["headers"]
    assert (headers["x-dashscope-sse"], headers["x-own"]) == ("enable", "1")
    await refuse_streams(backend)
    await collect(backend, ask("hi"))
    headers = last(server)["headers"]
    assert headers["x-dashscope-workspace"] == "llm-1"
    assert headers["x-dashscope-ossresourceresolve"] == "enable"
    assert "x-dashscope-sse" not in headers
    await backend.close()


async def test_closing_closes_the_connection(server: Process, backend: Any) -> None:
    async with aclosing(backend.chat(ask("say:" + "word " * 2000))) as chunks:
        async for _ in chunks:
            break
        closed = time.time()
    assert await gone_after(server, closed) >= 0


# ---- images


@pytest.mark.parametrize(
    ("kind", "model"),
    [("saas/qianwen_vl", "qwen-vl-max"), ("saas/qianwen", "qwen-vl-max"), ("saas/qianwen", "qwen3.6-plus")],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_images_use_the_multimodal_path(server: Process, key: str, kind: str, model: str, stream: bool) -> None:
    backend = await connect(server.url, key, model, kind)
    if not stream:
        await refuse_streams(backend)
    part = {"type": "image_url", "image_url": {"url": "https://host/dog.jpg"}}
    turn = Message("user", [PNG, part, Media("image", url="https://host/cat.png"), {"type": "text", "text": "Who?"}])
    chunks = await collect(backend, ChatRequest(messages=[turn]))
    assert text_of(chunks) == "Echo: Who? [image/png] [https://host/d] [https://host/c]"
    entry = last(server)
    assert entry["path"].endswith("/multimodal-generation/generation")
    assert entry["body"]["input"]["messages"][0]["content"] == [
        {"image": "data:image/png;base64,iVBORw=="},
        {"image": "https://host/dog.jpg"},
        {"image": "https://host/cat.png"},
        {"text": "Who?"},
    ]
    await backend.close()


async def test_text_model_with_image_is_not_asked_again(server: Process, backend: Any) -> None:
    before = received(server)
    with pytest.raises(errors.BadRequest, match="url error"):
        await collect(backend, ChatRequest(messages=[Message("user", [PNG])]))
    assert received(server) == before + 1


@pytest.mark.parametrize("model", ["qwen-renamed", "qwen3.6-odd"])
async def test_url_error_switches_the_path(server: Process, key: str, model: str) -> None:
    backend = await connect(server.url, key, model)
    before = received(server)
    for _ in range(2):
        assert text_of(await collect(backend, ask("hi"))) == "Echo: hi"
    assert received(server) == before + 3, "one wrong guess, then never again"
    await backend.close()


@pytest.mark.parametrize(("model", "path"), [("qwen3.7-max", "text"), ("qwen3.6-plus", "multimodal")])
async def test_model_name_selects_the_path(server: Process, key: str, model: str, path: str) -> None:
    backend = await connect(server.url, key, model)
    before = received(server)
    await collect(backend, ask("hi"))
    assert received(server) == before + 1
    assert f"/{path}-generation/" in last(server)["path"]
    await backend.close()


# ---- embeddings and rankings


def firsts(batch: EmbeddingBatch) -> list[int]:
    step = batch.dimensions * 4
    return [int(struct.unpack_from("<f", batch.data, row * step)[0]) for row in range(batch.rows)]


@pytest.mark.parametrize(
    ("model", "rows"), [("text-embedding-v2", 25), ("text-embedding-v4", 10), ("qwen3.7-text-embedding", 20)]
)
async def test_embed_returns_batches_in_order(server: Process, key: str, model: str, rows: int) -> None:
    backend = await connect(server.url, key, model)
    texts = [f"slow:{20 if i < rows else 0}ms #{i}" for i in range(rows * 5 + 1)]  # the first batch is the slowest
    batches = [batch async for batch in backend.embed(EmbedRequest(texts=texts))]
    assert [batch.start for batch in batches] == [rows * n for n in range(6)]
    assert [number for batch in batches for number in firsts(batch)] == list(range(len(texts)))
    assert batches[0].usage == Usage(rows, 0)
    await backend.close()


async def test_embed_runs_four_batches_at_once(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "text-embedding-v4")
    texts = [f"meet:4 #{i}" for i in range(40)]
    assert len([batch async for batch in backend.embed(EmbedRequest(texts=texts))]) == 4
    await backend.close()


async def test_dimensions_set_the_vector_length(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "text-embedding-v4", dimensions="64", text_type="query")
    (batch,) = [
        batch async for batch in backend.embed(EmbedRequest(texts=["#1"], options={"encoding_format": "float"}))
    ]
    assert batch.dimensions == 64
    assert last(server)["body"]["parameters"] == {"dimension": 64, "text_type": "query"}
    (batch,) = [batch async for batch in backend.embed(EmbedRequest(texts=["#1"], options={"dimensions": 128}))]
    assert batch.dimensions == 128
    with pytest.raises(errors.BadRequest, match="dimension 5 is not supported"):
        _ = [batch async for batch in backend.embed(EmbedRequest(texts=["#1"], options={"dimensions": 5}))]
    await backend.close()


async def test_embed_error_cancels_the_other_batches(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "text-embedding-v4")
    texts = [*(f"#{i}" for i in range(10)), "fault:429 #10", *(f"fault:silence #{i}" for i in range(11, 40))]
    seen = []
    with pytest.raises(errors.RateLimited):
        async for batch in backend.embed(EmbedRequest(texts=texts)):
            seen += firsts(batch)
    assert seen == list(range(10))
    await backend.close()


async def test_rerank_orders_documents(server: Process, key: str) -> None:
    backend = await connect(server.url, key, "gte-rerank-v2")
    documents = ["aa", "aaaa", "a"]
    (ranking,) = [item async for item in backend.rerank(RerankRequest(query="a?", documents=documents))]
    assert ranking.order == [(1, 0.04), (0, 0.02), (2, 0.01)]
    assert ranking.usage == Usage(9, 0)
    request = RerankRequest(query="a?", documents=documents, options={"top_n": 1})
    (ranking,) = [item async for item in backend.rerank(request)]
    assert ranking.order == [(1, 0.04)]
    await backend.close()


# ---- failures


REFUSALS = [
    ("fault:401", errors.AuthenticationFailed, "invalid API key (401): Invalid API-key provided."),
    ("fault:403", errors.AuthenticationFailed, "denied (403): Access denied."),
    ("fault:unpurchased", errors.AuthenticationFailed, "denied (403): Access to model denied."),
    ("fault:404", errors.ModelNotFound, "not found (404): Model can not be found."),
    ("fault:context", errors.ContextTooLong, "(400): Range of input length should be [1, 30720]"),
    ("fault:filter", errors.ContentRefused, "(400): Input or output data may contain inappropriate content."),
    ("fault:429", errors.RateLimited, "(429): Requests rate limit exceeded"),
    ("fault:arrearage", errors.RateLimited, "(402): Access denied, please make sure"),
    ("fault:500", errors.ProviderUnavailable, "(500): An internal error has occured"),
    ("fault:529", errors.ProviderUnavailable, "(503): Too many requests."),
    ("fault:leak", errors.AuthenticationFailed, "invalid API key (401): Invalid API-key provided: ***"),
    ("fault:refuse", errors.ProviderUnavailable, "connection closed before qwen-plus finished"),
    ("fault:garbage one two", errors.ProviderUnavailable, "unreadable response"),
    ("fault:html", errors.ProviderUnavailable, "unreadable response"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("text", "kind", "words"), REFUSALS, ids=[row[0] for row in REFUSALS])
async def test_error_responses_become_our_errors(
    backend: Any, key: str, text: str, kind: type[Exception], words: str, stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    if not stream:
        await refuse_streams(backend)
    error = await failure(backend, text)
    assert type(error) is kind
    assert words in error.message
    assert error.hint
    assert not any(key in output for output in (str(error), repr(error), str(error.details), caplog.text))


IN_STREAM = [
    ("fault:truncate", errors.StreamTruncated, "stream from qwen-plus ended before"),
    ("fault:reset", errors.ProviderUnavailable, "connection closed"),
    ("fault:garbage", errors.ProviderUnavailable, "unreadable response"),
    ("fault:error", errors.ContentRefused, "(400): Output data may contain inappropriate content."),
]


@pytest.mark.parametrize(("text", "kind", "words"), IN_STREAM, ids=[row[0] for row in IN_STREAM])
async def test_stream_keeps_text_before_an_error(backend: Any, text: str, kind: type[Exception], words: str) -> None:
    seen, error = await until_error(backend.chat(ask(text + " some words that were said")))
    assert type(error) is kind
    assert words in error.message
    assert [chunk.text for chunk in seen] == ["Echo: ", "some "], "what came before the fault is passed on"


@pytest.mark.parametrize("capability", ["embed", "rerank"])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("401", errors.AuthenticationFailed),
        ("404", errors.ModelNotFound),
        ("429", errors.RateLimited),
        ("500", errors.ProviderUnavailable),
        ("garbage", errors.ProviderUnavailable),
        ("refuse", errors.ProviderUnavailable),
    ],
)
async def test_embed_and_rerank_raise_the_same_errors(
    server: Process, key: str, capability: str, fault: str, kind: type[Exception]
) -> None:
    backend = await connect(server.url, key, "text-embedding-v4" if capability == "embed" else "gte-rerank-v2")
    text = f"fault:{fault} #1"
    request = EmbedRequest(texts=[text]) if capability == "embed" else RerankRequest(query=text, documents=["a"])
    with pytest.raises(kind):
        _ = [item async for item in getattr(backend, capability)(request)]
    await backend.close()


@pytest.mark.parametrize("text", ["fault:silence", "fault:hang one two three"])
async def test_timeout_raises_deadline_exceeded(server: Process, key: str, text: str) -> None:
    backend = await connect(server.url, key, timeout="0.4")
    started = time.monotonic()
    assert type(await failure(backend, text)) is errors.DeadlineExceeded
    assert time.monotonic() - started > 0.3
    await backend.close()


async def test_error_details_have_status_code_and_request_id(backend: Any) -> None:
    error = await failure(backend, "fault:429 retry_after=3")
    wanted = {"status": 429, "retry_after": 3.0, "provider_code": "Throttling.RateQuota", "request_id": "r-refused"}
    assert wanted.items() <= error.details.items()
    error = await failure(backend, "fault:unpurchased")
    wanted = {"status": 403, "provider_code": "AccessDenied.Unpurchased", "request_id": "r-refused"}
    assert wanted.items() <= error.details.items()
    await refuse_streams(backend)
    assert (await failure(backend, "fault:arrearage")).details["final"] is True, "waiting pays no bill"


async def test_response_without_choices_is_an_error(backend: Any) -> None:
    await refuse_streams(backend)
    assert "the response has no content" in (await failure(backend, "fault:empty")).message


async def test_wrong_key_is_in_no_text(server: Process) -> None:
    wrong = "sk-wrong-abcdefgh0123456789"
    backend = await connect(server.url, wrong)
    error = await failure(backend, "hi")
    assert type(error) is errors.AuthenticationFailed
    assert "the key's region" in error.hint
    assert wrong[-8:] not in str(error) + repr(error) + str(error.details)
    await backend.close()


async def test_closed_port_raises_provider_unavailable(key: str) -> None:
    port = free_port()
    backend = await connect(f"http://127.0.0.1:{port}", key)
    error = await failure(backend, "hi")
    assert type(error) is errors.ProviderUnavailable
    assert f"Cannot connect to http://127.0.0.1:{port}/api/v1" in error.message
    await backend.close()


# ---- deploying


@pytest.mark.parametrize(
    ("url", "words", "hint"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "is the URL of the OpenAI-compatible API", "saas/openai"),
        (
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "is the URL of the OpenAI-compatible API",
            "https://dashscope-intl.aliyuncs.com/api/v1",
        ),
        (
            "https://h/api/v1/services/aigc/text-generation/generation",
            "not the base URL of the API",
            "https://h/api/v1",
        ),
        ("dashscope.aliyuncs.com/api/v1", "not a URL", "https://dashscope.aliyuncs.com/api/v1"),
    ],
)
@pytest.mark.parametrize("kind", ["saas/qianwen", "saas/qianwen_vl"])
def test_check_rejects_other_urls(kind: str, url: str, words: str, hint: str) -> None:
    given = {"saas.api_key": "sk-1", "saas.model": "qwen-plus", "saas.base_url": url}
    with pytest.raises(errors.BadParameter, match=words) as caught:
        setup_of(registry.find(kind), given)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "model", "able"),
    [
        ("saas/qianwen", "qwen3.6-plus", {Capability.CHAT, Capability.VISION, Capability.TOOLS}),
        ("saas/qianwen", "text-embedding-v4", {Capability.EMBED}),
        ("saas/qianwen", "gte-rerank-v2", {Capability.RERANK}),
        ("saas/qianwen_vl", "qwen-vl-max", {Capability.CHAT, Capability.VISION}),
        ("saas/qianwen_vl", "text-embedding-v4", set()),
    ],
)
async def test_capabilities_follow_the_model_name(kind: str, model: str, able: set[Capability]) -> None:
    backend = await connect("http://127.0.0.1:9", "sk-1", model, kind)
    assert backend.capabilities() == able
    await backend.close()


def test_only_choice_is_the_answer_whatever_its_index() -> None:
    reader = schema.Reader("m", lambda body: errors.ProviderUnavailable(str(body)))
    for text in ("hel", "lo"):
        event = {"output": {"choices": [{"index": 5, "message": {"content": text}, "finish_reason": "null"}]}}
        chunk = reader.chunk(json.dumps(event).encode())
        assert chunk is not None
        assert chunk.text == text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "no content"),
        ([{"index": 7, "relevance_score": 0.9}], "does not fit the documents"),
        ([{"index": 0, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.5}], "does not fit the documents"),
    ],
)
async def test_ranking_that_fits_no_documents_is_an_error(key: str, rows: list[Any], words: str) -> None:
    async with scripted(lambda _: response(json.dumps({"output": {"results": rows}}).encode())) as server:
        params = {"saas.base_url": server.url, "saas.model": "gte-rerank-v2", "saas.api_key": key}
        backend = await opened("saas/qianwen", params)
        with pytest.raises(errors.ProviderUnavailable, match=words):
            [found async for found in backend.rerank(RerankRequest(query="q", documents=["a", "b"]))]
        await backend.close()
