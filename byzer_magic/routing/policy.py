"""Load balancing policies: which of the workers with a free slot gets the next request.

A policy is a function that ranks a worker; the candidate with the lowest rank is next. A rank ends with the worker's
index, so that no two are equal. `Candidates` keeps the ranks in a heap: choosing among n workers takes O(log n).

To add a policy, write its function and enter it in `POLICIES`: `--load_balance` offers it, and `stat` shows it.
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
    """Sequence number of its latest dispatch in the deployment, 0 for none; two dispatches may share a clock tick."""
    last_time: float
    """Time of its latest dispatch, or when it was added, in seconds."""
    health: str = "up"
    leaving: bool = False
    """It gets no more requests, and is removed once it is idle."""
    requests: int = 0
    """Requests dispatched to it so far."""
    errors: int = 0
    """Of these, how many failed."""
    rank: Rank | None = None
    """Its valid entry in the heap of candidates, if any."""

    @property
    def ready(self) -> bool:
        """Return whether a request may be dispatched to it now; one that is being tried gets one at a time."""
        if self.leaving or not self.free:
            return False
        return self.health == "up" or (self.health == "trying" and self.free == self.limit)


Policy: TypeAlias = Callable[[Worker, Rank], Rank]
"""Ranks a worker, given the rank of the worker that was chosen last; the lowest rank is next."""


def lru(worker: Worker, _: Rank) -> Rank:
    """Prefer the least recently used worker: the one whose latest dispatch is oldest.

    Example:
        >>> idle, used = Worker(1, 2, 2, 0, 0.0), Worker(0, 2, 2, 7, 3.5)
        >>> lru(idle, (0, 0)) < lru(used, (0, 0))
        True
    """
    return worker.last_dispatch, worker.index


def round_robin(worker: Worker, last: Rank) -> Rank:
    """Prefer the next index after the worker that was chosen last; a rank is (lap, index)."""
    lap, index = last
    return (lap if worker.index > index else lap + 1), worker.index


def least_busy(worker: Worker, _: Rank) -> Rank:
    """Prefer the worker with the fewest requests in flight; among equals, the least recently used one."""
    return worker.limit - worker.free, worker.last_dispatch, worker.index


SESSION = "session"
"""The policy with prefix affinity (`sessions`); new chats, and those whose worker is too busy, go by `least_busy`."""
POLICIES: Mapping[str, Policy] = {
    "lru": lru, "least_busy": least_busy, "round_robin": round_robin, SESSION: least_busy,
}  # fmt: skip
"""The values of `--load_balance`; the first one is the default."""


class Candidates:
    """A priority queue of the workers that are ready, in the order of a policy.

    Offer a worker whenever it may have become ready or its rank may have changed. Stale entries (rank changed since
    insertion) are skipped when they are taken: lazy deletion.

    Example:
        >>> workers = {index: Worker(index, 2, 2, 0, 0.0) for index in (0, 1)}
        >>> candidates = Candidates(lru, workers)
        >>> for worker in workers.values():
        ...     candidates.offer(worker)
        >>> candidates.take().index
        0
    """

    def __init__(self, policy: Policy, workers: Mapping[int, Worker]) -> None:
        self._policy = policy
        self._workers = workers
        self._heap: list[Rank] = []
        self._last: Rank = (0, -1)

    def __len__(self) -> int:
        """Return the number of entries, including stale ones."""
        return len(self._heap)

    def offer(self, worker: Worker) -> None:
        """Insert a worker at its present rank, if it is ready."""
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

    def take(self, preferred: Worker | None = None) -> Worker | None:
        """Remove and return the next worker, or return None if no worker is ready.

        Args:
            preferred: a worker that is ready, to be taken whatever its rank.
        """
        if preferred is not None:
            preferred.rank = None
            return preferred
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
