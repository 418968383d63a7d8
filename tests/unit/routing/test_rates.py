"""Windows, compared with a count of what was taken in any minute."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.routing.rates import MINUTE, Taken, TokenWindow, Window


@given(st.integers(1, 20), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 10), st.integers(0, 10)), max_size=60))
def test_no_minute_has_more_than_the_limit(limit: int, steps: list[tuple[float, int, int]]) -> None:
    window, now = Window(limit), 0.0
    taken: list[Taken] = []
    for pause, units, corrected in steps:
        now += pause
        if not window.wait(now, units):
            taken.append(window.take(min(units, limit), now))
            window.change(taken[-1], min(units, limit, corrected), now)  # a part is given back
    for start in taken:
        within = sum(item.units for item in taken if start.at <= item.at < start.at + MINUTE)
        assert within <= limit


@given(
    st.integers(1, 1000), st.lists(st.tuples(st.floats(0, 40), st.integers(1, 400)), max_size=20), st.integers(1, 3000)
)
def test_wait_is_as_long_as_it_says_and_no_longer(limit: int, before: list[tuple[float, int]], units: int) -> None:
    window, now = Window(limit), 0.0
    for pause, count in before:
        now += pause
        window.take(count, now)
    wait = window.wait(now, units)
    assert 0 <= wait <= MINUTE + 1e-6
    if wait > 1e-3:
        assert window.wait(now + wait - 1e-3, units) > 0
    assert window.wait(now + wait + 1e-6, units) == 0.0


@given(st.integers(1, 5), st.lists(st.floats(0, 30), max_size=12), st.integers(0, 12))
def test_place_in_the_queue_says_when_its_turn_comes(limit: int, pauses: list[float], others: int) -> None:
    window, now = Window(limit), 0.0
    for pause in pauses:
        now += pause
        if not window.wait(now, 1):
            window.take(1, now)
    expected, at = window.wait_behind(now, others), now
    for _each in range(others):
        at += window.wait(at, 1)
        window.take(1, at)
    assert at + window.wait(at, 1) - now == pytest.approx(expected, abs=1e-3)


def test_no_limit_never_waits() -> None:
    window = Window(0)
    for now in range(5):
        assert window.wait(now, 1e9) == 0.0
        assert window.wait_behind(now, 10**6) == 0.0
        window.change(window.take(1e9, now), 5, now)
    assert window.used(5.0) == 0.0


def test_more_than_was_reserved_counts_from_when_it_is_known() -> None:
    window = TokenWindow(100)
    taken = window.reserve(50, 0.0)
    window.settle(taken, 180, 30.0)
    assert window.used(30.0) == 180
    assert window.wait(30.0, 1) == 60.0
    assert window.used(61.0) == 130
    window.change(taken, 0, 61.0)  # a minute later, nothing is given back
    assert window.used(61.0) == 130


def test_request_alone_needs_room_for_its_prompt_only() -> None:
    window = TokenWindow(100)
    assert window.wait_for(10, 10_000, 0.0) == 0.0
    first = window.reserve(10_010, 0.0)
    assert window.left == 0
    assert window.wait_for(1, 1, 0.0) == 60.0
    window.settle(first, 20, 1.0)
    assert window.wait_for(80, 500, 1.0) == 0.0
    assert window.wait_for(81, 0, 1.0) == 59.0


def test_window_of_a_lower_limit_waits_until_it_has_room() -> None:
    window = Window(4)
    for now in range(4):
        window.take(1, now)
    window.limit = 2
    assert window.wait(4.0, 1) == 58.0
    assert [window.wait_behind(4.0, others) for others in range(3)] == [58.0, 59.0, 118.0]
