"""Which worker each policy chooses, tested in a slot table."""

from __future__ import annotations

import random

import pytest

from byzer_magic.routing.policy import POLICIES, Candidates, Worker
from byzer_magic.routing.table import Grant, SlotTable


def workers_of(table: SlotTable, tickets: range) -> list[int | None]:
    for ticket in tickets:
        table.acquire(ticket, 0.0)
    return [table.worker_of(ticket) for ticket in tickets]


def test_lru_fills_workers_in_turn_within_one_clock_tick() -> None:
    assert workers_of(SlotTable(3, 2), range(6)) == [0, 1, 2, 0, 1, 2]


def test_lru_goes_by_dispatch_not_by_release() -> None:
    table = SlotTable(3, 1)
    workers_of(table, range(3))
    for ticket in (2, 0, 1):
        table.release(ticket, 1.0)
    assert workers_of(table, range(10, 13)) == [0, 1, 2]


def test_lru_prefers_a_worker_without_dispatches() -> None:
    table = SlotTable(2, 4)
    workers_of(table, range(2))
    table.resize(range(4), 1.0)
    assert workers_of(table, range(10, 14)) == [2, 3, 0, 1]


def test_round_robin_skips_busy_workers_and_returns_to_them() -> None:
    table = SlotTable(3, 1, policy="round_robin")
    assert workers_of(table, range(3)) == [0, 1, 2]
    table.release(1, 0.0)
    assert table.acquire(10, 0.0) == Grant(10, 1)
    table.release(10, 0.0)
    table.release(0, 0.0)
    assert workers_of(table, range(20, 22)) == [0, 1]


def test_least_busy_prefers_the_worker_with_most_free_slots() -> None:
    table = SlotTable(2, 3, policy="least_busy")
    assert workers_of(table, range(4)) == [0, 1, 0, 1]
    table.release(0, 0.0)
    table.release(2, 0.0)
    assert workers_of(table, range(10, 12)) == [0, 0]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_candidates_drop_stale_entries(policy: str) -> None:
    workers = {index: Worker(index, 9, 9, 0, 0.0) for index in range(10)}
    candidates = Candidates(POLICIES[policy], workers)
    chance = random.Random(1)
    for number in range(1, 5000):
        for worker in workers.values():
            candidates.offer(worker)
        picked = candidates.take()
        assert picked is not None
        picked.last_dispatch = number
        picked.free -= 1
        other = workers[chance.randrange(10)]
        other.free = min(9, other.free + 2)
        assert len(candidates) <= 21


def test_lru_with_a_thousand_workers_matches_a_full_scan() -> None:
    table = SlotTable(1000, 2)
    chance = random.Random(2)
    last = dict.fromkeys(range(1000), -1)
    busy = dict.fromkeys(range(1000), 0)
    running: list[int] = []
    for ticket in range(5000):
        while len(running) > 1900 or (running and chance.random() < 0.45):
            done = running.pop(chance.randrange(len(running)))
            busy[table.worker_of(done) or 0] -= 1
            table.release(done, 0.0)
        expected = min((w for w in busy if busy[w] < 2), key=lambda w: (last[w], w))
        assert table.acquire(ticket, 0.0) == Grant(ticket, expected)
        last[expected] = ticket
        busy[expected] += 1
        running.append(ticket)
