"""Many texts in requests of a few: several requests at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
"""Requests of one batch job that may run together; its slot counts as one all the same."""


async def in_order(items: Sequence[T], size: int, work: Callable[[int, Sequence[T]], Awaitable[R]]) -> AsyncIterator[R]:
    """Yield `work(start, items[start:start + size])` for all items, in their order, a few running ahead.

    Closing the iterator, or a failure, cancels what runs.
    """
    running: deque[asyncio.Task[R]] = deque()

    async def one(start: int) -> R:  # called in its task: one that is cancelled before it begins leaves no coroutine
        return await work(start, items[start : start + size])

    try:
        for start in range(0, len(items), size):
            running.append(asyncio.create_task(one(start)))
            if len(running) == AT_ONCE:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
