"""The slot table against a model too simple to be wrong, under any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from byzer_magic.errors import Overloaded
from byzer_magic.routing.policy import POLICIES, Worker
from byzer_magic.routing.table import COMING, HEALTHS, Grant, SlotTable
from tests.budgets import examples

MAX_WORKERS = 5
picks = st.integers(min_value=0, max_value=1000)


@dataclass
class NaiveWorker:
    added: float
    health: str = "up"
    running: list[int] = field(default_factory=list)
    dispatched: list[tuple[int, float]] = field(default_factory=list)
    errors: int = 0


class NaiveTable:
    """Rescans everything for every decision, and remembers every dispatch."""

    def __init__(self, policy: str, workers: int, limit: int, now: float) -> None:
        self.policy = policy
        self.limit = limit
        self.target = set(range(workers))
        self.workers = {index: NaiveWorker(now) for index in range(workers)}
        self.waiting: list[int] = []
        self.dispatches: list[int] = []
        self.gone: list[NaiveWorker] = []

    def candidates(self) -> list[int]:
        return [
            index for index, worker in sorted(self.workers.items()) if self.has_room(worker) and index in self.target
        ]

    @property
    def slots_to_come(self) -> int:
        coming = [self.workers[index] for index in self.target if self.workers[index].health in COMING]
        return sum(self.limit - len(worker.running) for worker in coming)

    def pick(self) -> int:
        candidates = self.candidates()

        def last(index: int) -> int:
            dispatched = self.workers[index].dispatched
            return dispatched[-1][0] if dispatched else -1

        match self.policy:
            case "lru":
                return min(candidates, key=last)
            case "least_busy":
                return min(candidates, key=lambda index: (len(self.workers[index].running), last(index)))
            case "round_robin":
                previous = self.dispatches[-1] if self.dispatches else -1
                return next((index for index in candidates if index > previous), candidates[0])
        return min(candidates, key=self.rank)

    def rank(self, index: int) -> tuple[int, ...]:
        """The rank of a worker by any other policy: the table's heap must agree with a scan of all ranks."""
        worker = self.workers[index]
        number, at = worker.dispatched[-1] if worker.dispatched else (-1, worker.added)
        free = self.limit - len(worker.running)
        requests = len(worker.dispatched)
        seen = Worker(index, self.limit, free, number + 1, at, requests=requests, errors=worker.errors)
        return POLICIES[self.policy](seen, (0, self.dispatches[-1] if self.dispatches else -1))

    def serve(self, now: float) -> list[Grant]:
        grants = []
        while self.waiting and self.candidates():
            ticket = self.waiting.pop(0)
            worker = self.pick()
            self.workers[worker].dispatched.append((len(self.dispatches), now))
            self.workers[worker].running.append(ticket)
            self.dispatches.append(worker)
            grants.append(Grant(ticket, worker))
        return grants

    def release(self, ticket: int, now: float, *, failed: bool = False) -> list[Grant]:
        for worker in self.workers.values():
            if ticket in worker.running:
                worker.running.remove(ticket)
                worker.errors += failed
        self.sweep()
        return self.serve(now)

    def sweep(self) -> None:
        for index, worker in list(self.workers.items()):
            if index not in self.target and not worker.running:
                self.gone.append(self.workers.pop(index))

    def has_room(self, worker: NaiveWorker) -> bool:
        limit = {"up": self.limit, "trying": 1}.get(worker.health, 0)
        return len(worker.running) < limit

    def resize(self, wanted: set[int], now: float, health: str) -> list[Grant]:
        self.target = wanted
        self.sweep()
        for index in sorted(wanted):
            self.workers.setdefault(index, NaiveWorker(now, health))
        return self.serve(now)

    @property
    def running(self) -> list[int]:
        return [ticket for worker in self.workers.values() for ticket in worker.running]


