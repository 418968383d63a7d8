"""Predictions from traces, most of which replays have made: a prediction of what was replayed must be exact."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.replay import Arrival, replay
from byzer_magic.routing.trace import Change, Trace, TracedRequest
from byzer_magic.routing.what_if import arrivals_of, figures, scaled, what_if
from tests.unit.routing.test_slowdown import load


def traced(capacity: Capacity, slowdown: float = 0.0, arrivals: list[Arrival] | None = None) -> Trace:
    """The trace of a deployment that has had a load."""
    return msgspec.structs.replace(replay(arrivals or load(3, 300), capacity, slowdown), since=0.0)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
def test_prediction_is_what_comes_when_the_same_load_comes_again(few: int, each: int, many: int) -> None:
    before = traced(Capacity(num_workers=few, worker_concurrency=each))
    found = what_if(before, {"num_workers": many})
    assert found
    assert found.predicted
    assert found.error == pytest.approx(0, abs=1e-6)
    after = figures(traced(Capacity(num_workers=many, worker_concurrency=each)), 0.0)
    assert found.predicted.wait_p50 == pytest.approx(after.wait_p50, abs=1e-6)
    assert found.predicted.wait_p99 == pytest.approx(after.wait_p99, abs=1e-6)
    assert found.predicted.workers == (many, many)


def test_prediction_for_an_engine_that_batches() -> None:
    """The slowdown and the work of each request are found in what was measured."""
    before = traced(Capacity(num_workers=2, worker_concurrency=4), 0.3)
    found = what_if(before, {"num_workers": 4, "worker_concurrency": 2}, batches=True)
    assert found
    assert found.slowdown == pytest.approx(0.3, abs=0.1)
    assert found.predicted
    after = figures(traced(Capacity(num_workers=4, worker_concurrency=2), 0.3), 0.0)
    assert found.predicted.utilization == pytest.approx(after.utilization, rel=0.1)
    assert found.replayed.utilization == pytest.approx(found.measured.utilization, rel=0.1)
    without = what_if(before, {"num_workers": 4, "worker_concurrency": 2})
    assert without
    assert without.predicted
    assert without.predicted.utilization > 1.2 * after.utilization, "as slow as with four on a worker"


def test_prediction_for_an_engine_of_which_nothing_is_known_has_both_ends() -> None:
    """One that has always had one request may take as long for four at once, or four times as long."""
    arrivals = load(3, 300)
    before, changes = traced(Capacity(num_workers=4), arrivals=arrivals), {"num_workers": 1, "worker_concurrency": 4}
    found = what_if(before, changes, batches=True)
    assert found
    assert found.predicted
    assert found.in_turns
    for slowdown, expected in ((0.0, found.predicted), (1.0, found.in_turns)):
        after = figures(traced(Capacity(num_workers=1, worker_concurrency=4), slowdown, arrivals), 0.0)
        assert expected.wait_p99 == pytest.approx(after.wait_p99, abs=1e-6)
        assert expected.total_p99 == pytest.approx(after.total_p99, abs=1e-6)
    assert found.in_turns.wait_p99 > 5 + found.predicted.wait_p99
    for known in (what_if(before, changes), what_if(before, {"num_workers": 5}, batches=True)):
        assert known
        assert known.in_turns is None, "an API is no engine; one request at a time on a worker slows no other"


def test_figures_of_a_trace_worked_out_by_hand() -> None:
    requests = [
        TracedRequest(0.0, 0.0, 10.0, 0, "done"),
        TracedRequest(2.0, 8.0, 5.0, 0, "failed"),
        TracedRequest(4.0, 2.0, 0.0, -1, "left"),
        TracedRequest(5.0, 0.0, 0.0, -1, "refused"),
        TracedRequest(6.0, 9.0, 5.0, 0, "running"),
    ]
    changes = [Change(-5.0, 1), Change(15.0, 3)]
    trace = Trace(now=20.0, since=0.0, requests=requests, changes=changes, capacity=Capacity(num_workers=3))
    found = figures(trace, 0.0)
    assert (found.requests, found.refused, found.left, found.served) == (5, 1, 1, 3)
    assert (found.workers, found.slots) == ((1, 3), (1, 3))
    assert (found.wait_p50, found.wait_p99) == (8.0, 9.0)
    assert (found.total_p50, found.total_p99) == (10.0, 10.0), "of the one that was answered"
    assert found.queued_mean == pytest.approx((8 + 2 + 9) / 20)
    assert found.queued_most == 3 - 1, "the second, with the third, then with the last"
    assert found.utilization == pytest.approx(20 / (15 * 1 + 5 * 3))


def test_requests_before_the_time_are_replayed_and_not_counted() -> None:
    requests = [TracedRequest(-5.0, 0.0, 8.0, 0, "done"), TracedRequest(1.0, 2.0, 1.0, 0, "done")]
    trace = Trace(now=9.0, since=0.0, requests=requests, changes=[Change(-9.0, 1)], capacity=Capacity(num_workers=1))
    found = what_if(trace)
    assert found
    assert (found.measured.requests, found.replayed.requests) == (1, 1)
    assert found.replayed.wait_p99 == found.measured.wait_p99 == 2.0
    assert what_if(trace, seconds=2.0) is None
    assert found.predicted is None


def test_requests_without_a_duration_get_those_of_others() -> None:
    requests = [
        TracedRequest(0.0, 0.0, 2.0, 0, "done"),
        TracedRequest(1.0, 0.0, 4.0, 0, "done"),
        TracedRequest(2.0, 0.0, 0.0, -1, "refused"),
        TracedRequest(3.0, 1.5, 0.0, -1, "left"),
        TracedRequest(4.0, 0.0, 3.0, 0, "running"),
        TracedRequest(5.0, 2.0, 0.0, -1, "queued"),
    ]
    capacity = Capacity(num_workers=1, max_queue=0)
    trace = Trace(now=7.0, since=0.0, requests=requests, changes=[Change(0.0, 1)], capacity=capacity)
    inf = float("inf")
    assert [(item.work, item.patience) for item in arrivals_of(trace)] == [
        (2.0, inf), (4.0, inf), (2.0, inf), (4.0, 1.5), (3.0, inf), (4.0, inf),
    ]  # fmt: skip
    found = what_if(trace, {"num_workers": 9})
    assert found
    assert found.unfinished == 2
    assert found.measured.refused == 1
    assert found.predicted
    assert (found.predicted.refused, found.predicted.left, found.predicted.wait_p99) == (0, 0, 0.0)


@given(st.integers(1, 30), st.sampled_from([0.25, 0.5, 1.0, 1.5, 2.0, 3.7]))
def test_scaled_load_comes_in_the_same_time(count: int, times: float) -> None:
    chance = random.Random(count)
    come = [Arrival(at, 1.0) for at in sorted(chance.uniform(0, 60) for _ in range(count))]
    more = scaled(come, times)
    assert len(more) == int(count * times + 1e-9)
    assert [item.at for item in more] == sorted(item.at for item in more)
    assert all(come[0].at <= item.at <= come[-1].at + 60 for item in more)
    if times == 1:
        assert more == come


def test_more_load_waits_longer_and_fewer_requests_do_not() -> None:
    trace = traced(Capacity(num_workers=4))
    waits = []
    for times in (0.5, 1.0, 2.0):
        found = what_if(trace, {}, scale_load=times)
        assert found
        waits.append((found.predicted or found.replayed).wait_p99)
    assert waits[0] < waits[1] < waits[2]


def test_changes_leave_out_what_is_not_given() -> None:
    now = Capacity(num_workers=2, worker_concurrency=4, min_workers=1, max_workers=3, idle=60.0)
    assert now.changed(worker_concurrency=8).scaling == now.scaling
    assert now.changed(num_workers=9) == Capacity(num_workers=9, worker_concurrency=4, idle=60.0), "a fixed number"
    assert now.changed(num_workers=9, max_workers=5).num_workers == 5
    assert not Capacity(num_workers=2).changed(num_workers=3).scaling.auto


def test_deployment_that_scales_is_replayed_from_the_workers_it_had() -> None:
    capacity = Capacity(num_workers=1, min_workers=1, max_workers=4, idle=30.0)
    burst = [Arrival(0.01 * number, 2.0) for number in range(40)]
    trace = traced(capacity, arrivals=burst)
    at_the_end = msgspec.structs.replace(trace, capacity=msgspec.structs.replace(capacity, num_workers=4))
    found = what_if(at_the_end)
    assert found
    assert found.error == pytest.approx(0, abs=1e-6)
    assert found.changes
    assert found.replayed.workers == (1, 4)


def test_nothing_is_predicted_from_nothing() -> None:
    capacity = Capacity(num_workers=1)
    empty = Trace(now=9.0, since=0.0, requests=[], changes=[Change(0.0, 1)], capacity=capacity)
    assert what_if(empty, {"num_workers": 2}) is None
    waiting = [TracedRequest(1.0, 8.0, 0.0, -1, "queued")]
    assert what_if(msgspec.structs.replace(empty, requests=waiting), {"num_workers": 2}) is None
