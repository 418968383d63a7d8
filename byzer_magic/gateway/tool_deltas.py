"""Tool calls as they arrive, in order and complete: each with an index, and an id and a name before its arguments."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from byzer_magic.client.chat_merge import ToolCalls


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

    Example:
        >>> deltas = ToolDeltas()
        >>> [delta.name for delta in deltas.add([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}])]
        ['f']
        >>> [(delta.index, delta.arguments) for delta in deltas.add([{"index": 0, "function": {"arguments": "}"}}])]
        [(0, '}')]
    """

    def __init__(self) -> None:
        self._calls = ToolCalls()
        self._ids: list[str] = []
        self._sent: list[str] = []
        """The arguments of each call so far."""

    @property
    def any(self) -> bool:
        """Return whether there was any call."""
        return bool(self._ids)

    def add(self, deltas: Sequence[dict[str, Any]]) -> list[ToolDelta]:
        """Take the deltas of a chunk; return what is new."""
        for delta in deltas:
            self._calls.add(delta)
        found = []
        for index, (identity, name, arguments) in enumerate(self._calls.so_far()):
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
