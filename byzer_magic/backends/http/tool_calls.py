"""Tool calls of any provider: read into OpenAI's deltas, which `client.chat_merge` joins, and sent back.

See https://developers.openai.com/api/reference/resources/chat (`delta.tool_calls`). Compatible servers send the
arguments as an object, the function's fields beside it, one call instead of a list, and the older `function_call`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from byzer_magic.backends.http.coercion import Misfit, integer_in, text_in
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Message

_ARGUMENTS = ("arguments", "parameters", "input")
"""Where the arguments are; the first is OpenAI's name."""
SHOWN_CHARACTERS = 80
"""How much an error quotes of arguments."""


def deltas(found: Any) -> list[dict[str, Any]] | None:
    """Return what a provider sends as `tool_calls` as deltas in OpenAI's form; None where there is no call.

    Example:
        >>> deltas([{"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}, None])
        [{'id': 'a', 'type': 'function', 'function': {'name': 'f', 'arguments': '{"x": 1}'}}]
        >>> deltas({"index": 0, "function": None}), deltas([])
        ([{'index': 0, 'type': 'function', 'function': {}}], None)
    """
    if isinstance(found, Mapping):
        found = [found] if not found or _is_call(found) else list(found.values())
    if not isinstance(found, list):
        return None
    return [_delta(call) for call in found if isinstance(call, Mapping) and call] or None


def of_function(found: Any) -> list[dict[str, Any]] | None:
    """Return a `function_call`, as OpenAI's API had it before `tool_calls`, as deltas; None where there is none.

    Example:
        >>> of_function({"name": "f", "arguments": "{"})
        [{'index': 0, 'type': 'function', 'function': {'name': 'f', 'arguments': '{'}}]
    """
    return [_delta({"index": 0, "function": found})] if isinstance(found, Mapping) and found else None


def beside(*, reasoning: str | None, calls: list[dict[str, Any]] | None, logprobs: Any) -> dict[str, Any]:
    """Return what a choice after the first has besides its text, in `ChatChunk.extra`; without what it has not.

    Example:
        >>> beside(reasoning="", calls=[{"id": "a"}], logprobs=None)
        {'tool_calls': [{'id': 'a'}]}
    """
    found = {"reasoning": reasoning, "tool_calls": calls, "logprobs": logprobs}
    return {name: value for name, value in found.items() if value}


def _is_call(found: Mapping[str, Any]) -> bool:
    return bool({"function", "name", "id", "index", *_ARGUMENTS} & found.keys())


def _delta(call: Mapping[str, Any]) -> dict[str, Any]:
    function = _function(call)
    index, name = _index(call.get("index")), text_in(function.get("name"))
    identity = call.get("id") if isinstance(call.get("id"), str) else text_in(call.get("id"))
    arguments = next((function[key] for key in _ARGUMENTS if function.get(key) is not None), None)
    return {
        **({} if index is None else {"index": index}),
        **({"id": identity} if identity else {}),
        "type": "function",
        "function": {
            **({"name": name} if name else {}),
            **({} if arguments is None else {"arguments": as_text(arguments)}),
        },
    }


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the function of a call; its fields may be the call's own, or `function` its name."""
    function = call.get("function")
    if isinstance(function, Mapping):
        return function
    own = {key: call[key] for key in ("name", *_ARGUMENTS) if key in call}
    return {"name": function, **own} if isinstance(function, str) else own


def _index(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return integer_in(value)
    except Misfit:
        return None


def as_text(arguments: Any) -> str:
    """Return arguments as text, as OpenAI's schema has them.

    Example:
        >>> as_text({"city": "Bern"}), as_text('{"ci'), as_text(None)
        ('{"city": "Bern"}', '{"ci', '')
    """
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False)


# ---- calls that are sent back


def sent(turn: Message) -> Message:
    """Return a turn with its calls in OpenAI's schema: with their arguments as text.

    Example:
        >>> call = {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}}
        >>> sent(Message("assistant", tool_calls=[call])).tool_calls[0]["function"]
        {'name': 'f', 'arguments': '{"x": 1}'}
    """
    if not turn.tool_calls:
        return turn
    return msgspec.structs.replace(turn, tool_calls=[_sent(call) for call in turn.tool_calls])


def _sent(call: Mapping[str, Any]) -> dict[str, Any]:
    function = _function(call)
    if not function:
        return dict(call)  # of another type than function
    rest = {key: value for key, value in call.items() if key not in ("name", "index", *_ARGUMENTS)}
    given = next((function[key] for key in _ARGUMENTS if function.get(key) is not None), None)
    named = {"name": text_in(function.get("name")), "arguments": as_text(given) or "{}"}
    return {"type": "function", **rest, "function": named}


def name_of(call: Mapping[str, Any]) -> str:
    """Return the name of the function of a call that is sent back."""
    return text_in(_function(call).get("name"))


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that is sent back, for APIs that have them as an object.

    Raises:
        BadRequest: they are not a JSON object.

    Example:
        >>> arguments_of({"function": {"name": "f", "arguments": '{"x": 1}'}})
        {'x': 1}
    """
    text = _sent(call).get("function", {}).get("arguments", "{}")
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        name, shown = name_of(call), text[:SHOWN_CHARACTERS]
        raise BadRequest(
            _("The arguments of the tool call {name} are not a JSON object: {text}", name=name, text=shown),
            _("Correct them, or leave this call and its result out of the conversation."),
        )
    return found
