"""How much requests slow each other down, found in the traces of replays that do so."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.routing import slowdown
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.replay import Arrival, replay
from byzer_magic.routing.trace import TracedRequest


def load(seed: int, count: int = 400) -> list[Arrival]:
    """Requests that come by chance, and take half a second to one and a half."""
    chance = random.Random(seed)
    at, found = 0.0, []
    for _ in range(count):
        at += chance.expovariate(2.5)
        found.append(Arrival(at, chance.uniform(0.5, 1.5)))
    return found


@settings(max_examples=8, deadline=None)
@given(st.sampled_from([0.0, 0.1, 0.3, 0.6]), st.integers(0, 1000))
def test_slowdown_is_found(true: float, seed: int) -> None:
    trace = replay(load(seed), Capacity(num_workers=2, worker_concurrency=4), true)
    assert slowdown.estimate(trace.requests) == pytest.approx(true, abs=0.12)


def test_slowdown_that_cannot_be_seen_is_unknown() -> None:
    alone = replay(load(1), Capacity(num_workers=8), 0.5)
    assert slowdown.estimate(alone.requests) is None, "they were never together"
    few = replay(load(1, 10), Capacity(num_workers=1, worker_concurrency=4), 0.5)
    assert slowdown.estimate(few.requests) is None


def test_company_counts_by_worker() -> None:
    one, other, apart = (TracedRequest(0.0, 0.0, 2.0, worker, "done") for worker in (0, 0, 1))
    waiting = TracedRequest(0.0, 5.0, 0.0, -1, "queued")
    assert [count for _, count in slowdown.company([one, apart, waiting, other])] == [2.0, 2.0, 1.0]


def test_company_of_a_request_that_took_no_time_is_itself() -> None:
    assert slowdown.company([TracedRequest(0.0, 0.0, 0.0, 0, "done")])[0][1] == 1.0
