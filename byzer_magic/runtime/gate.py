"""The slot table with its clock, and with those who wait for a slot."""

from __future__ import annotations

import asyncio
import itertools
import time

from byzer_magic import errors
from byzer_magic.routing.table import Grant, SlotTable
from byzer_magic.runtime.plan import MAX_QUEUED
from byzer_magic.stat import WorkerStat

LOOK_SECONDS = 0.02
"""How often somebody looks who waits for workers to become idle: the slot table is pure, it tells nobody."""


class Gate:
    """Admits requests to workers, first come first served; keeps those out that nobody can answer."""

    def __init__(self, workers: int, limit: int, health: str = "up") -> None:
        self.closed: errors.ByzerError | None = None
        """Why no request is admitted, if none is."""
        self.moves = 0
        """Counts whatever changes."""
        self._table = SlotTable(0, limit, max_queue=MAX_QUEUED, now=time.monotonic())
        self._table.resize(workers, time.monotonic(), health=health)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._tickets = itertools.count()
        self._drained: set[int] = set()

    def ticket(self) -> int:
        """Return a number for a request."""
        return next(self._tickets)

    async def admit(self, ticket: int) -> int:
        """Wait for a slot; return its worker. Whoever was admitted releases it.

        Raises:
            Overloaded: too many wait already.
            ByzerError: the gate is closed, or was while this waited.
        """
        if self.closed:
            raise self.closed
        self.moves += 1
        grant = self._table.acquire(ticket, time.monotonic())
        if grant is not None:
            return grant.worker
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        try:
            return await future
        except BaseException:
            self._grant(self._table.withdraw(ticket, time.monotonic()))
            raise
        finally:
            del self._waiting[ticket]

    def release(self, ticket: int, *, failed: bool) -> None:
        """Take a slot back."""
        self._grant(self._table.release(ticket, time.monotonic(), failed=failed))

    def _grant(self, grants: list[Grant]) -> None:
        self.moves += 1
        for grant in grants:
            future = self._waiting[grant.ticket]
            if not future.done():
                future.set_result(grant.worker)

    def close(self, why: errors.ByzerError) -> None:
        """Admit nobody any more, and send those away who wait."""
        self.closed = why
        self.moves += 1
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(why)

    def reopen(self) -> None:
        """Admit requests again."""
        self.closed = None
        self.moves += 1

    # ---- workers

    @property
    def workers(self) -> list[int]:
        """Return the workers that there are, those that finish their last requests included."""
        return self._table.workers

    def health(self, worker: int, state: str) -> None:
        """Note a worker's health; one that is drained and well stays drained."""
        state = "drained" if state == "up" and worker in self._drained else state
        self._grant(self._table.set_health(worker, state, time.monotonic()))

    def drain(self, worker: int, why: errors.ByzerError) -> None:
        """Send a worker no more requests; when it was the last, `why` is what requests are told."""
        self._drained.add(worker)
        self._grant(self._table.set_health(worker, "drained", time.monotonic()))
        if self._drained >= set(self.workers):
            self.close(why)

    def undrain(self, worker: int) -> None:
        """Let a worker's health decide again."""
        if self._drained >= set(self.workers):
            self.reopen()
        self._drained.discard(worker)

    def resize(self, workers: int, health: str) -> None:
        """Have so many workers: new ones begin with `health`, the highest ones finish what they do and go."""
        self._drained = {worker for worker in self._drained if worker < workers}
        self._grant(self._table.resize(workers, time.monotonic(), health=health))

    async def idle(self, worker: int, seconds: float) -> bool:
        """Wait until a worker does nothing, but no longer than this; return whether it came to that."""
        deadline = time.monotonic() + seconds
        while self._table.busy(worker) and time.monotonic() < deadline:  # noqa: ASYNC110 - see LOOK_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
        return not self._table.busy(worker)

    async def empty(self, seconds: float) -> int:
        """Wait until nobody runs or waits, but no longer than this; return how many still run."""
        deadline = time.monotonic() + seconds
        while (self._table.running or self._table.queued) and time.monotonic() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(LOOK_SECONDS)
        return self._table.running

    # ---- numbers

    @property
    def running(self) -> int:
        """Return how many requests hold a slot."""
        return self._table.running

    @property
    def queued(self) -> int:
        """Return how many requests wait."""
        return self._table.queued

    def busy(self, worker: int) -> int:
        """Return how many requests a worker has."""
        return self._table.busy(worker)

    def snapshot(self, pids: dict[int, int]) -> list[WorkerStat]:
        """Return every worker's counters."""
        return self._table.snapshot(time.monotonic(), pids=pids)
