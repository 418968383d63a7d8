"""`POST /v1/messages` and `/v1/messages/count_tokens`: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic.client.collect import ChatCollector
from byzer_magic.client.messages import to_messages
from byzer_magic.gateway import bodies, options
from byzer_magic.gateway.anthropic import conversation
from byzer_magic.gateway.anthropic.events import Events, add_thoughts, end_of, message_of
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.deployments import Facts
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.gateway.wires import encode
from byzer_magic.i18n import gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.routing.token_counts import BYTES_PER_TOKEN
from byzer_magic.types import ChatRequest

TOKENS_PER_IMAGE = 1500
"""Roughly, at the resolution at which models read images."""


PLATFORM = ("metadata", "service_tier")
"""Fields that OpenAI has, too, with another meaning."""
THREADS = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""By this, Anthropic's SDK knows that it must send whole conversations."""


class Prompt(msgspec.Struct):
    """What has a number of tokens."""

    model: str
    messages: bodies.Entries
    system: str | bodies.Entries | None = None
    tools: bodies.Entries | None = None
    tool_choice: dict[str, Any] | None = None


class Body(Prompt):
    """The fields that have another name in our requests."""

    max_tokens: int | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    output_format: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    thread: dict[str, Any] | None = None


async def create(call: Call) -> Reply | Stream:
    """Answer a conversation, as a stream of events or at once.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    if body.max_tokens is None:
        raise bad(_("The request needs {name}.", name="max_tokens"), "max_tokens")
    if not body.messages:
        raise bad(_("messages is empty."), "messages")
    if body.thread:
        message = _("This endpoint keeps no threads: send the whole conversation.")
        raise Problem(400, message, param="thread", details=THREADS)
    facts = await call.gateway.deployments.facts(body.model, call.client)
    turns = conversation.messages(body.system, body.messages, claude=facts.is_claude)
    given = {**bodies.rest(found, Body, *(() if facts.is_claude else PLATFORM)), **_options(body, facts)}
    pieces = bool(body.stream) or facts.is_claude  # of Claude's thoughts, each has a signature
    request = ChatRequest(messages=to_messages(turns), options=options.for_backend(given, facts), stream=pieces)
    if body.stream:
        return Stream(_events(call, body, request))
    collector = ChatCollector(body.model, request)
    thoughts: list[dict[str, Any]] = []
    async with aclosing(call.items(body.model, request)) as items:  # type: ignore[type-var]  # a generator
        async for chunk in items:
            collector.add(chunk)
            add_thoughts(thoughts, chunk)
    result = collector.result()
    end = end_of(result.finish, result.raw, body.stop_sequences or (), called=bool(result.tool_calls))
    return Reply(message_of(_identity(call), body.model, [*thoughts, *_blocks(result)], end, result.usage))


def _identity(call: Call) -> str:
    return f"msg_{call.serial}"


def _options(body: Body, facts: Facts) -> dict[str, Any]:
    """Return the options of a request in our form, which is OpenAI's; for Claude, its own where there is none."""
    found: dict[str, Any] = {"max_tokens": body.max_tokens}
    if body.stop_sequences:
        found["stop"] = body.stop_sequences
    if body.tools:
        found["tools"] = body.tools if facts.is_claude else conversation.tools(body.tools)
    if body.tool_choice:
        found |= _choice(body.tool_choice, facts)
    form = body.output_format or (body.output_config or {}).get("format")
    if facts.is_claude:
        own = {"output_config": body.output_config, "output_format": body.output_format}
        found |= {name: value for name, value in own.items() if value}
    elif isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {"name": "answer", "schema": form.get("schema", {})}
        found["response_format"] = {"type": "json_schema", "json_schema": schema}
    return found


def _choice(choice: dict[str, Any], facts: Facts) -> dict[str, Any]:
    if facts.is_claude:
        return {"tool_choice": choice}
    found = {"tool_choice": conversation.tool_choice(choice)}
    return found | ({"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {})


def _blocks(result: ChatResult) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if result.text:
        found.append({"type": "text", "text": result.text})
    for call in result.tool_calls or ():
        function = call["function"]
        found.append(
            {"type": "tool_use", "id": call["id"], "name": function["name"], "input": _input(function["arguments"])}
        )
    return found


def _input(arguments: str) -> Any:
    try:
        found = msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:  # the model was stopped in the middle of it
        return {"arguments": arguments}
    return found if isinstance(found, dict) else {"arguments": found}


async def _events(call: Call, body: Body, request: ChatRequest) -> AsyncIterator[bytes]:
    events = Events(_identity(call), body.model, body.stop_sequences or ())
    begun = False
    async with aclosing(call.items(body.model, request)) as items:  # type: ignore[type-var]  # a generator
        async for chunk in items:
            data = events.of(chunk)
            if not begun:
                begun = True
                data = events.begin() + data
            if data:
                yield data
    yield (b"" if begun else events.begin()) + events.end(call.usage)


# ---- counting


async def count_tokens(call: Call) -> Reply:
    """Return about how many tokens a request has: deployments have no tokenizer to ask.

    Raises:
        Problem: the request is not valid.
    """
    body = bodies.typed(await call.json(), Prompt)
    facts = await call.gateway.deployments.facts(body.model, call.client)
    conversation.messages(body.system, body.messages, claude=facts.is_claude)
    images = 0

    def without_images(value: Any) -> Any:
        nonlocal images
        if isinstance(value, dict):
            if value.get("type") == "image":
                images += 1
                return None
            return {name: without_images(item) for name, item in value.items()}
        return [without_images(item) for item in value] if isinstance(value, list) else value

    text = encode(without_images([body.system, body.messages, body.tools]))
    return Reply({"input_tokens": len(text) // BYTES_PER_TOKEN + images * TOKENS_PER_IMAGE})
