"""Budgets: what may run, what is left after it, and what clocks that jump do to days."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.routing.budget import DAY_SECONDS, DAYS, Budget, Spent

costs = st.floats(0.001, 0.5)


@given(
    st.floats(0.1, 3.0),
    st.lists(st.tuples(costs, costs, st.floats(0, 1), st.booleans(), st.integers(0, 99)), max_size=60),
)
def test_no_more_is_spent_than_the_budget_and_what_one_alone_may_cost(
    limit: float, steps: list[tuple[float, float, float, bool, int]]
) -> None:
    """A request never costs more than was expected of it here, so only one that began alone can go over."""
    budget = Budget(limit)
    running: list[tuple[float, float]] = []
    for prompt, answer, share, ends, pick in steps:
        if ends and running:
            budget.settle(*running.pop(pick % len(running)), now=0.0)
        if budget.can_afford(prompt, 0.0) and not budget.must_wait(prompt, answer, 0.0):
            budget.reserve(prompt + answer)
            running.append((prompt + answer, prompt + answer * share))
    for cost in running:
        budget.settle(*cost, now=0.0)
    assert budget.spent(0.0) <= limit + 0.5 + 1e-6


def test_request_that_waits_for_others_runs_once_they_have_ended() -> None:
    budget = Budget(1.0)
    budget.reserve(0.8)
    assert budget.can_afford(0.2, 0.0)
    assert budget.must_wait(0.2, 0.3, 0.0)
    budget.settle(0.8, 0.8, 0.0)
    assert not budget.must_wait(0.2, 0.3, 0.0)
    assert not budget.can_afford(0.21, 0.0)


def test_budget_of_a_deployment_is_not_renewed_and_that_of_a_day_is() -> None:
    for per, later in (("deployment", False), ("day", True)):
        budget = Budget(1.0, per)
        budget.settle(0.0, 1.0, now=1.5 * DAY_SECONDS)
        assert not budget.can_afford(0.0, 1.9 * DAY_SECONDS)
        assert budget.can_afford(0.0, 2.0 * DAY_SECONDS) is later
        assert budget.free_in(1.5 * DAY_SECONDS) == (DAY_SECONDS / 2 if later else None)


@given(st.lists(st.floats(0, 30 * DAY_SECONDS), max_size=40))
def test_no_day_has_a_second_budget_however_the_clock_jumps(times: list[float]) -> None:
    budget = Budget(1.0, "day")
    spent: dict[int, float] = {}
    for now in times:
        if budget.can_afford(0.4, now):
            budget.reserve(0.4)
            budget.settle(0.4, 0.4, now)
            day = int(now // DAY_SECONDS)
            spent[day] = spent.get(day, 0.0) + 0.4
    assert all(cost <= 1.0 for cost in spent.values())


def test_days_that_are_kept_are_few_and_today_is_among_them() -> None:
    spent = Spent()
    for day in [*range(100, 200), 3]:
        spent = spent.plus(1.0, day * DAY_SECONDS)
    assert len(spent.days) == DAYS + 1
    assert spent.days[3] == 1.0
    assert spent.total == pytest.approx(101.0)
    assert msgspec.json.decode(msgspec.json.encode(spent), type=Spent) == spent


def test_what_is_kept_counts_requests_in_flight() -> None:
    budget = Budget(1.0, spent=Spent(0.25))
    budget.reserve(0.5)
    assert budget.to_keep(0.0).total == 0.75
    assert budget.spent(0.0) == 0.25
    budget.settle(0.5, 0.125, 0.0)
    assert budget.to_keep(0.0).total == 0.375


def test_no_limit_lets_everything_through() -> None:
    budget = Budget(0.0)
    assert budget.can_afford(1e9, 0.0)
    assert not budget.must_wait(1e9, 1e9, 0.0)
