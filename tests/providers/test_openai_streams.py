"""Streams of OpenAI-compatible servers, byte by byte: odd fields, odd framing, odd ends."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.types import ChatChunk, Usage
from tests.backends import ask, collect, opened, text_of, until_error
from tests.servers.scripted import cut_off, response, scripted


def event(text: Any = None, finish: Any = None, choice: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **(choice or {})}], **more}


def sse(*events: Any, done: bool = True) -> bytes:
    lines = [each if isinstance(each, bytes) else b"data: " + json.dumps(each).encode() for each in events]
    return b"".join(line + b"\n\n" for line in (*lines, *([b"data: [DONE]"] if done else [])))


WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]}


async def answered(sent: list[bytes]) -> tuple[list[ChatChunk], errors.ByzerError | None]:
    """Return what a server's response becomes, and the error that ended it."""
    async with scripted(lambda _: sent) as server:
        params = {"saas.base_url": f"{server.url}/v1", "saas.api_key": "sk-x", "saas.model": "m", "saas.timeout": "5"}
        backend = await opened("saas/openai", params)
        try:
            return await collect(backend, ask("hi")), None
        except errors.ByzerError as err:
            return [], err
        finally:
            await backend.close()


COMPLETE: list[tuple[str, list[bytes]]] = [
    ("both-ends", response(sse(event("hello"), event(finish="stop")), "text/event-stream")),
    ("finish-alone", response(sse(event("hello"), event(finish="stop"), done=False), "text/event-stream")),
    ("mark-alone", response(sse(event("hello")), "text/event-stream")),
    ("cut-after-finish", cut_off(sse(event("hello"), event(finish="stop"), done=False))),
    ("cut-after-mark", cut_off(sse(event("hello")))),
    ("error-after-finish", response(sse(event("hello"), event(finish="stop"), {"error": {"message": "late"}}),
                                    "text/event-stream")),
    ("whole", response(json.dumps(WHOLE).encode())),
    ("whole-indented-as-text", response(json.dumps(WHOLE, indent=2).encode(), "text/plain")),
    ("whole-without-type", response(json.dumps(WHOLE).encode(), "")),
    ("whole-as-stream", response(json.dumps(WHOLE).encode(), "text/event-stream")),
    ("whole-without-finish", response(b'{"choices": [{"message": {"content": "hello"}}]}')),
    ("whole-in-a-string", response(json.dumps(json.dumps(WHOLE)).encode(), "text/event-stream")),
    ("lines", response(b"\n".join(json.dumps(event(*e)).encode() for e in (("hel",), ("lo",), (None, "stop"))),
                       "application/x-ndjson")),
    ("mark-and-crlf", response(b"\xef\xbb\xbf" + sse(event("hello"), event(finish="stop")).replace(b"\n", b"\r\n"),
                               "text/event-stream")),
    ("cr", response(sse(event("hello"), event(finish="stop")).replace(b"\n", b"\r"), "text/event-stream")),
    ("two-data-lines", response(b'data: {"choices":[{"index":0,\ndata: "delta":{"content":"hello"}}]}\n\n' + sse(),
                                "text/event-stream")),
    ("no-empty-lines", response(sse(event("hel"), event("lo"), event(finish="stop")).replace(b"\n\n", b"\n"),
                                "text/event-stream")),
    ("no-last-line-end", response(sse(event("hello"), event(finish="stop"), done=False).rstrip(), "text/event-stream")),
    ("message-between", response(sse(event("hel"), {"message": "in the queue"}, event("lo")), "text/event-stream")),
    ("message-after-finish", response(sse(event("hello", "stop"), {"message": "thanks for the fish"}),
                                      "text/event-stream")),
    ("texts-of-minimax", response(json.dumps({"choices": [{"finish_reason": "stop", "messages": [
        {"sender_type": "BOT", "text": "hello"}]}]}).encode())),
    ("ping-with-text", response(b"event: ping\ndata: ping\n\n" + sse(event("hello"), event(finish="stop")),
                                "text/event-stream")),
    ("mark-in-quotes", response(sse(event("hello"), b'data: "[DONE]"', done=False), "text/event-stream")),
    ("two-in-one-line", response(sse(b"data: " + json.dumps(event("hel")).encode() + json.dumps(event("lo")).encode()),
                                 "text/event-stream")),
    ("escape-that-json-has-not", response(sse(b'data: {"choices":[{"index":0,"delta":{"content":"\\hello"}}]}'),
                                          "text/event-stream")),
    ("repeated-as-message", response(sse(event("hello"), {"choices": [{"finish_reason": "stop", "message": {
        "content": "hello"}}]}), "text/event-stream")),
]  # fmt: skip


