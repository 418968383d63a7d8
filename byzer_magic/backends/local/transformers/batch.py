"""Batches requests that wait while a model works, when their options agree."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from byzer_magic.backends.engine.threads import Emit, Turns

JOIN_SECONDS = 0.01
"""How long a free model waits after each arrival for another request to join its batch."""
MOST_JOIN_SECONDS = 0.25
"""How long it waits in all, and for requests that are still being prepared."""


class Joinable(Protocol):
    """A request that may be batched with others."""

    stopped: threading.Event
    done: bool


Answer = Callable[[Sequence[Any], Callable[[Any, Any], None], threading.Event], None]
"""Processes several requests; emits items with their request, and None when a request only ends."""


class _Place:
    """A request in the queue, and the queue of its results."""

    def __init__(self, row: Joinable, group: object) -> None:
        self.row, self.group = row, group
        self.items: asyncio.Queue[Any] = asyncio.Queue()
        self.left = asyncio.Event()
        self.since = time.monotonic()


class Batches:
    """Runs `answer` for up to `most` requests at once, in a thread."""

    def __init__(self, name: str, answer: Answer, most: int) -> None:
        self._answer, self._most = answer, most
        self._turns = Turns(name)
        self._waiting: list[_Place] = []
        self._preparing = 0
        self._arrived = asyncio.Event()
        self._end = object()
        self.sizes: list[int] = []
        """Sizes of the last batches."""
        self._task = asyncio.create_task(self._serve(), name=f"{name} batches")

    @property
    def running(self) -> int:
        """Return the number of running batches."""
        return self._turns.running

    @contextlib.contextmanager
    def preparing(self) -> Iterator[None]:
        """Let a free model wait for the request that the block prepares, since it is about to join."""
        self._preparing += 1
        try:
            yield
        finally:
            self._preparing -= 1
            self._arrived.set()

    async def run(self, row: Joinable, group: object) -> AsyncGenerator[Any, None]:
        """Yield the items of one request; closing the iterator removes it from its batch.

        Raises:
            ByzerError: the batch failed.
        """
        place = _Place(row, group)
        self._waiting.append(place)
        self._arrived.set()
        try:
            while (item := await place.items.get()) is not self._end:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            row.stopped.set()
            if place in self._waiting:
                self._waiting.remove(place)
            else:
                await _patiently(place.left)

    async def close(self) -> None:
        """Stop what runs and wait for its end."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for place in self._waiting:
            self._leave(place)
        await self._turns.close()

    async def _serve(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._gathered()
                if batch := self._next():
                    await self._one(batch)

    async def _gathered(self) -> None:
        """Wait until no further request is on its way, so that those that arrive together are batched together."""
        began = time.monotonic()
        while self._waiting and len(self._batch()) < self._most:
            now = time.monotonic()
            quiet = max(began, self._waiting[-1].since) + JOIN_SECONDS - now
            left = began + MOST_JOIN_SECONDS - now
            if left <= 0 or (quiet <= 0 and not self._preparing):
                return
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), left if self._preparing else min(quiet, left))

    def _next(self) -> list[_Place]:
        """Take the request that has waited longest, and those that can be batched with it."""
        batch = self._batch()
        self._waiting = [place for place in self._waiting if place not in batch]
        return batch

    def _batch(self) -> list[_Place]:
        same = [place for place in self._waiting if place.group == self._waiting[0].group]
        return same[: self._most]

    async def _one(self, batch: list[_Place]) -> None:
        places = {id(place.row): place for place in batch}
        self.sizes = [*self.sizes[-99:], len(batch)]

        def work(emit: Emit, stopped: threading.Event) -> None:
            self._answer([place.row for place in batch], lambda row, item: emit((id(row), item, row.done)), stopped)

        failure: BaseException | None = None
        try:
            async with aclosing(self._turns.run(work)) as items:
                async for row, item, last in items:
                    if item is not None:
                        places[row].items.put_nowait(item)
                    if last:
                        self._leave(places[row])
        except Exception as err:  # noqa: BLE001 - it is raised for the requests of the batch
            failure = err
        finally:
            for place in batch:
                if failure and not place.row.done:
                    place.items.put_nowait(failure)
                self._leave(place)

    def _leave(self, place: _Place) -> None:
        place.items.put_nowait(self._end)
        place.left.set()


async def _patiently(event: asyncio.Event) -> None:
    """Wait however often the waiting task is cancelled; then let the cancellation through."""
    cancelled: asyncio.CancelledError | None = None
    while not event.is_set():
        try:
            await event.wait()
        except asyncio.CancelledError as err:
            cancelled = err
    if cancelled:
        raise cancelled
