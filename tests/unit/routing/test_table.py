from __future__ import annotations

import random

import pytest

from byzer_magic.errors import Overloaded
from byzer_magic.routing.policy import POLICIES, Candidates, Worker
from byzer_magic.routing.table import Grant, SlotTable


def workers_of(table: SlotTable, tickets: range) -> list[int | None]:
    for ticket in tickets:
        table.acquire(ticket, 0.0)
    return [table.worker_of(ticket) for ticket in tickets]


def test_a_free_slot_is_granted_at_once() -> None:
    assert SlotTable(2, 1).acquire(5, 0.0) == Grant(ticket=5, worker=0)


def test_lru_fills_workers_in_turn_within_one_clock_tick() -> None:
    assert workers_of(SlotTable(3, 2), range(6)) == [0, 1, 2, 0, 1, 2]


def test_lru_goes_by_dispatch_not_by_release() -> None:
    table = SlotTable(3, 1)
    workers_of(table, range(3))
    for ticket in (2, 0, 1):
        table.release(ticket, 1.0)
    assert workers_of(table, range(10, 13)) == [0, 1, 2]


def test_a_worker_never_dispatched_counts_as_oldest() -> None:
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


def test_least_busy_prefers_the_emptiest_worker() -> None:
    table = SlotTable(2, 3, policy="least_busy")
    assert workers_of(table, range(4)) == [0, 1, 0, 1]
    table.release(0, 0.0)
    table.release(2, 0.0)
    assert workers_of(table, range(10, 12)) == [0, 0]


def test_waiting_tickets_are_served_in_order() -> None:
    table = SlotTable(1, 2)
    workers_of(table, range(5))
    assert (table.running, table.queued) == (2, 3)
    assert table.release(1, 1.0) == [Grant(2, 0)]
    assert table.release(0, 1.0) == [Grant(3, 0)]


def test_a_full_queue_is_an_error_that_says_how_to_go_on() -> None:
    table = SlotTable(1, 1, max_queue=2)
    workers_of(table, range(3))
    with pytest.raises(Overloaded) as caught:
        table.acquire(3, now=12.0)
    assert "--num_workers" in caught.value.hint
    assert caught.value.details["retry_after"] == 12.0
    assert (table.running, table.queued, table.worker_of(3)) == (1, 2, None)
    table.withdraw(1, 12.0)
    assert table.acquire(3, 12.0) is None


def test_a_table_without_queue_refuses_at_once() -> None:
    table = SlotTable(1, 1, max_queue=0)
    table.acquire(0, 0.0)
    with pytest.raises(Overloaded):
        table.acquire(1, 0.0)


def test_withdraw_from_every_state() -> None:
    table = SlotTable(1, 1)
    workers_of(table, range(3))
    assert table.withdraw(99, 0.0) == []
    assert table.withdraw(1, 0.0) == []
    assert table.withdraw(0, 0.0) == [Grant(2, 0)]
    assert table.withdraw(0, 0.0) == []
    assert (table.running, table.queued) == (1, 0)
    assert table.snapshot(0.0)[0].errors == 0


def test_only_workers_that_are_up_get_requests() -> None:
    table = SlotTable(2, 1)
    table.set_health(0, "loading", 0.0)
    table.set_health(1, "loading", 0.0)
    assert workers_of(table, range(3)) == [None, None, None]
    assert table.set_health(1, "up", 1.0) == [Grant(0, 1)]
    assert table.set_health(0, "up", 1.0) == [Grant(1, 0)]


def test_a_ticket_on_a_worker_that_goes_down_keeps_its_slot() -> None:
    table = SlotTable(1, 1)
    table.acquire(0, 0.0)
    assert table.set_health(0, "down", 1.0) == []
    assert table.worker_of(0) == 0
    assert table.acquire(1, 1.0) is None
    assert table.release(0, 2.0, failed=True) == []
    assert table.set_health(0, "up", 3.0) == [Grant(1, 0)]
    assert table.snapshot(3.0)[0].errors == 1


def test_growing_serves_the_queue() -> None:
    table = SlotTable(1, 1)
    workers_of(table, range(4))
    assert table.resize(range(3), 1.0) == [Grant(1, 1), Grant(2, 2)]
    assert table.resize(range(4), 1.0, health="loading") == []
    assert table.set_health(3, "up", 2.0) == [Grant(3, 3)]


def test_shrinking_lets_requests_finish() -> None:
    table = SlotTable(3, 1)
    workers_of(table, range(4))
    assert table.resize(range(1), 1.0) == []
    assert [stat.index for stat in table.snapshot(1.0)] == [0, 1, 2]
    assert table.release(1, 2.0) == []
    assert [stat.index for stat in table.snapshot(2.0)] == [0, 2]
    assert table.set_health(1, "down", 2.0) == []
    assert table.release(0, 2.0) == [Grant(3, 0)]
    assert table.resize(range(3), 3.0) == []
    assert workers_of(table, range(10, 11)) == [1]
    assert table.release(2, 3.0) == []
    assert [stat.index for stat in table.snapshot(3.0)] == [0, 1, 2]


def test_snapshot() -> None:
    table = SlotTable(2, 2, now=100.0)
    table.acquire(0, 105.0)
    first, second = table.snapshot(107.0, pids={1: 4321})
    assert (first.index, first.free, first.limit, first.requests, first.idle_seconds) == (0, 1, 2, 1, 2.0)
    assert (second.index, second.free, second.requests, second.idle_seconds, second.pid) == (1, 2, 0, 7.0, 4321)
    assert first.busy
    assert not second.busy


@pytest.mark.parametrize(
    "wrong",
    [
        lambda table: table.acquire(0, 0.0),
        lambda table: table.acquire(1, 0.0),
        lambda table: table.release(1, 0.0),
        lambda table: table.release(9, 0.0),
        lambda table: table.set_health(0, "fine", 0.0),
        lambda table: table.resize([-1], 0.0),
        lambda table: table.resize(range(2), 0.0, health="fine"),
        lambda _: SlotTable(1, 0),
        lambda _: SlotTable(-1, 1),
        lambda _: SlotTable(1, 1, max_queue=-1),
        lambda _: SlotTable(1, 1, policy="random"),
    ],
)
def test_programming_errors_change_nothing(wrong) -> None:
    table = SlotTable(1, 1)
    workers_of(table, range(2))
    with pytest.raises(ValueError):
        wrong(table)
    assert (table.running, table.queued) == (1, 1)
    assert table.release(0, 0.0) == [Grant(1, 0)]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_outdated_candidates_do_not_pile_up(policy: str) -> None:
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
