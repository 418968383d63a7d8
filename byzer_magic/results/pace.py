"""How fast a response arrives: only one that comes in several pieces has a time to first token, and a speed."""

from __future__ import annotations

from byzer_magic.types import ChatChunk, Item

BURST_SECONDS = 0.01
"""Pieces that all arrive within this time have no speed: the response was complete before it was sent."""


class Pace:
    """The pieces of one response.

    Example:
        >>> pace = Pace()
        >>> for text, seconds in (("One", 0.5), (" two", 1.0), (" three", 1.5)):
        ...     pace.add(ChatChunk(text), seconds)
        >>> pace.first, round(pace.after_first, 2), round(pace.tokens_per_second(4), 1)
        (0.5, 0.77, 3.1)
    """

    def __init__(self) -> None:
        self.last = 0.0
        """Seconds until the latest piece."""
        self._first: float | None = None
        self._pieces = self._size = self._first_size = 0

    def add(self, item: Item, seconds: float) -> None:
        """Take an item that arrived so many seconds after the request was sent; one without output does not count."""
        if not (size := _size(item)):
            return
        if self._first is None:
            self._first, self._first_size = seconds, size
        self._pieces += 1
        self._size += size
        self.last = seconds

    @property
    def first(self) -> float | None:
        """Return the seconds to the first piece; None unless others followed."""
        return self._first if self._pieces > 1 else None

    @property
    def after_first(self) -> float:
        """Return the part of the response that came after the first piece, 0..1, by its length."""
        return 1 - self._first_size / self._size if self._size else 0.0

    def tokens_per_second(self, tokens: int) -> float | None:
        """Return the speed after the first piece; None where no other came, or all at the same time.

        Args:
            tokens: of the complete response.
        """
        if self.first is None or self.last - self.first < BURST_SECONDS:
            return None
        return tokens * self.after_first / (self.last - self.first)


def _size(item: Item) -> int:
    """Return the length of an item's output: of a chat's in characters, tool calls included; others count as one."""
    if not isinstance(item, ChatChunk):
        return 1
    if not item.tool_calls:
        return len(item.text) + len(item.reasoning)
    calls = (call.get("function") or {} for call in item.tool_calls)
    return len(item.text) + len(item.reasoning) + sum(len(call.get("arguments") or "") for call in calls)
