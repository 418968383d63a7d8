"""The slot table with its clock, and with those who wait for a slot or hold one."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Collection

from byzer_magic import errors
from byzer_magic.plan import MAX_QUEUED
from byzer_magic.routing.table import Grant, SlotTable
from byzer_magic.stat import WorkerStat

LOOK_SECONDS = 0.02
"""How often somebody looks who waits for workers to become idle: the slot table is pure, it tells nobody."""


class Admission:
    """Admits requests to workers, first come first served; keeps those out that nobody can answer."""

    def __init__(self, workers: int, limit: int, *, policy: str = "lru", health: str = "up") -> None:
        self.moves = 0
        """Counts whatever changes."""
        self._table = SlotTable(0, limit, policy=policy, max_queue=MAX_QUEUED, now=time.monotonic())
        self._table.resize(range(workers), time.monotonic(), health=health)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._deadlines: dict[int, asyncio.Timeout] = {}
        """Of the requests that have a slot."""
        self._cut: dict[int, errors.ByzerError] = {}
        """Why such a request was ended, if it was."""
        self._tickets = itertools.count()
        self._wanted: set[int] = set(range(workers))
        self._drained: set[int] = set()
        self._closed: errors.ByzerError | None = None
        self._why_drained: errors.ByzerError = errors.NotDeployed("It is drained.")
        """What requests are told when all workers are drained."""

    def ticket(self) -> int:
        """Return a number for a request."""
        return next(self._tickets)

    async def admit(self, ticket: int, deadline: asyncio.Timeout) -> int:
        """Wait for a slot; return its worker. Whoever was admitted releases it.

        Raises:
            Overloaded: too many wait already.
            ByzerError: nobody can answer, or so it turned out while this waited.
        """
        if why := self.closed:
            raise why.with_traceback(None)  # or it would grow with every request
        self.moves += 1
        grant = self._table.acquire(ticket, time.monotonic())
        worker = await self._wait(ticket) if grant is None else grant.worker
        self._deadlines[ticket] = deadline
        return worker

    async def _wait(self, ticket: int) -> int:
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
        self._deadlines.pop(ticket, None)
        self._grant(self._table.release(ticket, time.monotonic(), failed=failed))

    def _grant(self, grants: list[Grant]) -> None:
        self.moves += 1
        for grant in grants:
            future = self._waiting[grant.ticket]
            if not future.done():
                future.set_result(grant.worker)

    def cut(self, worker: int, why: errors.ByzerError) -> None:
        """End the requests that a worker has."""
        for ticket in self._table.tickets(worker):
            deadline = self._deadlines.get(ticket)
            if deadline is not None and not deadline.expired():
                self._cut[ticket] = why
                deadline.reschedule(asyncio.get_running_loop().time())

    def why_cut(self, ticket: int) -> errors.ByzerError | None:
        """Return why a request was ended whose deadline has come, if that was not the reason."""
        return self._cut.pop(ticket, None)

    # ---- open and closed

    @property
    def broken(self) -> errors.ByzerError | None:
        """Return why there is nothing behind the admission, if so; drained workers are something."""
        return self._closed

    @property
    def closed(self) -> errors.ByzerError | None:
        """Return why no request is admitted, if none is."""
        if self._closed is not None:
            return self._closed
        return self._why_drained if self._drained and self._drained == self._wanted else None

    def close(self, why: errors.ByzerError, *, at_once: bool = True) -> None:
        """Admit nobody any more, and send those away who wait (unless they may wait on)."""
        self._closed = why
        self.moves += 1
        if at_once:
            self._send_away(why)

    def reopen(self) -> None:
        """Admit requests again."""
        self._closed = None
        self.moves += 1

    def _send_away(self, why: errors.ByzerError) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(why.with_traceback(None))

    # ---- workers

    @property
    def workers(self) -> list[int]:
        """Return the workers that there are, those that finish their last requests included."""
        return self._table.workers

    @property
    def drained(self) -> list[int]:
        """Return the workers that somebody has drained."""
        return sorted(self._drained)

    def state(self, worker: int) -> str | None:
        """Return a worker's health, or None when there is no such worker."""
        return self._table.health(worker)

    def health(self, worker: int, state: str) -> None:
        """Note a worker's health; one that is drained and well stays drained."""
        state = "drained" if state == "up" and worker in self._drained else state
        self._grant(self._table.set_health(worker, state, time.monotonic()))

    def drain(self, worker: int, why: errors.ByzerError) -> None:
        """Send a worker no more requests; when all are drained, `why` is what requests are told."""
        self._why_drained = why
        self._drained.add(worker)
        if self.state(worker) == "up":
            self.health(worker, "up")
        self._settle()

    def undrain(self, worker: int) -> None:
        """Send a worker requests again, as soon as it is well."""
        self._drained.discard(worker)
        if self.state(worker) == "drained":
            self.health(worker, "up")

    def resize(self, workers: Collection[int], health: str) -> None:
        """Have these workers: new ones begin with `health`, the others finish what they do and go."""
        self._wanted = set(workers)
        self._drained &= self._wanted
        self._grant(self._table.resize(workers, time.monotonic(), health=health))
        self._settle()

    def _settle(self) -> None:
        if why := self.closed:
            self._send_away(why)

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
