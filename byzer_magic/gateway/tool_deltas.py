"""Tool calls as they arrive, in order and complete: each with an index, and an id and a name before its arguments."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from byzer_magic.client.chat_merge import ToolCalls, is_object


@dataclass(frozen=True, slots=True)
class ToolDelta:
    """What is new of a tool call."""

    index: int
    id: str
    name: str
    """Its name, where the call begins here; else empty."""
    arguments: str
    """More of its arguments, which are JSON in the end."""


class ToolDeltas:
    """Turns deltas of any server into those that clients expect.

    Args:
        in_turn: whether each call must be complete before the next begins, as in streams of blocks: what comes of a
            later call is held back until then.

    Example:
        >>> deltas = ToolDeltas()
        >>> [delta.name for delta in deltas.add([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}])]
        ['f']
        >>> [(delta.index, delta.arguments) for delta in deltas.add([{"index": 0, "function": {"arguments": "}"}}])]
        [(0, '}')]
    """

    def __init__(self, *, in_turn: bool = False) -> None:
        self._in_turn = in_turn
        self._turn = 0
        """The call that is given, where they are given in turn."""
        self._calls = ToolCalls()
        self._ids: list[str] = []
        self._sent: list[str] = []
        """The arguments of each call so far."""

    @property
    def any(self) -> bool:
        """Return whether there was any call."""
        return bool(self._ids)

    @property
    def is_open(self) -> bool:
        """Return whether a call has begun, and is not complete."""
        return self._turn < len(self._sent) and not is_object(self._sent[self._turn])

    def add(self, deltas: Sequence[dict[str, Any]]) -> list[ToolDelta]:
        """Take the deltas of a chunk; return what is new."""
        if not deltas:
            return []
        for delta in deltas:
            self._calls.add(delta)
        return self._new()

    def end(self) -> list[ToolDelta]:
        """Return what was held back: no more deltas come."""
        self._in_turn = False
        return self._new()

    def _new(self) -> list[ToolDelta]:
        found = []
        for index, (identity, name, arguments) in enumerate(self._calls.so_far()):
            if self._in_turn and index > self._turn:
                if self.is_open:
                    break
                self._turn = index
            begins = index == len(self._ids)
            if begins:
                if not name:  # it comes with a later delta
                    break
                self._ids.append(identity or f"call_{uuid.uuid4().hex[:24]}")
                self._sent.append("")
            more = arguments.removeprefix(self._sent[index]) if arguments.startswith(self._sent[index]) else ""
            if begins or more:
                self._sent[index] += more
                found.append(ToolDelta(index, self._ids[index], name if begins else "", more))
        return found


def finish_of(finish: str | None, *, called: bool) -> str:
    """Return why an answer ends, in OpenAI's words: some servers say ``stop``, or nothing, although tools are called.

    Args:
        finish: what the server says.
        called: whether there was a tool call.

    Example:
        >>> finish_of("stop", called=True), finish_of("length", called=True), finish_of(None, called=False)
        ('tool_calls', 'length', 'stop')
    """
    return "tool_calls" if called and finish in (None, "", "stop") else finish or "stop"
