"""One lookup at a time for the same thing: those that ask in the meantime share what it finds."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Shares the result of a coroutine among all that want it while it runs.

    Example:
        >>> async def main():
        ...     count, flights = 0, SingleFlight()
        ...     async def look():
        ...         nonlocal count
        ...         count += 1
        ...         return count
        ...     return await asyncio.gather(*(flights.do("a", look) for _ in range(3)))
        >>> asyncio.run(main())
        [1, 1, 1]
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[T]] = {}

    async def do(self, key: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, or what another call with the same key is about to return.

        Cancelling one caller does not cancel the work for the others.

        Raises:
            BaseException: whatever `work` raises, in each caller.
        """
        if (running := self._running.get(key)) is None:
            # In a context of its own: it belongs to no single request.
            running = self._running[key] = asyncio.create_task(work(), context=contextvars.Context())
            running.add_done_callback(functools.partial(self._ended, key))
        return await asyncio.shield(running)

    def clear(self) -> None:
        """Forget what runs: later calls begin anew."""
        self._running.clear()

    def _ended(self, key: str, task: asyncio.Task[T]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()  # nobody may be left who wants to know
