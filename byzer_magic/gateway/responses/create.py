"""`/v1/responses`: https://developers.openai.com/api/reference/resources/responses/methods/create."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic.client.messages import to_messages
from byzer_magic.gateway import bodies, options, problems
from byzer_magic.gateway.calls import Call, Reply, Stream
from byzer_magic.gateway.problems import Problem, bad
from byzer_magic.gateway.responses import items
from byzer_magic.gateway.responses.events import Answer, as_message
from byzer_magic.i18n import gettext as _
from byzer_magic.types import ChatRequest

PLACES = ("background", "conversation", "prompt")
"""What OpenAI keeps: an answer without it would be another one."""
OTHER = (
    *PLACES, "include", "max_tool_calls", "metadata", "service_tier", "stream_options",
    "truncation", "user", "safety_identifier", "prompt_cache_key", "top_logprobs", "verbosity",
)  # fmt: skip
"""Fields about OpenAI's platform, which change nothing of an answer."""


class Text(msgspec.Struct):
    """The form of the answer."""

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    """How much the model thinks."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs, or that have another name in a chat."""

    model: str
    input: str | bodies.Entries
    instructions: str | None = None
    stream: bool | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: bodies.Entries | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: int | None = None


async def create(call: Call) -> Reply | Stream:
    """Answer, as a stream of events or at once.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    _check_places(found)
    facts = await call.gateway.deployments.facts(body.model, call.client)
    turns = [*_before(call, body), *items.messages(body.input)]
    if not turns:
        raise bad(_("{name} is empty.", name="input"), "input")
    system = [{"role": "system", "content": body.instructions}] if body.instructions else []
    given = options.for_backend({**bodies.rest(found, Body, *OTHER), **items.options(found)}, facts)
    messages, given = options.with_json_mode(to_messages([*system, *turns]), given, facts)
    request = ChatRequest(messages=messages, options=given, stream=bool(body.stream))
    answer = Answer(f"resp_{call.serial}", _repeated(found, body))
    if body.stream:
        return Stream(_events(call, body, request, answer, turns))
    async with aclosing(call.items(body.model, request)) as pieces:  # type: ignore[type-var]  # a generator
        async for chunk in pieces:
            for _event in answer.take(chunk):
                pass
    [*_others, last] = answer.end(call.usage)
    _remember(call, body, last["response"], answer, turns)
    return Reply(last["response"])


def _check_places(found: dict[str, Any]) -> None:
    messages = {
        "background": _("This endpoint has no background responses."),
        "conversation": _("This endpoint keeps no conversations: send previous_response_id, or the whole input."),
        "prompt": _("This endpoint keeps no prompts: send the text as instructions and input."),
    }
    for name in PLACES:
        if found.get(name):
            raise bad(messages[name], name)


async def _events(
    call: Call, body: Body, request: ChatRequest, answer: Answer, turns: list[Any]
) -> AsyncIterator[bytes]:
    begun = False
    try:
        async with aclosing(call.items(body.model, request)) as pieces:  # type: ignore[type-var]  # a generator
            async for chunk in pieces:
                start = b"" if begun else answer.encoded(answer.begin())
                begun = True
                if data := start + answer.encoded(answer.take(chunk)):
                    yield data
    except Exception as err:  # whatever it is, the client gets it as the last event
        if not begun:
            raise
        problem = problems.of(err)
        call.problem = problem.name
        yield answer.encoded(answer.fail(problem, call.usage))
        return
    start = b"" if begun else answer.encoded(answer.begin())
    last = list(answer.end(call.usage))
    _remember(call, body, last[-1]["response"], answer, turns)
    yield start + answer.encoded(iter(last))


def _repeated(found: dict[str, Any], body: Body) -> dict[str, Any]:
    """Return what a response repeats of its request."""
    return {
        "model": body.model,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "parallel_tool_calls": found.get("parallel_tool_calls") is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {"effort": None, "summary": None, **(found.get("reasoning") or {})},
        "store": body.store is not False,
        "temperature": found.get("temperature"),
        "text": found.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": found.get("top_p"),
        "truncation": "disabled",
        "user": found.get("user"),
        "metadata": found.get("metadata") or {},
    }


# ---- conversations


def _before(call: Call, body: Body) -> list[Any]:
    """Return the conversation that a request continues."""
    if body.previous_response_id is None:
        return []
    known = call.gateway.memory.get(body.previous_response_id, call.client.owner)
    if known is None:
        raise _unknown(call, body.previous_response_id, "previous_response_id")
    found: list[Any] = msgspec.json.decode(known.messages)
    return found


def _remember(call: Call, body: Body, response: dict[str, Any], answer: Answer, turns: list[Any]) -> None:
    if body.store is not False:
        call.gateway.memory.put(response["id"], call.client.owner, response, [*turns, as_message(answer.output)])


def _unknown(call: Call, identity: str, param: str | None = None) -> Problem:
    """Return the problem with a response that is not remembered, in a field of a request or in a path."""
    shown = repr(identity[:100])
    if call.gateway.access.is_shared:
        message = _(
            "The response {id} is not known here: each replica of this endpoint remembers its own. Send the whole "
            "conversation as input.",
            id=shown,
        )
    else:
        message = _(
            "The response {id} is not known here: this endpoint remembers the last ones only, until it ends. Send the "
            "whole conversation as input.",
            id=shown,
        )
    code = "previous_response_not_found" if param else "not_found"
    return Problem(404, message, code=code, anthropic="not_found_error", name="NotFound", param=param)


async def retrieve(call: Call) -> Reply:
    """Return a response that is remembered.

    Raises:
        Problem: it is not.
    """
    identity = call.scope["path_params"]["response"]
    known = call.gateway.memory.get(identity, call.client.owner)
    if known is None:
        raise _unknown(call, identity)
    return Reply(known.response)


async def delete(call: Call) -> Reply:
    """Forget a response.

    Raises:
        Problem: it is not known.
    """
    identity = call.scope["path_params"]["response"]
    if not call.gateway.memory.forget(identity, call.client.owner):
        raise _unknown(call, identity)
    return Reply({"id": identity, "object": "response", "deleted": True})
