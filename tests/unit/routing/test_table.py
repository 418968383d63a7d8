from __future__ import annotations

import pytest

from byzer_magic.errors import Overloaded
from byzer_magic.routing.table import Grant, SlotTable


def workers_of(table: SlotTable, tickets: range) -> list[int | None]:
    for ticket in tickets:
        table.acquire(ticket, 0.0)
    return [table.worker_of(ticket) for ticket in tickets]


def test_slot_table_grants_a_free_slot_at_once() -> None:
    assert SlotTable(2, 1).acquire(5, 0.0) == Grant(ticket=5, worker=0)


def test_slot_table_release_serves_oldest_waiter() -> None:
    table = SlotTable(1, 2)
    workers_of(table, range(5))
    assert (table.running, table.queued) == (2, 3)
    assert table.release(1, 1.0) == [Grant(2, 0)]
    assert table.release(0, 1.0) == [Grant(3, 0)]


def test_full_queue_raises_overloaded_with_a_hint() -> None:
    table = SlotTable(1, 1, max_queue=2)
    workers_of(table, range(3))
    with pytest.raises(Overloaded) as caught:
        table.acquire(3, now=12.0)
    assert "--num_workers" in caught.value.hint
    assert caught.value.details["retry_after"] == 12.0
    assert (table.running, table.queued, table.worker_of(3)) == (1, 2, None)
    table.withdraw(1, 12.0)
    assert table.acquire(3, 12.0) is None


def test_slot_table_without_queue_refuses_at_once() -> None:
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


def test_slot_table_dispatches_only_to_workers_that_are_up() -> None:
    table = SlotTable(2, 1)
    table.set_health(0, "loading", 0.0)
    table.set_health(1, "loading", 0.0)
    assert workers_of(table, range(3)) == [None, None, None]
    assert table.set_health(1, "up", 1.0) == [Grant(0, 1)]
    assert table.set_health(0, "up", 1.0) == [Grant(1, 0)]


def test_ticket_keeps_its_slot_when_its_worker_goes_down() -> None:
    table = SlotTable(1, 1)
    table.acquire(0, 0.0)
    assert table.set_health(0, "down", 1.0) == []
    assert table.worker_of(0) == 0
    assert table.acquire(1, 1.0) is None
    assert table.release(0, 2.0, failed=True) == []
    assert table.set_health(0, "up", 3.0) == [Grant(1, 0)]
    assert table.snapshot(3.0)[0].errors == 1


def test_resize_with_more_workers_serves_the_queue() -> None:
    table = SlotTable(1, 1)
    workers_of(table, range(4))
    assert table.resize(range(3), 1.0) == [Grant(1, 1), Grant(2, 2)]
    assert table.resize(range(4), 1.0, health="loading") == []
    assert table.set_health(3, "up", 2.0) == [Grant(3, 3)]


def test_requests_of_removed_workers_stay_counted() -> None:
    table = SlotTable(workers=2, limit=1)
    for ticket in range(4):
        table.acquire(ticket, now=0.0)
        table.release(ticket, now=0.0, failed=ticket == 1)
    table.resize([0], now=1.0)
    assert (table.past_requests, table.past_errors) == (2, 1)
    assert sum(worker.requests for worker in table.snapshot(1.0)) == 2


def test_resize_with_fewer_workers_lets_requests_finish() -> None:
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


def test_snapshot_has_all_counters() -> None:
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
def test_invalid_calls_leave_the_table_unchanged(wrong) -> None:
    table = SlotTable(1, 1)
    workers_of(table, range(2))
    with pytest.raises(ValueError):
        wrong(table)
    assert (table.running, table.queued) == (1, 1)
    assert table.release(0, 0.0) == [Grant(1, 0)]


def test_requests_wait_for_slots_that_are_loaded_whatever_the_queue_may_have() -> None:
    table = SlotTable(2, 2, max_queue=1)
    table.set_health(0, "asleep", 0.0)
    table.set_health(1, "drained", 0.0)
    assert workers_of(table, range(3)) == [None, None, None]  # two for the slots to come, one in the queue
    with pytest.raises(Overloaded, match=r"3 requests are queued \(--max_queue 1\)"):
        table.acquire(3, 0.0)
    assert [grant.ticket for grant in table.set_health(0, "up", 1.0)] == [0, 1]


class Turnstile:
    """A gate that lets so many tickets through."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.taken: list[int] = []

    def wait(self, _ticket: int, _now: float) -> float:
        return 0.0 if self.left else 5.0

    def take(self, ticket: int, _now: float) -> None:
        self.left -= 1
        self.taken.append(ticket)


def test_gate_keeps_the_order_and_slots_that_are_free_do_not_matter() -> None:
    gate = Turnstile(1)
    table = SlotTable(1, 9, gate=gate)
    assert workers_of(table, range(4)) == [0, None, None, None]
    assert table.serve(0.0) == []
    gate.left = 2
    assert table.withdraw(1, 0.0) == [Grant(2, 0), Grant(3, 0)]
    assert gate.taken == [0, 2, 3]
    assert table.acquire(4, 0.0) is None
    gate.left = 1
    assert table.release(0, 0.0) == [Grant(4, 0)]
