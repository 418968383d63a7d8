"""Buckets, compared with a count of what was taken in any minute."""

from __future__ import annotations

import itertools

from hypothesis import given, strategies as st

from byzer_magic.gateway.limits import MINUTE, Bucket


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 10)), max_size=60))
def test_bucket_never_gives_more_than_twice_its_limit_in_a_minute(limit: int, steps: list[tuple[float, int]]) -> None:
    bucket, now = Bucket(limit), 0.0
    taken: list[tuple[float, int]] = []
    for pause, units in steps:
        now += pause
        if not bucket.wait(now, units):
            bucket.take(units)
            taken.append((now, units))
    for start, _units in taken:
        within = sum(units for at, units in taken if start <= at < start + MINUTE)
        assert within <= 2 * limit + 10  # full at the start, filled once meanwhile, and one large request


@given(st.integers(1, 1000), st.integers(1, 3000))
def test_wait_is_as_long_as_it_says(limit: int, units: int) -> None:
    bucket = Bucket(limit)
    bucket.wait(0.0, 0)
    bucket.take(limit)
    wait = bucket.wait(0.0, units)
    assert bucket.wait(wait + 1e-6, units) == 0.0
    assert 0 < wait <= MINUTE + 1e-6


def test_no_limit_never_waits() -> None:
    bucket = Bucket(0)
    for now in itertools.islice(itertools.count(), 5):
        assert bucket.wait(now, 1e9) == 0.0
        bucket.take(1e9)


def test_debt_is_paid_back_with_time() -> None:
    bucket = Bucket(60)
    bucket.wait(0.0, 1)
    bucket.take(180)
    assert bucket.wait(0.0, 1) == 121.0
    assert bucket.wait(121.0, 1) == 0.0
