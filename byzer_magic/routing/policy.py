"""Policies: which of the workers with a free slot gets the next request.

A policy is a plain function that ranks one worker; the candidate of the lowest rank is next. A rank ends
with the worker's index, so no two are equal. `Candidates` keeps the ranks in a heap, so that a pick among
n workers takes O(log n) whatever the policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import TypeAlias

Rank: TypeAlias = tuple[int, ...]


@dataclass(slots=True, eq=False)
class Worker:
    """One worker's slots and counters."""

    index: int
    limit: int
    free: int
    last_dispatch: int
    """Number of its latest dispatch among the deployment's; 0: never. A clock's tick can hold two."""
    last_time: float
    """When that was, or when the worker was added."""
    health: str = "up"
    leaving: bool = False
    """Gets no more requests, and goes once it is idle."""
    requests: int = 0
    errors: int = 0
    rank: Rank | None = None
    """Its valid entry among the candidates."""

    @property
    def ready(self) -> bool:
        """Return whether a request may be sent to it now."""
        return self.free > 0 and self.health == "up" and not self.leaving


Policy: TypeAlias = Callable[[Worker, Rank], Rank]
"""Ranks a worker, given the rank of the worker that was picked last."""


def lru(worker: Worker, _: Rank) -> Rank:
    """Prefer the worker whose last dispatch is oldest."""
    return worker.last_dispatch, worker.index


def round_robin(worker: Worker, last: Rank) -> Rank:
    """Prefer the next index after the last pick; a rank is (lap, index)."""
    lap, index = last
    return (lap if worker.index > index else lap + 1), worker.index


def least_busy(worker: Worker, _: Rank) -> Rank:
    """Prefer the worker with the fewest requests; among equals, the one whose last dispatch is oldest."""
    return worker.limit - worker.free, worker.last_dispatch, worker.index


POLICIES: Mapping[str, Policy] = {"lru": lru, "round_robin": round_robin, "least_busy": least_busy}


class Candidates:
    """The workers that can take a request, in a policy's order.

    Offer a worker whenever it may have become ready or its rank may have changed. Entries are removed
    late: one that its worker no longer vouches for is skipped when it comes up.
    """

    def __init__(self, policy: Policy, workers: Mapping[int, Worker]) -> None:
        self._policy = policy
        self._workers = workers
        self._heap: list[Rank] = []
        self._last: Rank = (0, -1)

    def __len__(self) -> int:
        """Return the number of entries, outdated ones included."""
        return len(self._heap)

    def offer(self, worker: Worker) -> None:
        """Enter a worker at its present rank, if it is ready."""
        if not worker.ready:
            return
        rank = self._policy(worker, self._last)
        if rank == worker.rank:
            return
        worker.rank = rank
        heappush(self._heap, rank)
        if len(self._heap) > 2 * len(self._workers) + 1:
            self._heap = [known.rank for known in self._workers.values() if known.rank]
            heapify(self._heap)

    def take(self) -> Worker | None:
        """Remove and return the next worker, or None if no worker is ready."""
        while self._heap:
            rank = heappop(self._heap)
            worker = self._workers.get(rank[-1])
            if worker is None or worker.rank != rank:
                continue
            worker.rank = None
            if worker.ready:
                self._last = rank
                return worker
        return None