@pytest.mark.parametrize("sent", [row[1] for row in COMPLETE], ids=[row[0] for row in COMPLETE])
async def test_answer_with_either_end_is_complete(sent: list[bytes]) -> None:
    chunks, error = await answered(sent)
    assert error is None
    assert text_of(chunks) == "hello"
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]


INCOMPLETE: list[tuple[str, list[bytes], type[errors.ByzerError], str]] = [
    ("no-end", response(sse(event("hello"), done=False), "text/event-stream"), errors.StreamTruncated, "ended before"),
    ("no-end-with-empty-finish", response(sse(event("hello", ""), done=False), "text/event-stream"),
     errors.StreamTruncated, "ended before"),
    ("cut-off", cut_off(sse(event("hello"), done=False)), errors.ProviderUnavailable, "connection closed"),
    ("mark-without-answer", response(sse(), "text/event-stream"), errors.ProviderUnavailable, "no content"),
    ("usage-without-answer", response(sse({"choices": [], "usage": {"prompt_tokens": 3}}), "text/event-stream"),
     errors.ProviderUnavailable, "no content"),
    ("choices-empty", response(b'{"choices": []}'), errors.ProviderUnavailable, "no content"),
    ("choices-null", response(b'{"choices": null, "model": "m"}'), errors.ProviderUnavailable, "no content"),
    ("status-then-nothing", response(sse({"status": "busy", "message": "no worker is free"}), "text/event-stream"),
     errors.ProviderUnavailable, "no worker is free"),
    ("finish-error", response(sse(event("par"), event(finish="error")), "text/event-stream"),
     errors.ProviderUnavailable, "finish reason error"),
    ("finish-error-in-choice", response(sse(event("", "error", {"error": {"code": 502, "message": "it is gone"}})),
                                        "text/event-stream"), errors.ProviderUnavailable, "(502): it is gone"),
    ("finish-error-beside", response(sse(event("", "error", error={"message": "it is gone"})), "text/event-stream"),
     errors.ProviderUnavailable, "it is gone"),
    ("finish-error-in-message", response(json.dumps({"choices": [{"message": {"error": "it is gone"},
                                         "finish_reason": "error"}]}).encode()),
     errors.ProviderUnavailable, "it is gone"),
    ("finish-error-in-text", response(sse(event("it is gone", "error")), "text/event-stream"),
     errors.ProviderUnavailable, "it is gone"),
    ("network-error", response(sse(event("par"), event(finish="network_error")), "text/event-stream"),
     errors.ProviderUnavailable, "network_error"),
    ("bare-line", response(sse(event("par"), b'{"error":{"message":"used up","code":429}}', done=False),
                           "text/event-stream"), errors.RateLimited, "used up"),
    ("error-event", response(sse(event("par"), b"event: error\ndata: it gave up", done=False), "text/event-stream"),
     errors.ProviderUnavailable, "it gave up"),
    ("error-object", response(sse(event("par"), {"object": "error", "message": "cache full", "code": 50002}),
                              "text/event-stream"), errors.ProviderUnavailable, "cache full"),
    *((f"{name}-after-text", response(sse(event("par"), body), "text/event-stream"), kind, "it gave up")
      for name, body, kind in (
        ("detail", {"detail": "it gave up"}, errors.StreamTruncated),
        ("message", {"choices": [], "message": "it gave up"}, errors.StreamTruncated),
        ("status", {"status": 429, "message": "it gave up"}, errors.RateLimited),
        ("fault", {"fault": {"faultstring": "it gave up"}}, errors.ProviderUnavailable),
        ("error-msg", {"ErrorMsg": "it gave up"}, errors.ProviderUnavailable),
        ("response", {"Response": {"Error": {"Code": "Busy", "Message": "it gave up"}}}, errors.ProviderUnavailable),
        ("header", {"header": {"code": 10013, "message": "it gave up"}}, errors.ProviderUnavailable))),
    *((f"class-of-{name}", response(sse({"error": {**error, "message": "it gave up"}}), "text/event-stream"), kind,
       "it gave up")
      for name, error, kind in (
        ("grpc", {"status": "RESOURCE_EXHAUSTED"}, errors.RateLimited),
        ("http-code", {"http_code": "429", "type": "insufficient_balance_error"}, errors.RateLimited),
        ("number", {"code": "Busy", "status": 429}, errors.RateLimited),
        ("length", {"code": "context_length_exceeded"}, errors.ContextTooLong),
        ("filter", {"code": "content_filter"}, errors.ContentRefused))),
    ("class-of-sentence", response(sse({"error": {"message": "the maximum context length is 8"}}),
                                   "text/event-stream"), errors.ContextTooLong, "length is 8"),
    ("class-in-whole", response(json.dumps({"error": {"code": "content_filter", "message": "no"}}).encode()),
     errors.ContentRefused, "no"),
    *((f"empty-{reason}", response(sse(event("", reason)), "text/event-stream"), errors.ProviderUnavailable,
       f"finish reason {reason}") for reason in ("unknown", "other", "load", "repetition")),
    ("error-in-list", response(sse([{"error": {"code": 400, "message": "bad key"}}]), "text/event-stream"),
     errors.BadRequest, "bad key"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "kind", "words"), [row[1:] for row in INCOMPLETE], ids=[row[0] for row in INCOMPLETE])
