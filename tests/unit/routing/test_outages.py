"""Which of the workers that are up get requests."""

from __future__ import annotations

from hypothesis import given, strategies as st

from byzer_magic.routing.breaker import FAILURES, FIRST_PAUSE_SECONDS
from byzer_magic.routing.outages import Outages

WORKERS = 3


def started(workers: int = WORKERS) -> Outages:
    found = Outages()
    for worker in range(workers):
        found.reported(worker, "up")
    return found


def fail(outages: Outages, worker: int, now: float = 0.0, times: int = FAILURES) -> None:
    for _ in range(times):
        assert outages.ended(worker, works=False, now=now)


def test_worker_is_left_out_after_failures_in_a_row_then_tried_by_one_request() -> None:
    outages = started()
    fail(outages, 0, times=FAILURES - 1)
    assert outages.healths(0.0)[0] == "up"
    fail(outages, 0, times=1)
    assert outages.healths(0.0) == {0: "failing", 1: "up", 2: "up"}
    assert outages.healths(FIRST_PAUSE_SECONDS)[0] == "trying"
    assert outages.ended(0, works=True, now=FIRST_PAUSE_SECONDS)
    assert outages.healths(FIRST_PAUSE_SECONDS)[0] == "up"


def test_try_that_fails_doubles_the_pause() -> None:
    outages = started()
    fail(outages, 0)
    fail(outages, 0, now=FIRST_PAUSE_SECONDS, times=1)
    assert outages.healths(2.9 * FIRST_PAUSE_SECONDS)[0] == "failing"
    assert outages.healths(3.0 * FIRST_PAUSE_SECONDS)[0] == "trying"


def test_answer_in_between_begins_the_count_anew() -> None:
    outages = started()
    for _ in range(5):
        fail(outages, 0, times=FAILURES - 1)
        outages.ended(0, works=True, now=0.0)
    assert outages.healths(0.0)[0] == "up"


def test_fault_of_a_request_is_not_counted() -> None:
    outages = started()
    for _ in range(10):
        assert not outages.ended(0, works=None, now=0.0)
    assert outages.healths(0.0)[0] == "up"


def test_request_of_a_worker_that_died_is_not_counted_after_it() -> None:
    outages = started()
    outages.reported(0, "down")
    assert not outages.ended(0, works=False, now=0.0)
    outages.reported(0, "up")
    assert outages.healths(0.0)[0] == "up"


def test_worker_that_was_restarted_begins_without_failures() -> None:
    outages = started()
    fail(outages, 0)
    outages.reported(0, "loading")
    assert 0 not in outages.healths(0.0)
    outages.reported(0, "up")
    assert outages.healths(0.0)[0] == "up"


def test_drained_worker_does_not_serve_for_one_that_is_left_out() -> None:
    outages = started(2)
    fail(outages, 0)
    assert outages.healths(0.0) == {0: "failing", 1: "up"}
    assert outages.healths(0.0, drained={1}) == {0: "up", 1: "drained"}


@given(
    st.lists(st.tuples(st.integers(0, WORKERS - 1), st.sampled_from([True, False, None, "down", "up"])), max_size=60)
)
def test_some_worker_gets_requests_while_any_is_up(steps: list[tuple[int, bool | str | None]]) -> None:
    outages, now, up = started(), 0.0, set(range(WORKERS))
    for worker, what in steps:
        now += 1.0
        if isinstance(what, str):
            outages.reported(worker, what)
            (up.add if what == "up" else up.discard)(worker)
        else:
            outages.ended(worker, works=what, now=now)
        healths = outages.healths(now)
        assert healths.keys() == up
        assert not up or "up" in healths.values(), "if all have failed, none is left out"
