"""Several keys of one provider: whose turn it is, and which are left out until when."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.routing.breaker import FAILURES, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from byzer_magic.routing.keys import Keys, Says, said_by

REFUSED = errors.AuthenticationFailed("invalid API key (401)", status=401)
DOWN = errors.ProviderUnavailable("server error (503)", status=503)


def limited(seconds: float | None) -> errors.RateLimited:
    details = {} if seconds is None else {"retry_after": seconds}
    return errors.RateLimited("rate limit exceeded (429)", status=429, **details)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (limited(3.0), Says.LIMITED),
        (errors.RateLimited("quota exceeded (429)", status=429, final=True), Says.REFUSED),
        (errors.RateLimited("payment required (402)", status=402), Says.REFUSED),
        (REFUSED, Says.REFUSED),
        (errors.AuthenticationFailed("access denied (403)", status=403), Says.REFUSED),
        (errors.AuthenticationFailed("proxy authentication required (407)", status=407), Says.NOTHING),
        (DOWN, Says.FAILED),
        (errors.ContextTooLong("prompt too long (400)", status=400), Says.NOTHING),
        (errors.ContentRefused("content filter (400)", status=400), Says.NOTHING),
        (errors.Unsupported("no images"), Says.NOTHING),
        (errors.DeadlineExceeded("nothing came"), Says.NOTHING),
    ],
)
def test_what_an_error_says_about_the_key(error: errors.ByzerError, says: Says) -> None:
    assert said_by(error) is says


@given(st.integers(1, 6), st.integers(1, 60))
def test_keys_take_turns(count: int, requests: int) -> None:
    keys = Keys(count)
    used = Counter(keys.next(now=float(at)) for at in range(requests))
    assert max(used.values()) - min(used[place] for place in range(count)) <= 1


def test_limited_key_rests_as_long_as_it_says_and_the_others_serve() -> None:
    keys = Keys(3)
    assert keys.next(0.0) == 0
    keys.failed(0, limited(30.0), 0.0)
    assert {keys.next(at) for at in (0.0, 10.0, 20.0, 29.0)} == {1, 2}
    assert keys.pause(5.0) == 0, "there are others"
    assert {keys.next(30.0) for _ in range(3)} == {0, 1, 2}


def test_request_gets_a_key_that_it_has_not_tried() -> None:
    keys = Keys(3)
    tried: list[int] = []
    while (place := keys.next(0.0, tried)) is not None:
        tried.append(place)
        keys.failed(place, limited(9.0 - place), 0.0)
    assert sorted(tried) == [0, 1, 2]
    assert keys.is_limited(1.0)
    assert keys.pause(1.0) == 6.0, "the first that is there again"


def test_answer_to_a_request_from_before_the_limit_does_not_end_the_rest() -> None:
    keys = Keys(2)
    keys.failed(0, limited(30.0), 0.0)
    keys.worked(0)
    assert [keys.next(1.0) for _ in range(3)] == [1, 1, 1]
    assert keys.stats(1.0)[0].state == "limited"


def test_refused_key_is_tried_by_one_request_at_longer_and_longer_intervals() -> None:
    keys, tries = Keys(2), []
    keys.failed(0, REFUSED, 0.0)
    for now in range(1, 2000):
        if {keys.next(float(now)), keys.next(float(now))} >= {0}:
            assert keys.next(float(now)) == 1, "one request tries it, the others do not"
            tries.append(now)
            keys.failed(0, REFUSED, float(now))
    pauses = [after - before for before, after in zip([0, *tries], tries, strict=False)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


def test_key_that_works_again_takes_its_turns() -> None:
    keys = Keys(2)
    keys.failed(0, REFUSED, 0.0)
    assert keys.stats(1.0)[0].state == "refused"
    while keys.next(FIRST_PAUSE_SECONDS) != 0:
        pass
    keys.worked(0)
    assert {keys.next(FIRST_PAUSE_SECONDS) for _ in range(2)} == {0, 1}
    assert keys.stats(FIRST_PAUSE_SECONDS)[0].state == "up"


def test_cancelled_try_is_made_by_the_next_request() -> None:
    keys = Keys(2)
    keys.failed(0, REFUSED, 0.0)
    for _ in range(2):
        while keys.next(FIRST_PAUSE_SECONDS) != 0:
            pass
        keys.cancelled(0)


def test_provider_must_fail_several_times_in_a_row_before_a_key_is_left_out() -> None:
    keys = Keys(2)
    for _ in range(FAILURES - 1):
        keys.failed(0, DOWN, 0.0)
    assert {keys.next(0.0) for _ in range(2)} == {0, 1}
    keys.failed(0, DOWN, 0.0)
    assert {keys.next(0.0) for _ in range(2)} == {1}


@pytest.mark.parametrize("error", [REFUSED, DOWN], ids=["refused", "down"])
def test_when_all_have_failed_their_turns_go_on(error: errors.ByzerError) -> None:
    keys = Keys(3)
    for place in (0, 1, 2) * FAILURES:
        keys.failed(place, error, 0.0)
    assert {keys.next(1.0) for _ in range(3)} == {0, 1, 2}
    assert not keys.is_limited(1.0), "waiting does not help"


def test_limited_key_is_worth_waiting_for_where_the_others_are_refused() -> None:
    keys = Keys(2)
    keys.failed(0, REFUSED, 0.0)
    keys.failed(1, limited(5.0), 0.0)
    assert keys.next(1.0) is None
    assert keys.is_limited(1.0)
    assert keys.pause(1.0) == 4.0
    assert keys.next(5.0) == 1


def test_stats_show_what_is_left_out_and_until_when() -> None:
    keys = Keys(3)
    for _ in range(3):
        keys.next(0.0)
    keys.failed(1, limited(30.0), 0.0)
    keys.failed(2, REFUSED, 0.0)
    seen = [(key.place, key.state, key.seconds, str(key.why), key.requests, key.errors) for key in keys.stats(2.0)]
    assert seen == [
        (1, "up", 0.0, "", 1, 0),
        (2, "limited", 28.0, "rate limit exceeded (429)", 1, 1),
        (3, "refused", 8.0, "invalid API key (401)", 1, 1),
    ]
    assert {key.state for key in keys.stats(30.0)[:2]} == {"up"}
