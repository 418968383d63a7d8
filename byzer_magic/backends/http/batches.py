"""Many texts in requests of a few: several requests at once, their results in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from byzer_magic.backends.http.retry import retried

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 4
"""Requests of one batch job that may run together; its slot counts as one all the same."""


async def in_order(
    items: Sequence[T], size: int, work: Callable[[int, Sequence[T]], Awaitable[R]], tries: int = 0
) -> AsyncGenerator[R, None]:
    """Yield `work(start, items[start:start + size])` for all items, in their order, a few running ahead.

    Each batch is a request of its own, tried again up to `tries` times; the first one by the pool, as nothing has come
    yet. Closing the iterator, or a failure, cancels what runs.
    """
    running: deque[asyncio.Task[R]] = deque()

    async def once(start: int) -> AsyncGenerator[R, None]:
        yield await work(start, items[start : start + size])

    async def one(start: int) -> R:  # called in its task: one that is cancelled before it begins leaves no coroutine
        async with aclosing(retried(lambda: once(start), tries if start else 0)) as results:
            return await anext(results)

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