class TableMachine(RuleBasedStateMachine):
    @initialize(
        policy=st.sampled_from(sorted(POLICIES)),
        workers=st.integers(1, MAX_WORKERS),
        limit=st.integers(1, 3),
        max_queue=st.integers(0, 8),
    )
    def start(self, policy: str, workers: int, limit: int, max_queue: int) -> None:
        self.now = 10.0
        self.max_queue = max_queue
        self.table = SlotTable(workers, limit, policy=policy, max_queue=max_queue, now=self.now)
        self.naive = NaiveTable(policy, workers, limit, self.now)
        self.tickets = 0
        self.grants = 0
        self.failed = 0
        self.arrivals: list[int] = []
        """Tickets that were queued and still wait, in order of arrival."""

    def agree(self, actual: list[Grant], expected: list[Grant]) -> None:
        assert actual == expected
        self.grants += len(actual)
        granted = [grant.ticket for grant in actual]
        assert self.arrivals[: len(granted)] == granted, "not in order of arrival"
        del self.arrivals[: len(granted)]

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.5]))
    def wait(self, seconds: float) -> None:
        self.now += seconds  # often none at all: the order must not hang on the clock

    @rule(count=st.integers(1, 4))
    def acquire(self, count: int) -> None:
        for _ in range(count):
            self.acquire_one()

    def acquire_one(self) -> None:
        ticket = self.tickets
        self.tickets += 1
        if not self.naive.candidates() and len(self.naive.waiting) >= self.max_queue + self.naive.slots_to_come:
            with pytest.raises(Overloaded):
                self.table.acquire(ticket, self.now)
            return
        grant = self.table.acquire(ticket, self.now)
        self.naive.waiting.append(ticket)
        expected = self.naive.serve(self.now)
        assert [grant] == (expected or [None])
        if grant:
            assert not self.arrivals, "overtook a waiting ticket"
            self.grants += 1
        else:
            self.arrivals.append(ticket)

    @precondition(lambda self: self.naive.running)
    @rule(pick=picks, failed=st.booleans())
    def release(self, pick: int, failed: bool) -> None:
        ticket = self.naive.running[pick % len(self.naive.running)]
        self.failed += failed
        actual = self.table.release(ticket, self.now, failed=failed)
        self.agree(actual, self.naive.release(ticket, self.now, failed=failed))

    @rule(pick=picks)
    def withdraw(self, pick: int) -> None:
        known = [*self.naive.running, *self.naive.waiting, self.tickets + 1]
        self.withdraw_one(known[pick % len(known)])

    def withdraw_one(self, ticket: int) -> None:
        if ticket in self.naive.waiting:
            self.naive.waiting.remove(ticket)
            self.arrivals.remove(ticket)
        self.agree(self.table.withdraw(ticket, self.now), self.naive.release(ticket, self.now))

    @rule(worker=st.integers(0, MAX_WORKERS), health=st.sampled_from(HEALTHS))
    def set_health(self, worker: int, health: str) -> None:
        actual = self.table.set_health(worker, health, self.now)
        if worker in self.naive.workers:
            self.naive.workers[worker].health = health
        self.agree(actual, self.naive.serve(self.now))

    @rule(wanted=st.sets(st.integers(0, MAX_WORKERS - 1)), health=st.sampled_from(HEALTHS))
    def resize(self, wanted: set[int], health: str) -> None:
        actual = self.table.resize(sorted(wanted), self.now, health=health)
        self.agree(actual, self.naive.resize(wanted, self.now, health))

    @precondition(lambda self: self.naive.waiting)
    @rule(newest=st.booleans())
    def starve_nobody(self, newest: bool) -> None:
        """Everyone who waits is served after at most as many releases as there are tickets."""
        self.resize(self.naive.target | {0}, "up")
        self.set_health(0, "up")
        for _ in range(len(self.naive.running) + len(self.naive.waiting)):
            if self.naive.running:
                self.release(-1 if newest else 0, False)
        assert not self.arrivals
        assert self.table.queued == 0

    @rule(backwards=st.booleans())
    def withdraw_all(self, backwards: bool) -> None:
        known = [*self.naive.running, *self.naive.waiting]
        for ticket in reversed(known) if backwards else known:
            self.withdraw_one(ticket)
        assert (self.table.running, self.table.queued) == (0, 0)
        assert all(stat.free == stat.limit for stat in self.table.snapshot(self.now))

    @invariant()
    def same_as_naive(self) -> None:
        assert self.table.queued == len(self.naive.waiting)
        assert self.table.running == len(self.naive.running)
        for index, worker in self.naive.workers.items():
            assert all(self.table.worker_of(ticket) == index for ticket in worker.running)
        assert all(self.table.worker_of(ticket) is None for ticket in self.naive.waiting)

    @invariant()
    def within_limits_and_work_conserving(self) -> None:
        stats = self.table.snapshot(self.now)
        assert all(0 <= stat.free <= stat.limit for stat in stats)
        assert sum(stat.limit - stat.free for stat in stats) == self.table.running
        idle = [stat for stat in stats if stat.health == "up" and stat.free and stat.index in self.naive.target]
        assert not (idle and self.table.queued)

    @invariant()
    def counters_add_up(self) -> None:
        stats = self.table.snapshot(self.now, pids={0: 41})
        gone = self.naive.gone  # removed workers took their counts along
        assert sum(stat.requests for stat in stats) + sum(len(one.dispatched) for one in gone) == self.grants
        assert sum(stat.errors for stat in stats) + sum(one.errors for one in gone) == self.failed
        assert [stat.index for stat in stats] == sorted(self.naive.workers)
        for stat in stats:
            worker = self.naive.workers[stat.index]
            assert (stat.requests, stat.errors) == (len(worker.dispatched), worker.errors)
            assert stat.idle_seconds == self.now - (worker.dispatched[-1][1] if worker.dispatched else worker.added)
            leaving = worker.health == "up" and stat.index not in self.naive.target
            assert (stat.health, stat.pid) == ("drained" if leaving else worker.health, 0 if stat.index else 41)


TestTable = TableMachine.TestCase
TestTable.settings = settings(max_examples=examples(100), stateful_step_count=40, deadline=None)
