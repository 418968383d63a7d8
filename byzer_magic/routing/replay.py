"""Replays requests through a slot table: the one that deployments have, with a clock that jumps from event to event."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush

from byzer_magic.errors import Overloaded
from byzer_magic.routing.autoscale import Scaler
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.rates import SPAN, Window
from byzer_magic.routing.slowdown import pace
from byzer_magic.routing.table import Grant, SlotTable
from byzer_magic.routing.trace import Trace, Tracer

TICK_SECONDS = 1.0
"""How often a deployment that scales by itself looks at its queue."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that comes."""

    at: float
    work: float
    """Seconds that it takes on a worker that has no other request."""
    patience: float = math.inf
    """Seconds after which it leaves the queue."""


class _Rate:
    """The limit of requests a minute, as the gate of a table."""

    def __init__(self, limit: int) -> None:
        self._window = Window(limit, SPAN)

    def wait(self, _ticket: int, now: float) -> float:
        return self._window.wait(now, 1)

    def take(self, _ticket: int, now: float) -> None:
        self._window.take(1, now)


@dataclass(slots=True)
class _Machine:
    """The requests that a worker runs: all get on at the same pace, which a clock of its own goes by."""

    slowdown: float
    at: float = 0.0
    clock: float = 0.0
    ends: list[tuple[float, int]] = field(default_factory=list)
    """By that clock, with the request: a heap."""
    version: int = 0
    """Of its ends: those that were announced before a change are stale."""

    def add(self, ticket: int, work: float, now: float) -> None:
        self._advance(now)
        heappush(self.ends, (self.clock + work, ticket))

    def remove(self, now: float) -> int:
        """Remove the request that ends now."""
        end, ticket = heappop(self.ends)
        self.at, self.clock = now, end
        self.version += 1
        return ticket

    def next_end(self) -> float:
        """Return when the next one ends, if none comes before."""
        return self.at + (self.ends[0][0] - self.clock) * pace(self.slowdown, len(self.ends))

    def _advance(self, now: float) -> None:
        self.clock += (now - self.at) / pace(self.slowdown, len(self.ends))
        self.at = now
        self.version += 1


class _Replay:
    """A deployment without workers: only its slot table, and the times at which something happens to it."""

    def __init__(self, arrivals: Sequence[Arrival], capacity: Capacity, slowdown: float) -> None:
        self._arrivals, self._capacity = arrivals, capacity
        self._scaling = capacity.scaling
        start = arrivals[0].at
        self._gate = _Rate(capacity.rpm) if capacity.rpm else None
        self._workers = capacity.num_workers
        self._table = SlotTable(
            self._workers, capacity.worker_concurrency, policy=capacity.load_balance, max_queue=capacity.max_queue,
            now=start, gate=self._gate, tracer=Tracer(most=len(arrivals), seconds=math.inf),
        )  # fmt: skip
        self._scaler = Scaler(start)
        self._machines: defaultdict[int, _Machine] = defaultdict(lambda: _Machine(slowdown))
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._to_come = len(arrivals)
        self._serves_at = -math.inf

    def run(self) -> Trace:
        self._push(self._arrivals[0].at, self._next_arrival(iter(enumerate(self._arrivals))))
        if self._scaling.auto:
            self._push(self._arrivals[0].at, self._tick)
        now = self._arrivals[0].at
        while self._events:
            now, _order, happens = heappop(self._events)
            happens(now)
            self._wait_for_gate(now)
        tracer = self._table.tracer
        return Trace(
            now=now, since=-math.inf, requests=tracer.requests(now), changes=tracer.changes(now),
            capacity=self._capacity,
        )  # fmt: skip

    def _push(self, at: float, happens: Callable[[float], None]) -> None:
        heappush(self._events, (at, next(self._order), happens))

    def _next_arrival(self, left: Iterator[tuple[int, Arrival]]) -> Callable[[float], None]:
        """Return what lets the next request come, and announces the one after it."""
        ticket, arrival = next(left)

        def come(now: float) -> None:
            self._to_come -= 1
            if self._to_come:
                self._push(self._arrivals[ticket + 1].at, self._next_arrival(left))
            with contextlib.suppress(Overloaded):  # the tracer has noted it
                grant = self._table.acquire(ticket, now)
                if grant is not None:
                    self._start([grant], now)
                elif arrival.patience < math.inf:
                    self._push(now + arrival.patience, lambda at: self._give_up(ticket, at))

        return come

    def _give_up(self, ticket: int, now: float) -> None:
        if self._table.worker_of(ticket) is None:
            self._start(self._table.withdraw(ticket, now), now)

    def _start(self, grants: Sequence[Grant], now: float) -> None:
        for grant in grants:
            self._machines[grant.worker].add(grant.ticket, self._arrivals[grant.ticket].work, now)
        for worker in {grant.worker for grant in grants}:
            self._announce(worker)

    def _announce(self, worker: int) -> None:
        """Announce the next end on a worker."""
        machine = self._machines[worker]
        version = machine.version

        def end(now: float) -> None:
            if machine.version == version:
                ticket = machine.remove(now)
                grants = self._table.release(ticket, now)
                if machine.ends:
                    self._announce(worker)
                self._start(grants, now)

        self._push(machine.next_end(), end)

    def _wait_for_gate(self, now: float) -> None:
        if self._gate is None or not self._table.queued or self._serves_at > now:
            return
        if seconds := self._gate.wait(0, now):
            self._serves_at = now + seconds
            self._push(self._serves_at, lambda at: self._start(self._table.serve(at), at))

    def _tick(self, now: float) -> None:
        if not (self._to_come or self._table.running or self._table.queued):
            return
        table, slots = self._table, self._capacity.worker_concurrency
        waits = 0 if self._gate is not None and self._gate.wait(0, now) else table.queued
        wanted = self._scaler.wanted(now, self._scaling, self._workers, slots, running=table.running, queued=waits)
        if wanted != self._workers:
            self._workers = wanted
            self._start(table.resize(range(wanted), now), now)
            self._scaler.changed(now)
        self._push(now + TICK_SECONDS, self._tick)


def replay(arrivals: Sequence[Arrival], capacity: Capacity, slowdown: float = 0.0) -> Trace:
    """Return what happens to requests at a deployment, until the last of them has ended.

    Its workers are up all the time; those that it adds by itself are up at once.

    Args:
        arrivals: the requests, in the order in which they come; at least one.
        capacity: of the deployment.
        slowdown: how much requests on one worker slow each other down, see `slowdown`.

    Example:
        >>> arrivals = [Arrival(at=0.0, work=1.0), Arrival(at=0.5, work=1.0), Arrival(at=0.6, work=1.0)]
        >>> [request.waited for request in replay(arrivals, Capacity(num_workers=1)).requests]
        [0.0, 0.5, 1.4]
        >>> [request.waited for request in replay(arrivals, Capacity(num_workers=2)).requests]
        [0.0, 0.0, 0.4]
    """
    return _Replay(arrivals, capacity, slowdown).run()
