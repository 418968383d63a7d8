"""Ask for a value of a type: by the provider's own JSON schema where it takes one, in words in any case.

A response that is not valid is answered once with what is wrong in it. A provider or an engine that refuses the schema
is asked in words alone, and that is remembered until the deployment is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec

from byzer_magic.capabilities import Capability
from byzer_magic.client.answering import is_recorded
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt
from byzer_magic.client.typed import NotThatType, Typed
from byzer_magic.errors import BadRequest, ContentRefused, ContextTooLong, MalformedResponse, Unsupported
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatRequest, Media, Message

T = TypeVar("T")

TRIES = 2
"""The first request, and one that says what is wrong with its response."""
NO_SCHEMA = "no schema"
"""What is learnt about a deployment that refuses a schema."""


async def ask_typed(
    manager: Manager,
    alias: str,
    prompt: Prompt,
    kind: type[T],
    *,
    system: str | None = None,
    attached: Sequence[Media] = (),
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> tuple[T, ChatResult]:
    """Return a value of a type, and the response that it was read from.

    Args:
        manager: connects to the deployment.
        alias: the deployment, which the manager can reach.
        prompt: a text, or a conversation in OpenAI's form.
        kind: a pydantic model, or any other type that pydantic validates.
        system: a system prompt, put before the conversation.
        attached: images and audio to go with the last message.
        options: OpenAI's request fields.
        timeout: deadline for each response, in seconds.

    Raises:
        MalformedResponse: the second response is not valid either; `partial` is that response.
        NotDeployed: nothing is deployed as this alias.
        RequestError: a response is incomplete.
    """
    typed: Typed[T] = Typed(kind)
    exchange = await aconverse(
        manager, alias, prompt, system=system, attached=attached, options=options, stream=False, timeout=timeout,
        capability=Capability.CHAT,
    )  # fmt: skip
    request = cast("ChatRequest", exchange.request)
    asked = with_text(request.messages, typed.instruction)
    return await read(manager, alias, msgspec.structs.replace(request, messages=asked), typed)


def _ignore(_result: ChatResult) -> None:
    """Note nothing."""


async def read(
    manager: Manager,
    alias: str,
    request: ChatRequest,
    typed: Typed[T],
    *,
    prefix: str = "",
    note: Callable[[ChatResult], object] = _ignore,
) -> tuple[T, ChatResult]:
    """Return the value in the response to a request, asked for again once; see `ask_typed`.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        request: what to send.
        typed: how the response is read.
        prefix: how the response begins, where the request already has its beginning.
        note: called with each response, also with one that is not valid.
    """
    problem = ""
    for _attempt in range(TRIES):
        result = await _respond(manager, alias, request, typed)
        note(result)
        try:
            return typed.read(prefix + result.text), result
        except NotThatType as err:
            problem = str(err)
        request = msgspec.structs.replace(request, messages=_corrected(request.messages, result, typed, problem))
        prefix = ""
    raise malformed(typed, result, problem)


async def _respond(manager: Manager, alias: str, request: ChatRequest, typed: Typed[Any]) -> ChatResult:
    """Return the response to a request, sent with the schema unless its provider or its engine refuses that."""
    continues = request.messages[-1].role == "assistant"  # a schema would begin the response anew
    if NO_SCHEMA in manager.learnt(alias):
        await manager.capabilities(alias)  # another model may answer by now
    learnt = manager.learnt(alias)
    if continues or NO_SCHEMA in learnt or "response_format" in request.options:
        return await _run(manager, alias, request)
    asked = with_schema(request, typed)
    if await is_recorded(manager, alias, request) and not await is_recorded(manager, alias, asked):
        return await _run(manager, alias, request)  # it was refused then
    try:
        return await _run(manager, alias, asked)
    except (ContextTooLong, ContentRefused):
        raise
    except (BadRequest, Unsupported):
        result = await _run(manager, alias, request)
        learnt.add(NO_SCHEMA)  # it was the schema: without it, the request is taken
        return result


def with_schema(request: ChatRequest, typed: Typed[Any]) -> ChatRequest:
    """Return a request with the schema of a type, unless it has a format of its own."""
    options = {"response_format": typed.response_format} | request.options
    return msgspec.structs.replace(request, options=options)


async def _run(manager: Manager, alias: str, request: ChatRequest) -> ChatResult:
    return cast("ChatResult", await Exchange(manager, alias, request).run())


def _corrected(messages: list[Message], result: ChatResult, typed: Typed[Any], problem: str) -> list[Message]:
    """Return a conversation that goes on with what is wrong in its last response."""
    if not result.text.strip():  # providers refuse an empty turn
        return messages
    if messages[-1].role == "assistant":  # the beginning of the response
        messages = messages[:-1]
    return [*messages, Message("assistant", result.text), Message("user", typed.correction(problem))]


def with_text(messages: Sequence[Message], text: str) -> list[Message]:
    """Return a conversation with a text at the end of the user's last message.

    It is a message of its own where something else comes last, such as what a tool has returned; the beginning of the
    response stays the end.
    """
    turns = list(messages)
    place = next((index for index in reversed(range(len(turns))) if turns[index].role != "assistant"), len(turns) - 1)
    if turns[place].role != "user":
        return [*turns[: place + 1], Message("user", text), *turns[place + 1 :]]
    content = turns[place].content or ""
    parts = [*content, {"type": "text", "text": text}] if isinstance(content, list) else f"{content}\n\n{text}"
    turns[place] = msgspec.structs.replace(turns[place], content=parts)
    return turns


def malformed(typed: Typed[Any], result: ChatResult, problem: str) -> MalformedResponse:
    """Return the error for a response that has no value of the type."""
    cut = result.finish == "length"
    err = MalformedResponse(
        _("{alias} did not respond with a valid {type}: {problem}", alias=result.model, type=typed.name,
          problem=problem),
        _("The response was truncated: allow more tokens with max_tokens.") if cut
        else _("Say in the prompt what each field means, or use a larger model."),
    )  # fmt: skip
    err.partial = result
    return err
