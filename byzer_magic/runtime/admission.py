"""Admission control: a FIFO queue in front of the slot table, with deadlines, draining and closing."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing

from byzer_magic import errors
from byzer_magic.commands.spec import MAX_QUEUED
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.plan import Plan
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.outages import UP, Outages
from byzer_magic.routing.sessions import session_of
from byzer_magic.routing.table import Grant, SlotTable
from byzer_magic.routing.trace import Trace
from byzer_magic.runtime.limits import Limits
from byzer_magic.stat import WorkerStat
from byzer_magic.types import Request

POLL_SECONDS = 0.02
"""How often `idle` and `empty` look at the slot table, which is pure and signals nothing."""

PLACE_SECONDS = 1.0
"""How often a request in the queue is told its place, at most."""
PLACES_A_SECOND = 100
"""Those far behind are told less often, so that ten thousand cost no more than a few hundred messages a second."""


class Admission:
    """Admits requests to workers, first come, first served; refuses those that no worker can serve.

    Args:
        workers: number of workers.
        limit: slots of each worker.
        policy: name of the load balancing policy, a key of `routing.policy.POLICIES`.
        health: the workers' initial health: `up`, `loading`, `down` or `drained`.
        max_queue: requests that may wait.
        limits: what else requests wait for, or are refused by.
    """

    def __init__(
        self, workers: int, limit: int, *, policy: str = "lru", health: str = "up", max_queue: int = MAX_QUEUED,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.changes = 0
        """Grows with every change of the table, so that a follower notices that there is something to send."""
        self._limits = limits or Limits()
        self._table = SlotTable(0, limit, policy=policy, max_queue=max_queue, now=time.monotonic(), gate=self._limits)
        self._retry: asyncio.TimerHandle | None = None
        """Serves the queue again once a limit lets its first request go."""
        self._table.resize(range(workers), time.monotonic(), health=health)
        self._outages = Outages()
        for worker in range(workers):
            self._outages.reported(worker, health)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._deadlines: dict[int, asyncio.Timeout] = {}
        """Timeouts of the requests that hold a slot, by ticket."""
        self._cancelled: dict[int, errors.ByzerError] = {}
        """Why requests were cancelled by `cancel`, by ticket."""
        self._tickets = itertools.count()
        self._places: dict[int, int] = {}
        self._counted = -PLACE_SECONDS
        self._wanted: set[int] = set(range(workers))
        self._drained: set[int] = set()
        self._closed: errors.ByzerError | None = None
        self._drained_error: errors.ByzerError = errors.NotDeployed(_("The deployment is drained."))
        """Raised for requests while all workers are drained."""

    def ticket(self) -> int:
        """Return a new ticket, the number by which a request is known here."""
        return next(self._tickets)

    async def admit(self, ticket: int, deadline: asyncio.Timeout, request: Request | None = None) -> AsyncIterator[int]:
        """Wait for a slot, yielding the request's place in the queue now and then; `worker_of` then has its worker.

        The caller calls `release` when the request has ended.

        Args:
            ticket: the request.
            deadline: the timeout around the request; `cancel` ends the request by expiring it.
            request: what is asked, where it matters for the choice of the worker.

        Raises:
            Overloaded: the queue is full.
            LimitReached: a limit of the deployment is reached, and waiting for it does not help.
            ByzerError: no worker can serve the request, now or since it was queued.
        """
        if why := self.closed:
            raise why.with_traceback(None)  # the same error for every request: its traceback would grow
        self.changes += 1
        if not self._acquire(ticket, deadline, request):
            async with aclosing(self._wait(ticket, deadline)) as places:
                async for place in places:
                    yield place
        self._deadlines[ticket] = deadline

    def _acquire(self, ticket: int, deadline: asyncio.Timeout, request: Request | None) -> bool:
        """Return whether a request has a slot now; else it is queued.

        Raises:
            RequestError: it can neither run nor wait.
        """
        now = time.monotonic()
        if request is not None:
            self._limits.expect(ticket, request)
        session = session_of(request) if request is not None and self._table.has_sessions else b""
        try:
            if self._table.acquire(ticket, now, session) is not None:
                return True
        except errors.Overloaded as err:
            self._limits.settle(ticket, now)
            raise self._limits.full(err, now) from None
        left = math.inf if (when := deadline.when()) is None else when - asyncio.get_running_loop().time()
        if why := self._limits.too_late(now, self._table.queued - 1, left):
            self._leave(ticket)
            raise why
        return False

    def _leave(self, ticket: int) -> None:
        """Take a request out of the queue, or its slot from it."""
        now = time.monotonic()
        self._limits.settle(ticket, now)
        self._grant(self._table.withdraw(ticket, now))

    async def _wait(self, ticket: int, deadline: asyncio.Timeout) -> AsyncGenerator[int, None]:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        self._look_ahead()
        pause = PLACE_SECONDS
        try:
            while not (await asyncio.wait([future], timeout=pause))[0]:
                place = self._place(ticket)
                yield place
                pause = max(PLACE_SECONDS, place / PLACES_A_SECOND)
            future.result()
        except BaseException:  # a cancelled request leaves the queue, too
            if deadline.expired() and (why := self._limits.late(time.monotonic())):
                self._cancelled[ticket] = why
            self._leave(ticket)
            raise
        finally:
            del self._waiting[ticket]

    def _place(self, ticket: int) -> int:
        """Return a request's place in the queue, from 1; counted at most once in `PLACE_SECONDS` for all requests."""
        if (now := time.monotonic()) - self._counted >= PLACE_SECONDS:
            self._counted = now
            self._places = {queued: place for place, queued in enumerate(self._table.queue, 1)}
        return self._places.get(ticket, len(self._places) + 1)

    def worker_of(self, ticket: int) -> int:
        """Return the worker that runs an admitted request.

        Raises:
            ValueError: the request has not been admitted.
        """
        if (worker := self._table.worker_of(ticket)) is None:
            raise ValueError(f"ticket {ticket} holds no slot")
        return worker

    def release(self, ticket: int, *, failed: bool, works: bool | None = None) -> None:
        """Free the slot of a request.

        Args:
            ticket: the request.
            failed: whether it counts as an error.
            works: whether it has shown that its worker works; None where it shows nothing.
        """
        self._deadlines.pop(ticket, None)
        now = time.monotonic()
        worker = self._table.worker_of(ticket)
        if worker is not None and self._outages.ended(worker, works=works, now=now):
            self.refresh()
        self._limits.settle(ticket, now)
        self._grant(self._table.release(ticket, now, failed=failed))

    def _grant(self, grants: list[Grant]) -> None:
        self.changes += 1
        self._hand_out(grants)
        self._look_ahead()

    def _hand_out(self, grants: list[Grant]) -> None:
        for grant in grants:
            future = self._waiting[grant.ticket]
            if not future.done():
                future.set_result(grant.worker)

    def _look_ahead(self) -> None:
        """Refuse the first requests of the queue for which nothing is left, and come back when the next one may run."""
        now = time.monotonic()
        self._hand_out(self._table.serve(now))  # a limit may have ended since the last look
        first = next(iter(self._table.queue), None)
        while first is not None and (why := self._limits.refusal(first)) and first in self._waiting:
            if not (future := self._waiting[first]).done():
                future.set_exception(why)
            self._limits.settle(first, now)
            self._hand_out(self._table.withdraw(first, now))
            first = next(iter(self._table.queue), None)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if first is not None and 0 < (seconds := self._limits.wait(first, now)) < math.inf:
            self._retry = asyncio.get_running_loop().call_later(seconds, self._serve)

    def _serve(self) -> None:
        self._retry = None
        self._grant(self._table.serve(time.monotonic()))

    def cancel(self, worker: int, why: errors.ByzerError) -> None:
        """Cancel the requests that a worker is running; each raises `why` in its client."""
        for ticket in self._table.tickets(worker):
            deadline = self._deadlines.get(ticket)
            if deadline is not None and not deadline.expired():
                self._cancelled[ticket] = why
                deadline.reschedule(asyncio.get_running_loop().time())

    def why_cancelled(self, ticket: int) -> errors.ByzerError | None:
        """Return why a request whose timeout has expired was cancelled; None when it simply took too long."""
        return self._cancelled.pop(ticket, None)

    # ---- open and closed

    @property
    def broken(self) -> errors.ByzerError | None:
        """Return the error that `close` set; None while the deployment exists, drained or not."""
        return self._closed

    @property
    def closed(self) -> errors.ByzerError | None:
        """Return the error for new requests; None while they are admitted."""
        if self._closed is not None:
            return self._closed
        return self._drained_error if self._drained and self._drained == self._wanted else None

    def close(self, why: errors.ByzerError, *, at_once: bool = True) -> None:
        """Refuse new requests with `why`, and with `at_once` those in the queue, too."""
        self._closed = why
        self.changes += 1
        if at_once:
            self.refuse(why)

    def reopen(self) -> None:
        """Admit requests again."""
        self._closed = None
        self.changes += 1

    def refuse(self, why: errors.ByzerError) -> None:
        """Refuse the requests in the queue with `why`; later ones are admitted as before."""
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(why.with_traceback(None))

    # ---- workers

    @property
    def workers(self) -> list[int]:
        """Return the indices of all workers, including those that are finishing their last requests."""
        return self._table.workers

    @property
    def drained(self) -> list[int]:
        """Return the indices of the workers that were drained on request."""
        return sorted(self._drained)

    def state(self, worker: int) -> str | None:
        """Return a worker's health, or None when there is no such worker."""
        return self._table.health(worker)

    def health(self, worker: int, state: str) -> None:
        """Set a worker's health; one that becomes `up` stays `drained`, or left out where it has failed."""
        is_wanted = worker in self._wanted and self.state(worker) is not None
        self._outages.reported(worker, state if is_wanted else None)
        if state not in UP or not is_wanted:
            self._grant(self._table.set_health(worker, state, time.monotonic()))
        self.refresh()

    def refresh(self) -> None:
        """Leave out the workers that have failed several times in a row, until the time comes to try them again."""
        now = time.monotonic()
        for worker, state in self._outages.healths(now, self._drained).items():
            if state != self.state(worker):
                self._grant(self._table.set_health(worker, state, now))

    def _report(self, workers: Collection[int]) -> None:
        for worker in self._table.workers:
            state = "up" if worker in self._drained and self.state(worker) == "drained" else self.state(worker)
            self._outages.reported(worker, state if worker in workers else None)

    def drain(self, worker: int, why: errors.ByzerError) -> None:
        """Dispatch no more requests to a worker; once all are drained, requests raise `why`."""
        self._drained_error = why
        self._drained.add(worker)
        self.refresh()
        self._settle()

    def undrain(self, worker: int) -> None:
        """Dispatch requests to a worker again, as soon as it is up."""
        self._drained.discard(worker)
        self.refresh()

    def use(self, plan: Plan) -> None:
        """Have the policy and the limits of another plan from now on."""
        self._limits.use(plan)
        self._table.use(plan.spec.load_balance, plan.spec.max_queue)

    def resize(self, workers: Collection[int], health: str, limit: int | None = None) -> None:
        """Set the workers: those left out finish their requests and are removed.

        Args:
            workers: the indices to have.
            health: the initial health of new ones.
            limit: slots of each new one, from now on; None leaves it as it is.
        """
        self._wanted = set(workers)
        self._drained &= self._wanted
        self._grant(self._table.resize(workers, time.monotonic(), health=health, limit=limit))
        self._report(workers)
        self.refresh()
        self._settle()

    def _settle(self) -> None:
        if why := self.closed:
            self.refuse(why)

    async def idle(self, worker: int, seconds: float) -> bool:
        """Wait up to `seconds` until a worker has no requests; return whether it has none."""
        deadline = time.monotonic() + seconds
        while self._table.busy(worker) and time.monotonic() < deadline:  # noqa: ASYNC110 - see POLL_SECONDS
            await asyncio.sleep(POLL_SECONDS)
        return not self._table.busy(worker)

    async def empty(self, seconds: float) -> int:
        """Wait up to `seconds` until no request runs or is queued; return how many are still running."""
        deadline = time.monotonic() + seconds
        while (self._table.running or self._table.queued) and time.monotonic() < deadline:  # noqa: ASYNC110 - see above
            await asyncio.sleep(POLL_SECONDS)
        return self._table.running

    # ---- counters

    @property
    def running(self) -> int:
        """Return the number of requests that hold a slot."""
        return self._table.running

    @property
    def queued(self) -> int:
        """Return the number of requests in the queue."""
        return self._table.queued

    @property
    def queued_for_slots(self) -> int:
        """Return the number of requests in the queue that more workers would serve: none while a limit keeps them."""
        first = next(iter(self._table.queue), None)
        return 0 if first is None or self._limits.wait(first, time.monotonic()) else self._table.queued

    def busy(self, worker: int) -> int:
        """Return the number of requests that a worker is running."""
        return self._table.busy(worker)

    @property
    def past(self) -> tuple[int, int]:
        """Return how many requests workers that were removed had, and how many of these failed."""
        return self._table.past_requests, self._table.past_errors

    def snapshot(self, pids: dict[int, int], nodes: dict[int, str] | None = None) -> list[WorkerStat]:
        """Return the counters of all workers.

        Args:
            pids: the processes of those that have one, by index.
            nodes: the addresses of the nodes of these.
        """
        return self._table.snapshot(time.monotonic(), pids, nodes)

    def trace(self, capacity: Capacity) -> Trace:
        """Return the requests of the last minutes; `capacity` is that of the deployment."""
        return self._table.tracer.read(time.monotonic(), capacity)
