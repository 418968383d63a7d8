"""The slots of one deployment: who runs where, who waits, who is next.

Whoever owns the table gives each request a ticket. Strictly first come, first served: a request waits only
while no worker is ready, and every call that makes one ready returns the grants that follow from it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from byzer_magic.errors import Overloaded
from byzer_magic.routing.policy import POLICIES, Candidates, Worker
from byzer_magic.stat import WorkerStat

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HEALTHS = ("up", "loading", "down", "drained")
MIN_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """A ticket that may run now, and the worker that runs it."""

    ticket: int
    worker: int


class SlotTable:
    """Slots, queue and counters of one deployment.

    Example:
        >>> table = SlotTable(workers=1, limit=1)
        >>> table.acquire(7, now=0.0)
        Grant(ticket=7, worker=0)
        >>> table.acquire(8, now=0.1)
        >>> table.release(7, now=0.2)
        [Grant(ticket=8, worker=0)]
    """

    def __init__(
        self, workers: int, limit: int, *, policy: str = "lru", max_queue: int = 10_000, now: float = 0.0
    ) -> None:
        if limit < 1 or max_queue < 0:
            raise ValueError(f"limit {limit} must be at least 1, max_queue {max_queue} at least 0")
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is none of {', '.join(POLICIES)}")
        self._limit = limit
        self._max_queue = max_queue
        self._workers: dict[int, Worker] = {}
        self._candidates = Candidates(POLICIES[policy], self._workers)
        self._running: dict[int, Worker] = {}
        # Ticket -> since when. Not a dict: taking its first item again and again is slow.
        self._waiting: OrderedDict[int, float] = OrderedDict()
        self._dispatches = 0
        if workers < 0:
            raise ValueError(f"cannot have {workers} workers")
        self.resize(range(workers), now)

    @property
    def queued(self) -> int:
        """Return how many tickets wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Return how many tickets hold a slot."""
        return len(self._running)

    @property
    def workers(self) -> list[int]:
        """Return the workers that there are, those that are leaving included."""
        return sorted(self._workers)

    def health(self, worker: int) -> str | None:
        """Return a worker's health, or None when there is no such worker."""
        return self._workers[worker].health if worker in self._workers else None

    def tickets(self, worker: int) -> list[int]:
        """Return the tickets that a worker runs."""
        return [ticket for ticket, holder in self._running.items() if holder.index == worker]

    def busy(self, worker: int) -> int:
        """Return how many of a worker's slots are in use."""
        return self._workers[worker].limit - self._workers[worker].free if worker in self._workers else 0

    def worker_of(self, ticket: int) -> int | None:
        """Return the worker that runs a ticket, or None if it waits or is unknown."""
        worker = self._running.get(ticket)
        return None if worker is None else worker.index

    def acquire(self, ticket: int, now: float) -> Grant | None:
        """Give a ticket a slot at once, or queue it and return None.

        Raises:
            Overloaded: the queue is full; `details` has retry_after, in seconds.
            ValueError: the ticket is known already.
        """
        if ticket in self._running or ticket in self._waiting:
            raise ValueError(f"ticket {ticket} is known already")
        if not self._waiting and (worker := self._candidates.take()):
            return self._dispatch(ticket, worker, now)
        if len(self._waiting) >= self._max_queue:
            raise self._overloaded(now)
        self._waiting[ticket] = now
        return None

    def release(self, ticket: int, now: float, *, failed: bool = False) -> list[Grant]:
        """Take back a ticket's slot and return the grants that it makes possible.

        Raises:
            ValueError: the ticket holds no slot.
        """
        worker = self._running.pop(ticket, None)
        if worker is None:
            raise ValueError(f"ticket {ticket} holds no slot")
        worker.free += 1
        if failed:
            worker.errors += 1
        if worker.leaving:
            self._remove_if_idle(worker)
            return []
        self._candidates.offer(worker)
        return self._serve(now) if self._waiting else []

    def withdraw(self, ticket: int, now: float) -> list[Grant]:
        """Forget a ticket, whether it waits, runs or is unknown; return the grants that follow."""
        if ticket in self._running:
            return self.release(ticket, now)
        self._waiting.pop(ticket, None)
        return []

    def set_health(self, worker: int, health: str, now: float) -> list[Grant]:
        """Note a worker's health; only workers that are `up` get requests.

        Tickets on a worker that goes down keep their slots until their owner releases them. A worker
        that has been removed may still report; that changes nothing.
        """
        if health not in HEALTHS:
            raise ValueError(f"health {health!r} is none of {', '.join(HEALTHS)}")
        if worker not in self._workers:
            return []
        self._workers[worker].health = health
        self._candidates.offer(self._workers[worker])
        return self._serve(now)

    def resize(self, wanted: Collection[int], now: float, *, health: str = "up") -> list[Grant]:
        """Have these workers: new ones begin with the given health, the others finish what they do and go."""
        if health not in HEALTHS or any(index < 0 for index in wanted):
            raise ValueError(f"cannot have workers {list(wanted)} of health {health!r}")
        for worker in list(self._workers.values()):
            worker.leaving = worker.index not in wanted
            self._remove_if_idle(worker)
        for index in wanted:
            if index not in self._workers:
                self._workers[index] = Worker(index, self._limit, self._limit, 0, now, health)
            self._candidates.offer(self._workers[index])
        return self._serve(now)

    def snapshot(self, now: float, pids: Mapping[int, int] | None = None) -> list[WorkerStat]:
        """Return every worker's counters, by index; one that is leaving is drained, as others that get no requests."""
        return [
            WorkerStat(
                index=index,
                free=worker.free,
                limit=worker.limit,
                requests=worker.requests,
                errors=worker.errors,
                idle_seconds=now - worker.last_time,
                health="drained" if worker.leaving and worker.health == "up" else worker.health,
                pid=(pids or {}).get(index, 0),
            )
            for index, worker in sorted(self._workers.items())
        ]

    def _dispatch(self, ticket: int, worker: Worker, now: float) -> Grant:
        self._dispatches += 1
        worker.last_dispatch = self._dispatches
        worker.last_time = now
        worker.requests += 1
        worker.free -= 1
        self._running[ticket] = worker
        self._candidates.offer(worker)
        return Grant(ticket, worker.index)

    def _serve(self, now: float) -> list[Grant]:
        grants: list[Grant] = []
        while self._waiting and (worker := self._candidates.take()):
            ticket, _ = self._waiting.popitem(last=False)
            grants.append(self._dispatch(ticket, worker, now))
        return grants

    def _remove_if_idle(self, worker: Worker) -> None:
        if worker.leaving and worker.free == worker.limit:
            del self._workers[worker.index]

    def _overloaded(self, now: float) -> Overloaded:
        # A newcomer would wait about as long as the first in line has; by then the queue has moved on.
        waited = now - next(iter(self._waiting.values()), now)
        seconds = max(MIN_RETRY_SECONDS, waited)
        return Overloaded(
            f"All slots are taken and {len(self._waiting)} requests wait.",
            f"Try again in {seconds:.0f} s, or deploy with more --num_workers or --worker_concurrency.",
            retry_after=seconds,
        )
