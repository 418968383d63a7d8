"""`POST /v1/completions`, the older form of chat: https://developers.openai.com/api/reference/resources/completions.

A prompt is sent as a user's message: deployments chat, and base models continue what they are given.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic.client.messages import to_messages
from byzer_magic.gateway import bodies, options, several
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.openai.chat import StreamOptions
from byzer_magic.gateway.openai.chunks import DONE, MOST, usage_of
from byzer_magic.gateway.problems import bad
from byzer_magic.gateway.wires import sse
from byzer_magic.i18n import gettext as _
from byzer_magic.types import ChatRequest

DROPPED = ("best_of", "logprobs")
"""Fields that have no counterpart in a chat; `logprobs` is a number here, and a switch there."""


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs."""

    model: str
    prompt: str | list[Any]
    echo: bool | None = None
    n: int | None = None
    suffix: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


async def complete(call: Call) -> Reply | Stream:
    """Continue one or several prompts, as a stream or at once.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
    count = 1 if body.n is None else body.n
    if not prompts or not all(isinstance(prompt, str) for prompt in prompts):
        raise bad(_("prompt is neither a text nor a list of texts."), "prompt", "invalid_type")
    if not 1 <= count * len(prompts) <= MOST or count < 1:
        raise bad(_("n is {value}, which is not from 1 to {most}.", value=count, most=MOST), "n")
    if body.suffix:
        raise bad(_("This endpoint does not fill in text before a suffix: deployments chat."), "suffix", "unsupported")
    facts = await call.gateway.deployments.facts(body.model, call.client)
    call.counts_as(count * len(prompts))
    given = options.for_backend(bodies.rest(found, Body, *DROPPED), facts)
    requests = [
        ChatRequest(messages=to_messages(prompt), options=given, stream=bool(body.stream))
        for prompt in prompts
        for _number in range(count)
    ]
    starts = [prompt if body.echo else "" for prompt in prompts for _number in range(count)]
    if body.stream:
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return Stream(_events(call, body.model, requests, starts, usage=usage))
    results = await several.results(call, body.model, requests)
    choices = [
        _choice(index, start + result.text, result.finish or "stop")
        for index, (start, result) in enumerate(zip(starts, results, strict=True))
    ]
    return Reply({**_head(call, body.model), "choices": choices, "usage": usage_of(call.usage)})


def _head(call: Call, model: str) -> dict[str, Any]:
    return {"id": f"cmpl-{call.serial}", "object": "text_completion", "created": int(time.time()), "model": model}


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish}


async def _events(
    call: Call, model: str, requests: Sequence[ChatRequest], starts: list[str], *, usage: bool
) -> AsyncIterator[bytes]:
    head = _head(call, model)
    finishes = ["stop"] * len(requests)
    async with aclosing(several.chunks(call, model, requests)) as pieces:  # type: ignore[type-var]  # a generator
        async for index, chunk in pieces:
            finishes[index] = chunk.finish or finishes[index]
            if text := starts[index] + chunk.text:
                starts[index] = ""
                yield sse({**head, "choices": [_choice(index, text, None)]})
    for index, finish in enumerate(finishes):
        yield sse({**head, "choices": [_choice(index, starts[index], finish)]})
    yield (sse({**head, "choices": [], "usage": usage_of(call.usage)}) if usage else b"") + DONE
