"""Rankings from pairwise comparisons: the right order, whoever was shown first, and honest intervals."""

from __future__ import annotations

import itertools
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.results.ranking import Outcome, ranked

STRENGTHS = {"best": 3.0, "good": 1.5, "fair": 0.7, "poor": 0.3}


def outcomes(per_pair: int, seed: int) -> list[Outcome]:
    """Comparisons as the model of Bradley and Terry has them."""
    random = np.random.default_rng(seed)
    return [
        Outcome(one, other, float(random.random() < STRENGTHS[one] / (STRENGTHS[one] + STRENGTHS[other])))
        for one, other in itertools.combinations(STRENGTHS, 2)
        for _time in range(per_pair)
    ]


def truth(name: str) -> float:
    mine = STRENGTHS[name]
    return mean(mine / (mine + theirs) for other, theirs in STRENGTHS.items() if other != name)


def test_ranked_finds_a_known_order() -> None:
    found = ranked("model", outcomes(200, seed=3)).standings
    assert [item.name for item in found] == list(STRENGTHS)
    assert [item.rank for item in found] == [1, 2, 3, 4]
    assert [item.win_rate for item in found] == pytest.approx([truth(name) for name in STRENGTHS], abs=0.05)


@pytest.mark.parametrize("per_pair", [4, 25])
def test_ranked_intervals_contain_the_truth(per_pair: int) -> None:
    """Of 40 experiments with four models each, 95 % of the intervals should; 88 % would be 4 deviations less."""
    inside = [
        item.low <= truth(item.name) <= item.high
        for seed in range(40)
        for item in ranked("model", outcomes(per_pair, seed), rounds=200, seed=seed).standings
    ]
    assert mean(inside) > 0.88


def test_ranked_few_comparisons_are_no_certainty() -> None:
    winner, loser = ranked("model", [Outcome("a", "b", 1.0)] * 4).standings
    assert (winner.name, winner.wins, loser.losses) == ("a", 4, 4)
    assert winner.low < 0.7
    assert winner.high - winner.low > 0.3
    many, _other = ranked("model", [Outcome("a", "b", 1.0)] * 100).standings
    assert many.low > 0.9
    assert [item.rank for item in ranked("model", [Outcome("a", "b", 1.0), Outcome("b", "a", 1.0)]).standings] == [1, 1]


scores = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
names = st.sampled_from(["a", "b", "c"])
some = st.lists(
    st.tuples(names, names, scores).filter(lambda item: item[0] != item[1]).map(lambda item: Outcome(*item)),
    min_size=1, max_size=9,
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(some, st.randoms(use_true_random=False))
def test_ranked_is_the_same_in_any_order_and_either_position(found: list[Outcome], random: object) -> None:
    mixed = [Outcome(item.second, item.first, 1 - item.score) for item in found]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert ranked("model", found, rounds=20) == ranked("model", mixed, rounds=20)


@settings(max_examples=20, deadline=None)
@given(some)
def test_ranked_win_rates_are_in_their_intervals_and_balance(found: list[Outcome]) -> None:
    standings = ranked("model", found, rounds=20).standings
    assert all(0 <= item.low <= item.win_rate <= item.high <= 1 for item in standings)
    assert mean(item.win_rate for item in standings) == pytest.approx(0.5)
    assert sum(item.wins for item in standings) == sum(item.losses for item in standings)


def test_ranked_nothing_is_an_empty_ranking() -> None:
    assert ranked("model", []).standings == ()