async def test_anything_else_is_an_error(sent: list[bytes], kind: type[errors.ByzerError], words: str) -> None:
    _, error = await answered(sent)
    assert type(error) is kind
    assert words in str(error)
    assert "{'" not in str(error)


COUNTS = {"prompt_tokens": 3, "completion_tokens": 2}


@pytest.mark.parametrize(
    "last",
    [
        event(finish="stop", usage=COUNTS),
        event(finish="stop", choice={"usage": COUNTS}),
        event(finish="stop", x_groq={"id": "r", "usage": COUNTS}),
        event(finish="stop", usage={"input_tokens": 3, "output_tokens": 2}),
    ],
    ids=["usage", "choice", "groq", "input-output"],
)
async def test_token_counts_are_found(last: dict[str, Any]) -> None:
    chunks, error = await answered(response(sse(event("hello", x_groq={"id": "r"}), last), "text/event-stream"))
    assert error is None
    assert [chunk.usage for chunk in chunks if chunk.usage] == [Usage(3, 2)]


@pytest.mark.parametrize(
    ("finish", "text"), [("stop", ""), ("length", ""), ("content_filter", None)], ids=["stop", "length", "filter"]
)
async def test_empty_answer_with_a_finish_reason_is_an_answer(finish: str, text: str | None) -> None:
    chunks, error = await answered(response(sse(event(text, finish)), "text/event-stream"))
    assert error is None
    assert [(chunk.text, chunk.finish) for chunk in chunks] == [("", finish)]


async def test_text_before_an_error_is_kept() -> None:
    async with scripted(lambda _: response(sse(event("par"), event(finish="error")), "text/event-stream")) as server:
        params = {"saas.base_url": f"{server.url}/v1", "saas.api_key": "sk-x", "saas.model": "m"}
        backend = await opened("saas/openai", params)
        seen, error = await until_error(backend.chat(ask("hi")))
        await backend.close()
    assert text_of(seen) == "par"
    assert "finish reason error" in error.message


