"""What a slot table keeps of its requests."""

from __future__ import annotations

import pytest

from byzer_magic.errors import Overloaded
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.table import SlotTable
from byzer_magic.routing.trace import Change, TracedRequest, Tracer


def traced(table: SlotTable, now: float) -> list[tuple[float, float, float, int, str]]:
    return [(item.at, item.waited, item.seconds, item.worker, item.outcome) for item in table.tracer.requests(now)]


def test_trace_has_every_end_of_a_request() -> None:
    table = SlotTable(1, 1, max_queue=2)
    table.acquire(1, 0.0)
    table.acquire(2, 1.0)
    table.acquire(3, 2.0)
    with pytest.raises(Overloaded):
        table.acquire(4, 2.5)
    table.withdraw(3, 3.0)
    table.release(1, 4.0)
    table.acquire(5, 4.5)
    assert traced(table, 5.0) == [
        (2.5, 0.0, 0.0, -1, "refused"),
        (2.0, 1.0, 0.0, -1, "left"),
        (0.0, 0.0, 4.0, 0, "done"),
        (1.0, 3.0, 1.0, 0, "running"),
        (4.5, 0.5, 0.0, -1, "queued"),
    ]
    table.release(2, 6.0, failed=True)
    assert traced(table, 6.0)[3:] == [(1.0, 3.0, 2.0, 0, "failed"), (4.5, 1.5, 0.0, 0, "running")]


def test_trace_of_a_request_that_leaves_with_its_slot_does_not_count_as_run() -> None:
    table = SlotTable(1, 1)
    table.acquire(1, 0.0)
    table.withdraw(1, 0.1)
    assert traced(table, 1.0) == [(0.0, 0.1, 0.0, -1, "left")]


def test_trace_forgets_what_ended_long_ago() -> None:
    tracer = Tracer(seconds=10.0)
    for ticket, (came, ended) in enumerate([(0.0, 5.0), (1.0, 14.0), (12.0, 13.0)]):
        tracer.came(ticket, came)
        tracer.began(ticket, 0, came)
        tracer.ended(ticket, ended)
    assert sorted(item.at for item in tracer.requests(20.0)) == [1.0, 12.0], "it was running when the time begins"
    assert tracer.since(20.0) == 10.0


def test_trace_of_too_many_requests_is_complete_since_its_beginning() -> None:
    tracer = Tracer(most=5, seconds=600.0)
    for ticket in range(9):
        tracer.came(ticket, float(ticket))
        tracer.began(ticket, 0, float(ticket))
        tracer.ended(ticket, ticket + 0.5)
    trace = tracer.read(10.0, Capacity(num_workers=1))
    assert trace.is_cut
    assert trace.since == 3.5
    assert [item.at for item in trace.requests if item.at > trace.since] == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert not Tracer(most=5).read(10.0, Capacity(num_workers=1)).is_cut


def test_trace_has_the_slots_of_workers_that_are_up() -> None:
    table = SlotTable(0, 2, now=0.0)
    table.resize(range(2), 1.0, health="loading")
    table.set_health(0, "up", 2.0)
    table.set_health(1, "up", 3.0)
    table.set_health(1, "up", 3.5)
    table.resize([1], 9.0)
    table.set_health(1, "drained", 11.0)
    expected = [Change(0.0, 0), Change(2.0, 2), Change(3.0, 4), Change(9.0, 2), Change(11.0, 0)]
    assert table.tracer.changes(12.0) == expected
    assert table.tracer.changes(605.0) == expected[2:], "that of the beginning, and what came then"


def test_traced_request_knows_its_times() -> None:
    request = TracedRequest(at=1.0, waited=2.0, seconds=3.0, worker=-1, outcome="left")
    assert (request.began, request.ended, request.ran) == (3.0, 6.0, False)
