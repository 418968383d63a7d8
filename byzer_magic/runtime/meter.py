"""What `stat` tells of speed: how soon answers began, and how fast they went on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing

from byzer_magic.types import ChatChunk, Item

WINDOW = 512
"""Answers that the figures look back on."""


class Meter:
    """Figures over the last answers, in seconds and tokens a second."""

    def __init__(self) -> None:
        self._first: deque[float] = deque(maxlen=WINDOW)
        self._speeds: deque[float] = deque(maxlen=WINDOW)

    async def measured(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """Pass an answer on, and take its times."""
        started = time.monotonic()
        first = 0.0
        async with aclosing(items) as answer:  # type: ignore[type-var]  # async generators all
            async for item in answer:
                if not first and (not isinstance(item, ChatChunk) or item.text or item.reasoning):
                    first = time.monotonic()
                    self._first.append(first - started)
                elif isinstance(item, ChatChunk) and item.usage and first:  # an answer in one piece has no speed
                    self._speeds.append(item.usage.completion_tokens / max(time.monotonic() - first, 1e-3))
                yield item

    def first_token(self, share: float) -> float | None:
        """Return the time within which this share of the answers had begun."""
        times = sorted(self._first)
        return times[min(int(len(times) * share), len(times) - 1)] if times else None

    @property
    def tokens_per_second(self) -> float | None:
        """Return the mean speed after the first token."""
        return sum(self._speeds) / len(self._speeds) if self._speeds else None