async def test_broken_characters_are_noted_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = b'data: {"choices":[{"index":0,"delta":{"content":"a\xe4\xbd"}}]}'
    half = b'data: {"choices":[{"index":0,"delta":{"content":"b\\ud83d"}}]}'
    chunks, error = await answered(response(sse(broken, half, event(finish="stop")), "text/event-stream"))
    assert error is None
    assert text_of(chunks) == "a\ufffdb\ufffd"
    assert [chunk.extra for chunk in chunks if "repaired" in (chunk.extra or {})] == [
        {"repaired": "broken characters replaced by U+FFFD"}
    ]
    assert caplog.text.count("broken characters") == 1


async def test_characters_that_the_provider_sent_are_not_repaired() -> None:
    chunks, _ = await answered(response(sse(event("\ufffd \U0001f600"), event(finish="stop")), "text/event-stream"))
    assert text_of(chunks) == "\ufffd \U0001f600"
    assert not any("repaired" in (chunk.extra or {}) for chunk in chunks)


HUGE = 10**30
HUGE_FIELDS: list[dict[str, Any]] = [
    {"usage": {"prompt_tokens": HUGE, "completion_tokens": 2}},
    {"usage": {"prompt_tokens": -HUGE, "completion_tokens": 2}},
    {"choices": [{"index": 0, "delta": {}, "logprobs": {"content": [{"token": "a", "bytes": [HUGE]}]}}]},
    {"choices": [{"index": HUGE, "delta": {}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": HUGE, "id": "A", "function": {"name": "f"}}]}}]},
]


@pytest.mark.parametrize("odd", HUGE_FIELDS, ids=["counts", "negative", "logprobs", "choice", "call"])
async def test_integers_beyond_64_bits_spoil_nothing(odd: dict[str, Any]) -> None:
    chunks, error = await answered(response(sse(event("hello"), odd, event(finish="stop")), "text/event-stream"))
    assert error is None
    assert text_of(chunks) == "hello"
    assert msgspec.msgpack.encode(chunks)


def choice(index: int, text: Any, **more: Any) -> dict[str, Any]:
    return {"index": index, "message": {"role": "assistant", "content": text, **more}, "finish_reason": "stop"}


CALL = {"id": "A", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("choices", "calls", "others"),
    [
        ([choice(0, "hello"), choice(0, None, tool_calls=[CALL])], [CALL], None),
        ([choice(0, None, tool_calls=[CALL]), choice(0, "hello")], [CALL], None),
        ([choice(1, "bye"), choice(0, "hello")], None, [{"index": 1, "text": "bye", "finish": "stop"}]),
        ([choice(2, "bye"), choice(1, "hello")], None, [{"index": 2, "text": "bye", "finish": "stop"}]),
    ],
)
async def test_choices_count_by_index_not_by_place(choices: Any, calls: Any, others: Any) -> None:
    chunks, error = await answered(response(json.dumps({"choices": choices}).encode()))
    assert error is None
    assert text_of(chunks) == "hello"
    assert [chunk.tool_calls for chunk in chunks if chunk.tool_calls] == ([calls] if calls else [])
    assert (chunks[0].extra or {}).get("choices") == others


@pytest.mark.parametrize("whole", [True, False])
async def test_thinking_among_the_parts_is_reasoning(whole: bool) -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}
    words = {"type": "text", "text": "hello"}
    if whole:
        sent = response(json.dumps({"choices": [choice(0, [thought, words])]}).encode())
    else:
        sent = response(sse(event([thought]), event([words]), event(finish="stop")), "text/event-stream")
    chunks, error = await answered(sent)
    assert error is None
    assert (text_of(chunks), "".join(chunk.reasoning for chunk in chunks)) == ("hello", "Let me see.")


async def test_key_in_a_finish_reason_is_not_passed_on() -> None:
    chunks, error = await answered(response(sse(event("hello"), event(finish="at SK-0123456789")), "text/event-stream"))
    assert error is None
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["unknown"]
