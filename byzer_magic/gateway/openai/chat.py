"""`POST /v1/chat/completions`: https://developers.openai.com/api/reference/resources/chat/subresources/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic.client.messages import to_messages
from byzer_magic.gateway import bodies, options, several
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.openai.chunks import DONE, MOST, Chunks, usage_of
from byzer_magic.gateway.problems import bad
from byzer_magic.gateway.tool_deltas import finish_of
from byzer_magic.i18n import gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatRequest


class StreamOptions(msgspec.Struct):
    """What a stream has besides the answer."""

    include_usage: bool | None = None


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs; all others go to the backend."""

    model: str
    messages: bodies.Entries
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None


async def complete(call: Call) -> Reply | Stream:
    """Answer a conversation, as a stream or at once.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    if not body.messages:
        raise bad(_("messages is empty."), "messages")
    count = 1 if body.n is None else body.n
    if not 1 <= count <= MOST:
        raise bad(_("n is {value}, which is not from 1 to {most}.", value=count, most=MOST), "n")
    facts = await call.gateway.deployments.facts(body.model, call.client)
    apart = count > 1 and facts.answers_one
    call.counts_as(count, apart=apart)
    given = options.for_backend(bodies.rest(found, Body), facts)
    messages, given = options.with_json_mode(to_messages(body.messages), given, facts)
    if count > 1 and not apart:
        given["n"] = count
    request = ChatRequest(messages=messages, options=given, stream=bool(body.stream))
    requests = [request] * (count if apart else 1)
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return Stream(_events(call, body.model, requests, usage=usage))
    return Reply(await _completion(call, body.model, requests))


# ---- at once


async def _completion(call: Call, model: str, requests: Sequence[ChatRequest]) -> dict[str, Any]:
    created = int(time.time())
    results = await several.results(call, model, requests)
    choices = [choice for index, result in enumerate(results) for choice in _choices(result, index)]
    return {
        "id": f"chatcmpl-{call.serial}",
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": choices,
        "usage": usage_of(call.usage),
        "system_fingerprint": None,
    }


def _choices(result: ChatResult, index: int) -> list[dict[str, Any]]:
    first = {
        "index": index, "text": result.text, "reasoning": result.reasoning, "tool_calls": result.tool_calls,
        "finish": result.finish, "logprobs": result.raw.get("logprobs"),
    }  # fmt: skip
    return [_choice(found) for found in (first, *(result.raw.get("choices") or ()))]


def _choice(found: Mapping[str, Any]) -> dict[str, Any]:
    text, calls = found.get("text") or "", found.get("tool_calls")
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message |= {"content": text or None, "tool_calls": calls}
    if found.get("reasoning"):
        message["reasoning_content"] = found["reasoning"]
    finish = finish_of(found.get("finish"), called=bool(calls))
    return {"index": found["index"], "message": message, "logprobs": found.get("logprobs"), "finish_reason": finish}


# ---- as a stream


async def _events(call: Call, model: str, requests: Sequence[ChatRequest], *, usage: bool) -> AsyncIterator[bytes]:
    created, identity = int(time.time()), f"chatcmpl-{call.serial}"
    chunks = [Chunks(identity, created, model, usage=usage, index=index) for index in range(len(requests))]
    begun = False
    async with aclosing(several.chunks(call, model, requests)) as pieces:  # type: ignore[type-var]  # a generator
        async for index, chunk in pieces:
            data = chunks[index].of(chunk)
            if not begun:
                begun = True
                data = b"".join(one.begin() for one in chunks) + data
            if data:
                yield data
    start = b"" if begun else chunks[0].begin()
    yield start + b"".join(one.end() for one in chunks) + chunks[0].counts(call.usage) + DONE
