"""The slot table of one deployment: which request runs on which worker, and which are queued.

The table's owner gives each request a ticket, a number. Requests are served strictly first come, first served: one is
queued only while no worker is ready, and every call that makes a worker ready returns the grants that follow.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from byzer_magic.errors import Overloaded
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.routing.policy import POLICIES, SESSION, Candidates, Worker
from byzer_magic.routing.sessions import Sessions, may_stay
from byzer_magic.routing.trace import Tracer
from byzer_magic.stat import WorkerStat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

HEALTHS = ("up", "loading", "down", "drained", "asleep", "failing", "trying", "hung")
COMING = ("loading", "down", "asleep", "hung")
"""Of these, those of workers that will run requests again by themselves."""
MIN_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """A ticket that may run now, and the worker that is to run it."""

    ticket: int
    worker: int


@dataclass(frozen=True, slots=True)
class _Queued:
    """A ticket that waits."""

    since: float
    session: bytes


class Gate(Protocol):
    """Decides when tickets may run where a slot is not all that it takes."""

    def wait(self, ticket: int, now: float) -> float:
        """Return the seconds until a ticket may run: 0 if it may now, `inf` if others must end first."""
        ...

    def take(self, ticket: int, now: float) -> None:
        """Note that a ticket runs."""


class SlotTable:
    """Slots, queue and counters of one deployment; pure: times are arguments, in seconds of any monotonic clock.

    Args:
        workers: number of workers.
        limit: slots of each worker.
        policy: name of the load balancing policy, a key of `policy.POLICIES`.
        max_queue: largest number of queued tickets, beside those for which slots are being loaded.
        now: current time.
        gate: what else decides when tickets may run.
        tracer: keeps what happens to the tickets.

    Raises:
        ValueError: an argument is out of range, or the policy is unknown.

    Example:
        >>> table = SlotTable(workers=1, limit=1)
        >>> table.acquire(7, now=0.0)
        Grant(ticket=7, worker=0)
        >>> table.acquire(8, now=0.1)
        >>> table.release(7, now=0.2)
        [Grant(ticket=8, worker=0)]
    """

    def __init__(
        self, workers: int, limit: int, *, policy: str = "lru", max_queue: int = 10_000, now: float = 0.0,
        gate: Gate | None = None, tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        if limit < 1 or max_queue < 0:
            raise ValueError(f"limit {limit} must be at least 1, max_queue {max_queue} at least 0")
        if policy not in POLICIES:
            raise ValueError(f"policy {policy!r} is not one of {', '.join(POLICIES)}")
        self._limit = limit
        self._gate = gate
        self.tracer = tracer or Tracer()
        """Keeps what happens to the tickets."""
        self._workers: dict[int, Worker] = {}
        self._running: dict[int, Worker] = {}
        # An OrderedDict: popping the first item of a dict again and again is O(n) each.
        self._waiting: OrderedDict[int, _Queued] = OrderedDict()
        self.use(policy, max_queue)
        self._dispatches = 0
        self.past_requests = 0
        """Requests of workers that were removed."""
        self.past_errors = 0
        """Of these, how many failed."""
        if workers < 0:
            raise ValueError(f"cannot have {workers} workers")
        self.resize(range(workers), now)

    @property
    def queued(self) -> int:
        """Return the number of queued tickets."""
        return len(self._waiting)

    @property
    def queue(self) -> Iterable[int]:
        """Return the queued tickets, those first that are served first."""
        return self._waiting.keys()

    @property
    def running(self) -> int:
        """Return the number of tickets that hold a slot."""
        return len(self._running)

    @property
    def has_sessions(self) -> bool:
        """Return whether the turns of a chat go to the same worker, so that `acquire` needs to know them."""
        return self._sessions is not None

    @property
    def workers(self) -> list[int]:
        """Return the indices of all workers, including those that are leaving."""
        return sorted(self._workers)

    def health(self, worker: int) -> str | None:
        """Return a worker's health, or None when there is no such worker."""
        return self._workers[worker].health if worker in self._workers else None

    def tickets(self, worker: int) -> list[int]:
        """Return the tickets that a worker runs."""
        return [ticket for ticket, holder in self._running.items() if holder.index == worker]

    def busy(self, worker: int) -> int:
        """Return the number of a worker's slots in use."""
        return self._workers[worker].limit - self._workers[worker].free if worker in self._workers else 0

    def worker_of(self, ticket: int) -> int | None:
        """Return the worker that runs a ticket, or None if it is queued or unknown."""
        worker = self._running.get(ticket)
        return None if worker is None else worker.index

    def acquire(self, ticket: int, now: float, session: bytes = b"") -> Grant | None:
        """Return a slot for a ticket, or queue it and return None.

        Args:
            ticket: a number that is not in use.
            now: current time.
            session: the chat that it is a turn of, see `sessions.session_of`; empty for none.

        Raises:
            Overloaded: the queue is full; `details["retry_after"]` has the seconds to wait.
            ValueError: the ticket is in use.
        """
        if ticket in self._running or ticket in self._waiting:
            raise ValueError(f"ticket {ticket} is in use")
        if not self._waiting and self._may_run(ticket, now) and (worker := self._next(session)):
            self.tracer.came(ticket, now)
            return self._dispatch(ticket, worker, now, session)
        if len(self._waiting) >= self._max_queue and len(self._waiting) >= self._max_queue + self._slots_to_come:
            self.tracer.refused(now)
            raise self._overloaded(now)
        self._waiting[ticket] = _Queued(now, session)
        self.tracer.came(ticket, now)
        return None

    def release(self, ticket: int, now: float, *, failed: bool = False) -> list[Grant]:
        """Free a ticket's slot and return the grants that follow; `failed` counts an error for its worker.

        Raises:
            ValueError: the ticket holds no slot.
        """
        worker = self._running.pop(ticket, None)
        if worker is None:
            raise ValueError(f"ticket {ticket} holds no slot")
        self.tracer.ended(ticket, now, failed=failed)
        worker.free += 1
        if failed:
            worker.errors += 1
        if worker.leaving:
            self._remove_if_idle(worker)
            return []
        self._candidates.offer(worker)
        return self._serve(now) if self._waiting else []

    def withdraw(self, ticket: int, now: float) -> list[Grant]:
        """Remove a ticket, whether it is queued, running or unknown; return the grants that follow."""
        self.tracer.left(ticket, now)
        if ticket in self._running:
            return self.release(ticket, now)
        self._waiting.pop(ticket, None)
        return self._serve(now)

    def serve(self, now: float) -> list[Grant]:
        """Return the grants that follow when the gate may have opened."""
        return self._serve(now)

    def set_health(self, worker: int, health: str, now: float) -> list[Grant]:
        """Set a worker's health and return the grants that follow.

        Only workers that are `up` get requests, and one that is `trying`, one at a time.

        Tickets on a worker that goes down keep their slots until they are released. The health of a worker that was
        removed is ignored.

        Raises:
            ValueError: `health` is not one of `HEALTHS`.
        """
        if health not in HEALTHS:
            raise ValueError(f"health {health!r} is not one of {', '.join(HEALTHS)}")
        if worker not in self._workers:
            return []
        self._workers[worker].health = health
        self._trace_slots(now)
        self._candidates.offer(self._workers[worker])
        return self._serve(now)

    def resize(
        self, wanted: Collection[int], now: float, *, health: str = "up", limit: int | None = None
    ) -> list[Grant]:
        """Set the workers, and return the grants that follow.

        Args:
            wanted: indices of the workers to have; others are removed once their tickets are released.
            now: current time.
            health: health of new workers.
            limit: slots of each new worker, from now on; None leaves it as it is.

        Raises:
            ValueError: an index is negative, or `health` is not one of `HEALTHS`.
        """
        if health not in HEALTHS or any(index < 0 for index in wanted):
            raise ValueError(f"cannot have workers {list(wanted)} of health {health!r}")
        self._limit = limit or self._limit
        for worker in list(self._workers.values()):
            worker.leaving = worker.index not in wanted
            self._remove_if_idle(worker)
        for index in wanted:
            if index not in self._workers:
                self._workers[index] = Worker(index, self._limit, self._limit, 0, now, health)
            self._candidates.offer(self._workers[index])
        self._trace_slots(now)
        return self._serve(now)

    def use(self, policy: str, max_queue: int) -> None:
        """Choose workers by another policy, a key of `policy.POLICIES`, and queue so many tickets, from now on."""
        self._max_queue = max_queue
        self._sessions = Sessions() if policy == SESSION else None
        self._candidates = Candidates(POLICIES[policy], self._workers)
        for worker in self._workers.values():
            worker.rank = None
            self._candidates.offer(worker)

    def snapshot(
        self, now: float, pids: Mapping[int, int] | None = None, nodes: Mapping[int, str] | None = None
    ) -> list[WorkerStat]:
        """Return the counters of all workers in the order of their indices; one that is leaving is shown as `drained`.

        Args:
            now: current time.
            pids: processes of the workers that have one, by index.
            nodes: the addresses of the nodes of these, by index.
        """
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
                node=(nodes or {}).get(index, ""),
            )
            for index, worker in sorted(self._workers.items())
        ]

    def _may_run(self, ticket: int, now: float) -> bool:
        return self._gate is None or self._gate.wait(ticket, now) <= 0

    @property
    def _slots_to_come(self) -> int:
        """Return the slots of workers that are asleep, loading or restarting: who waits for these waits for no one."""
        coming = (one for one in self._workers.values() if one.health in COMING and not one.leaving)
        return sum(worker.free for worker in coming)

    def _next(self, session: bytes) -> Worker | None:
        """Take the worker that runs the next ticket; None if none is ready."""
        home = self._sessions.home(session) if self._sessions else None
        return self._candidates.take(None if home is None else self._staying(self._workers.get(home)))

    def _staying(self, home: Worker | None) -> Worker | None:
        """Return the worker that a chat ran on, if it is ready and not much busier than the others."""
        if home is None or not home.ready:
            return None
        up = [worker for worker in self._workers.values() if worker.health == "up" and not worker.leaving]
        running = sum(worker.limit - worker.free for worker in up)
        return home if may_stay(home.limit - home.free, running, len(up)) else None

    def _dispatch(self, ticket: int, worker: Worker, now: float, session: bytes) -> Grant:
        if self._gate is not None:
            self._gate.take(ticket, now)
        self._dispatches += 1
        worker.last_dispatch = self._dispatches
        worker.last_time = now
        worker.requests += 1
        worker.free -= 1
        self._running[ticket] = worker
        self.tracer.began(ticket, worker.index, now)
        self._candidates.offer(worker)
        if self._sessions:
            self._sessions.ran(session, worker.index)
        return Grant(ticket, worker.index)

    def _serve(self, now: float) -> list[Grant]:
        grants: list[Grant] = []
        while self._waiting:
            ticket, queued = next(iter(self._waiting.items()))
            if not self._may_run(ticket, now) or (worker := self._next(queued.session)) is None:
                break
            del self._waiting[ticket]
            grants.append(self._dispatch(ticket, worker, now, queued.session))
        return grants

    def _trace_slots(self, now: float) -> None:
        up = (worker for worker in self._workers.values() if worker.health == "up" and not worker.leaving)
        self.tracer.has_slots(sum(worker.limit for worker in up), now)

    def _remove_if_idle(self, worker: Worker) -> None:
        if worker.leaving and worker.free == worker.limit:
            del self._workers[worker.index]
            self.past_requests += worker.requests
            self.past_errors += worker.errors

    def _overloaded(self, now: float) -> Overloaded:
        # An estimate: a new request would be queued about as long as the first one in the queue has been.
        waited = now - next((first.since for first in self._waiting.values()), now)
        seconds = max(MIN_RETRY_SECONDS, waited)
        return Overloaded(
            _(
                "All slots are in use, and {count} requests are queued (--max_queue {most}).",
                count=len(self._waiting), most=self._max_queue,
            ),
            _(
                "Try again in {seconds:.0f} s, or deploy with a higher --num_workers, --worker_concurrency or"
                " --max_queue.",
                seconds=seconds,
            ),
            retry_after=seconds, limit="max_queue", value=self._max_queue,
        )  # fmt: skip
