"""Replaying requests: against a queue that is too simple to be wrong, and by what must be true of any."""

from __future__ import annotations

import itertools
from collections import Counter
from heapq import heapify, heapreplace

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.policy import POLICIES
from byzer_magic.routing.rates import SPAN
from byzer_magic.routing.replay import Arrival, replay
from byzer_magic.routing.trace import TracedRequest

steps = st.integers(0, 16).map(lambda number: number / 8)
"""Seconds; sums of these are exact."""
loads = st.lists(st.tuples(steps, steps), min_size=1, max_size=40).map(
    lambda pairs: [
        Arrival(at, work)
        for at, work in zip(itertools.accumulate(gap for gap, _ in pairs), (work for _, work in pairs), strict=True)
    ]
)
workers = st.integers(1, 4)


def waits(requests: list[TracedRequest]) -> list[float]:
    return [item.waited for item in sorted(requests, key=lambda item: (item.at, item.began))]


def naive(arrivals: list[Arrival], slots: int) -> list[float]:
    """Return the waits, first come, first served: each request takes the slot that is free first."""
    free = [0.0] * slots
    heapify(free)
    found = []
    for arrival in arrivals:
        start = max(arrival.at, free[0])
        heapreplace(free, start + arrival.work)
        found.append(start - arrival.at)
    return found


@given(loads, workers, st.integers(1, 3), st.sampled_from(sorted(POLICIES)))
def test_replay_waits_as_a_queue_does(arrivals: list[Arrival], count: int, each: int, policy: str) -> None:
    capacity = Capacity(num_workers=count, worker_concurrency=each, load_balance=policy)
    assert waits(replay(arrivals, capacity).requests) == pytest.approx(naive(arrivals, count * each))


@given(loads, workers, st.integers(0, 3), st.sampled_from([0.0, 0.3]), st.data())
def test_replay_loses_and_adds_no_request(
    arrivals: list[Arrival], count: int, max_queue: int, slowdown: float, data: st.DataObject
) -> None:
    patience = data.draw(st.lists(steps, min_size=len(arrivals), max_size=len(arrivals)))
    impatient = [Arrival(item.at, item.work, most) for item, most in zip(arrivals, patience, strict=True)]
    trace = replay(impatient, Capacity(num_workers=count, worker_concurrency=2, max_queue=max_queue), slowdown)
    assert sorted(item.at for item in trace.requests) == [item.at for item in arrivals]
    assert {item.outcome for item in trace.requests} <= {"done", "left", "refused"}
    moments = sorted((at, step) for item in trace.requests if item.ran for at, step in
                     ((item.ended, -1), (item.began, 1)) if item.seconds)  # fmt: skip
    assert max(itertools.accumulate(step for _, step in moments), default=0) <= 2 * count
    if not slowdown:
        took = Counter((item.at, item.seconds) for item in trace.requests if item.outcome == "done")
        assert took <= Counter((item.at, item.work) for item in arrivals)


@given(loads, workers, workers)
def test_more_workers_make_no_request_wait_longer(arrivals: list[Arrival], count: int, more: int) -> None:
    few = waits(replay(arrivals, Capacity(num_workers=count)).requests)
    many = waits(replay(arrivals, Capacity(num_workers=count + more)).requests)
    assert all(now <= before + 1e-9 for before, now in zip(few, many, strict=True))


def test_requests_of_a_worker_slow_each_other_down() -> None:
    come = [Arrival(0.0, 2.0), Arrival(1.0, 2.0)]
    trace = replay(come, Capacity(num_workers=1, worker_concurrency=2), slowdown=0.5)
    first, second = trace.requests
    assert first.seconds == pytest.approx(1 + 1.5), "one second alone, the other one at two thirds of the speed"
    assert second.seconds == pytest.approx(1.5 + 1)
    apart = replay(come, Capacity(num_workers=2, worker_concurrency=2), slowdown=0.5)
    assert [item.seconds for item in apart.requests] == [2.0, 2.0]


def test_policy_decides_who_shares_a_worker() -> None:
    come = [Arrival(0.0, 9.0), Arrival(1.0, 1.0), Arrival(3.0, 1.0)]
    two = {
        policy: replay(come, Capacity(num_workers=2, worker_concurrency=2, load_balance=policy)).requests
        for policy in ("lru", "least_busy")
    }
    assert {policy: [item.worker for item in items] for policy, items in two.items()} == {
        "lru": [1, 0, 0],
        "least_busy": [1, 1, 0],
    }


def test_refused_and_impatient_requests() -> None:
    come = [Arrival(0.0, 5.0), Arrival(1.0, 5.0, patience=2.0), Arrival(2.0, 1.0), Arrival(4.0, 1.0)]
    trace = replay(come, Capacity(num_workers=1, max_queue=1))
    assert [(item.at, item.outcome, item.waited) for item in trace.requests] == [
        (2.0, "refused", 0.0), (1.0, "left", 2.0), (0.0, "done", 0.0), (4.0, "done", 1.0),
    ]  # fmt: skip


def test_limit_of_requests_a_minute_holds() -> None:
    trace = replay([Arrival(float(second), 0.1) for second in range(4)], Capacity(num_workers=4, rpm=2))
    assert [item.began for item in trace.requests] == [0.0, 1.0, SPAN, SPAN + 1]


def test_deployment_that_scales_by_itself_grows_and_shrinks() -> None:
    come = [Arrival(0.01 * number, 2.0) for number in range(40)] + [Arrival(100.0, 1.0)]
    capacity = Capacity(num_workers=1, min_workers=1, max_workers=4, idle=20.0)
    trace = replay(come, capacity)
    slots = [change.slots for change in trace.changes]
    assert slots[0] == 1
    assert max(slots) == 4
    assert slots[-1] == 1
    assert 40 * 2.0 / 4 < max(item.waited for item in trace.requests) < 40 * 2.0 / 2


@settings(max_examples=10)
@given(st.integers(0, 1_000_000))
def test_replay_does_not_depend_on_when_the_clock_began(start: int) -> None:
    def at(begin: float) -> list[float]:
        come = [Arrival(begin + 0.1 * number, 0.7) for number in range(30)]
        return waits(replay(come, Capacity(num_workers=2, worker_concurrency=2), slowdown=0.2).requests)

    assert at(float(start)) == pytest.approx(at(0.0), abs=1e-6)
