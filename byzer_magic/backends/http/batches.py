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
"""Requests of one job that may run together; they share the job's slot."""


async def in_order(
    items: Sequence[T], size: int, send: Callable[[int, Sequence[T]], Awaitable[R]], retries: int = 0
) -> AsyncGenerator[R, None]:
    """Yield `send(start, items[start:start + size])` for all items, in their order, a few running ahead.

    Closing the iterator, or an error, cancels what runs.

    Args:
        items: what to send.
        size: items in one request.
        send: sends one batch; takes the index of its first item, and the items.
        retries: how often a batch is sent again when it fails; of the first one the pool decides, as nothing has
            been yielded yet.

    Example:
        >>> async def send(start, texts):
        ...     return [f"{start + i}: {text}" for i, text in enumerate(texts)]
        >>> async def run():
        ...     return [rows async for rows in in_order(["a", "b", "c"], 2, send)]
        >>> asyncio.run(run())
        [['0: a', '1: b'], ['2: c']]
    """
    running: deque[asyncio.Task[R]] = deque()

    async def once(start: int) -> AsyncGenerator[R, None]:
        yield await send(start, items[start : start + size])

    async def batch(start: int) -> R:  # called in its task: one cancelled before it begins leaves no coroutine behind
        async with aclosing(retried(lambda: once(start), retries if start else 0)) as results:
            return await anext(results)

    try:
        for start in range(0, len(items), size):
            running.append(asyncio.create_task(batch(start)))
            if len(running) == AT_ONCE:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
