"""The conversations that `previous_response_id` continues: the last ones, within a bound, in this process."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import msgspec

MOST = 1000
"""Responses that are remembered."""
MOST_BYTES = 128 * 1024 * 1024
"""What they may have together."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A response, and the conversation up to it."""

    client: str
    """Whose it is: others do not find it."""
    response: bytes
    messages: bytes

    @property
    def size(self) -> int:
        """Return its bytes."""
        return len(self.response) + len(self.messages)


class Memory:
    """The last responses; the oldest are forgotten first.

    Example:
        >>> memory = Memory(most=1)
        >>> for name in ("a", "b"):
        ...     memory.put(name, "", {"id": name}, [])
        >>> memory.get("a", "") is None, memory.get("b", "").response
        (True, b'{"id":"b"}')
    """

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._found: OrderedDict[str, Remembered] = OrderedDict()
        self._bytes = 0

    def put(self, identity: str, client: str, response: Any, messages: list[Any]) -> None:
        """Remember a response and its conversation, its answer included."""
        entry = Remembered(client, msgspec.json.encode(response), msgspec.json.encode(messages))
        if entry.size > self._most_bytes:
            return
        self.forget(identity, client)
        self._found[identity] = entry
        self._bytes += entry.size
        while len(self._found) > self._most or self._bytes > self._most_bytes:
            _oldest, gone = self._found.popitem(last=False)
            self._bytes -= gone.size

    def get(self, identity: str, client: str) -> Remembered | None:
        """Return a response of this client, or None."""
        entry = self._found.get(identity)
        return entry if entry is not None and entry.client == client else None

    def forget(self, identity: str, client: str) -> bool:
        """Forget a response; return whether there was one of this client."""
        entry = self.get(identity, client)
        if entry is None:
            return False
        del self._found[identity]
        self._bytes -= entry.size
        return True
