"""When something that fails is left out, and when it is tried again."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.routing.breaker import (
    FAILURES,
    FIRST_PAUSE_SECONDS,
    FIRST_REST_SECONDS,
    LONGEST_PAUSE_SECONDS,
    LONGEST_REST_SECONDS,
    Breaker,
    is_fault,
)


def test_breaker_tries_again_with_one_request_at_longer_and_longer_intervals() -> None:
    breaker, now, tries = Breaker(), 0.0, []
    for _ in range(FAILURES):
        assert breaker.lets_in(now)
        breaker.failed(now)
    while len(tries) < 8:
        now += 1.0
        if breaker.lets_in(now):
            assert not breaker.lets_in(now)  # others do not wait for the outcome
            tries.append(now)
            breaker.failed(now)
    pauses = [after - before for before, after in zip([0.0, *tries], tries, strict=False)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_breaker_forgets_failures_once_a_request_has_worked() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0.0)
    assert breaker.lets_in(FIRST_PAUSE_SECONDS)
    breaker.worked()
    assert not breaker.is_open
    assert breaker.lets_in(FIRST_PAUSE_SECONDS)


def test_cancelled_try_is_no_failure_and_the_next_request_tries() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(0.0)
    assert breaker.lets_in(FIRST_PAUSE_SECONDS)
    breaker.cancelled()
    assert breaker.lets_in(FIRST_PAUSE_SECONDS)


def test_breaker_at_once_lets_one_request_try_after_the_pause() -> None:
    breaker = Breaker()
    breaker.failed(0.0, at_once=True)
    assert not breaker.lets_in(FIRST_PAUSE_SECONDS - 1)
    assert breaker.lets_in(FIRST_PAUSE_SECONDS)
    assert not breaker.lets_in(FIRST_PAUSE_SECONDS), "one request tries, the others do not"


def test_limit_that_names_its_end_lets_all_in_from_then_on() -> None:
    breaker = Breaker()
    breaker.rests(0.0, 30.0)
    assert breaker.pause(10.0) == 20.0
    assert not breaker.lets_in(29.0)
    assert breaker.lets_in(30.0)
    assert breaker.lets_in(30.0)


def test_shorter_limit_does_not_end_a_longer_one() -> None:
    breaker = Breaker()
    breaker.rests(0.0, 30.0)
    breaker.rests(1.0, 2.0)
    breaker.worked()  # a request that was sent before
    assert not breaker.lets_in(29.0)


def test_limit_without_an_end_rests_longer_each_time_until_a_request_works() -> None:
    breaker, now, rests = Breaker(), 0.0, []
    for _ in range(8):
        breaker.rests(now, None)
        rests.append(breaker.pause(now))
        now += rests[-1]
    assert rests[0] == FIRST_REST_SECONDS
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST_SECONDS
    breaker.worked()
    breaker.rests(now, None)
    assert breaker.pause(now) == FIRST_REST_SECONDS


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (errors.BadRequest, False),
        (errors.ContextTooLong, False),
        (errors.ContentRefused, False),
        (errors.Unsupported, False),
        (errors.WorkerLost, True),
        (errors.ProviderUnavailable, True),
        (errors.RateLimited, True),
        (errors.RequestError, True),
    ],
)
def test_only_errors_of_whoever_was_asked_are_faults(error: type[errors.ByzerError], fault: bool) -> None:
    assert is_fault(error("it failed")) is fault
