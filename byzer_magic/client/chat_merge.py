"""Merging what a chat streams in pieces beside its text: tool calls, log probabilities, other choices."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any


class ToolCalls:
    """The tool calls of one response, joined from OpenAI's deltas: by id where there is one, by index else.

    See https://developers.openai.com/api/reference/resources/chat. Not every server is as exact: the index of all
    calls may be 0, or missing; ids, names and complete arguments may be repeated, or new with every delta.

    Example:
        >>> calls = ToolCalls()
        >>> calls.add({"index": 0, "id": "1", "function": {"name": "f", "arguments": "{"}})
        >>> calls.add({"index": 0, "function": {"arguments": "}"}})
        >>> calls.result()[0]["function"]
        {'name': 'f', 'arguments': '{}'}
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, delta: Mapping[str, Any]) -> None:
        """Add a delta."""
        index, identity = delta.get("index"), delta.get("id") or None
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else {}
        name, arguments = _text(function.get("name")), _text(function.get("arguments"))
        if not (name or arguments or identity or index is not None):
            return
        call = self._found(index, identity, name, arguments)
        if call is None:
            call = _Call(index, identity)
            self._calls.append(call)
        call.id = call.id or identity
        call.add(name, arguments)

    def _found(self, index: Any, identity: Any, name: str, arguments: str) -> _Call | None:
        """Return the call that a delta belongs to; None where it begins one."""
        if identity is not None and (known := [call for call in self._calls if call.id == identity]):
            numbered = None not in (index, known[-1].index) and index != known[-1].index
            another = name and (numbered or known[-1].is_followed_by(arguments))
            return None if another else known[-1]
        same = [call for call in self._calls if index is None or call.index == index]
        if not same:
            return None
        if identity is not None and same[-1].id is not None:  # of a new call, or new with every piece of one
            return same[-1] if arguments and not name else None
        return None if same[-1].is_over(name, arguments) else same[-1]

    def so_far(self) -> list[tuple[str, str, str]]:
        """Return id, name and arguments of the calls so far, in the order in which they began; an id may be empty."""
        return [(str(call.id or ""), call.name, call.arguments) for call in self._calls]

    def result(self) -> list[dict[str, Any]] | None:
        """Return the calls so far in OpenAI's form, None where there are none; a call without an id is given one."""
        indexes = [call.index for call in self._calls]
        ordered = len({*indexes}) == len(indexes) and all(isinstance(index, int) for index in indexes)
        calls = sorted(self._calls, key=lambda call: call.index) if ordered else self._calls
        return [call.result(number) for number, call in enumerate(calls)] or None


class _Call:
    """One call."""

    def __init__(self, index: Any, identity: Any) -> None:
        self.index = index
        self.id = identity
        self.name = ""
        self.arguments = ""
        self._repeats = False
        """Whether every delta has the name."""

    def add(self, name: str, arguments: str) -> None:
        """Add what a delta has; complete arguments are replaced, since nothing can follow them."""
        self._repeats = self._repeats or (name != "" and name == self.name)
        self.name += "" if name == self.name else name
        begins = arguments.lstrip()[:1] == "{"
        self.arguments = arguments if begins and self._is_complete() else self.arguments + arguments

    def is_over(self, name: str, arguments: str) -> bool:
        """Return whether a delta without an id begins another call: it has a name, and this call is complete."""
        if not name or not self.name:
            return False
        if name != self.name:
            return self.arguments != ""
        begins = arguments.lstrip()[:1] == "{" if arguments else not self._repeats
        return begins and arguments != self.arguments and self._is_complete()

    def is_followed_by(self, arguments: str) -> bool:
        """Return whether these are complete arguments of another call, although it has the same id."""
        same = arguments == self.arguments or self.arguments.strip() == "{}"
        return not same and self._is_complete() and is_object(arguments)

    def _is_complete(self) -> bool:
        return is_object(self.arguments)

    def result(self, number: int) -> dict[str, Any]:
        """Return it in OpenAI's form."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": str(self.id or f"call_{number}"), "type": "function", "function": function}


def is_object(text: str) -> bool:
    """Return whether a text is a complete JSON object, as the arguments of a call are in the end.

    Example:
        >>> is_object('{"a": 1}'), is_object('{"a": ')
        (True, False)
    """
    if not text.rstrip().endswith("}"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _text(value: Any) -> str:
    """Return a piece of text; arguments that come as an object are complete JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


class Choices:
    """The choices of one response after the first, each with its own text, reasoning and tool calls.

    Example:
        >>> choices = Choices()
        >>> choices.add({"index": 2, "text": "b", "finish": None})
        >>> choices.add({"index": 1, "text": "a", "finish": "stop"})
        >>> [(choice["index"], choice["text"]) for choice in choices.result()]
        [(1, 'a'), (2, 'b')]
    """

    def __init__(self) -> None:
        self._found: dict[int, dict[str, Any]] = {}
        self._calls: dict[int, ToolCalls] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Add what is new of a choice, as backends have it in `ChatChunk.extra`."""
        known = self._found.setdefault(delta["index"], {"index": delta["index"], "text": "", "finish": None})
        known["text"] += delta.get("text") or ""
        known["finish"] = delta.get("finish") or known["finish"]
        if reasoning := delta.get("reasoning"):
            known["reasoning"] = known.get("reasoning", "") + reasoning
        if isinstance(delta.get("logprobs"), dict):
            _add_tokens(known.setdefault("logprobs", {}), delta["logprobs"])
        for call in delta.get("tool_calls") or ():
            self._calls.setdefault(delta["index"], ToolCalls()).add(call)

    def result(self) -> list[dict[str, Any]]:
        """Return the choices so far by index; tool calls in OpenAI's form."""
        calls = {index: {"tool_calls": found.result()} for index, found in self._calls.items()}
        return [{**copy.deepcopy(self._found[index]), **calls.get(index, {})} for index in sorted(self._found)]


def add_extra(so_far: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add a chunk's further fields: log probabilities grow, any other field is replaced."""
    for name, value in extra.items():
        if name == "logprobs" and isinstance(value, dict) and isinstance(so_far.get(name, {}), dict):
            _add_tokens(so_far.setdefault(name, {}), value)
        elif value is not None:
            so_far[name] = value


def _add_tokens(known: dict[str, Any], delta: dict[str, Any]) -> None:
    for part, tokens in delta.items():
        so_far = known.setdefault(part, [])
        if isinstance(so_far, list) and isinstance(tokens, list):
            so_far += tokens
        elif tokens is not None:  # no list: nothing that could be joined
            known[part] = tokens
