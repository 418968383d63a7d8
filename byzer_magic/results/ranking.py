"""A ranking from pairwise comparisons, and how certain it is: Bradley-Terry strengths, as Chatbot Arena has them.

A tie is half a win for each. The intervals are those of a Bayesian bootstrap: many times, each comparison gets a random
weight, and before the first one each competitor has half a win and half a loss (Jeffreys' prior for two). So four wins
of four are no certainty, as resampling them would have it. The libraries for it (choix) know neither ties nor
intervals, and need scipy.

References: Chiang et al. 2024, https://arxiv.org/abs/2403.04132; Newman 2023, https://jmlr.org/papers/v24/22-1086.html;
Rubin 1981, https://doi.org/10.1214/aos/1176345338.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

ROUNDS = 2000
"""Times that the comparisons are weighted again."""
LEVEL = 0.95
"""The part of these within the interval."""
PRIOR = 0.5
"""Wins, and losses, that each has at the beginning."""
LEAST = 1e-9
"""No weight is smaller, so that all are comparable."""
STEPS = 500
CLOSE = 1e-6
"""When no strength changes by more than this part, they are found."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How two compared."""

    first: str
    second: str
    score: float
    """1 where the first has won, 0 where the second has, 0.5 for a tie; between these where judgements differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The place of one in a ranking."""

    name: str
    rank: int
    """1 and how many are certainly better: those whose intervals overlap may share a place."""
    win_rate: float
    """The chance to win against another one, 0 to 1, from the strengths of all."""
    low: float
    high: float
    """Between these it is, with a probability of 95 %."""
    strength: float
    """Bradley-Terry's: the logarithm of the odds against the average."""
    wins: int
    ties: int
    losses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A ranking, the best first."""

    by: str
    """What is ranked: `model`, or `options`."""
    standings: tuple[Standing, ...]

    def frame(self) -> Any:
        """Return a pandas DataFrame with a row per competitor, the best first."""
        import pandas as pd

        return pd.DataFrame(self.rows())

    def rows(self) -> list[dict[str, Any]]:
        """Return a dict per competitor, the best first."""
        return [asdict(item) for item in self.standings]


def ranked(by: str, outcomes: Sequence[Outcome], *, rounds: int = ROUNDS, seed: int = 0) -> Ranking:
    """Return the ranking that follows from comparisons; the same for the same ones.

    Args:
        by: what is ranked.
        outcomes: the comparisons; their order, and which of the two is first, does not matter.
        rounds: times that they are weighted again for the intervals.
        seed: of the random numbers.

    Example:
        >>> [item.name for item in ranked("model", [Outcome("a", "b", 0.0), Outcome("b", "c", 1.0)]).standings]
        ['b', 'a', 'c']
    """
    import numpy as np

    names = sorted({name for item in outcomes for name in (item.first, item.second)})
    if not names:
        return Ranking(by=by, standings=())
    ordered = sorted(map(_in_order, outcomes), key=lambda item: (item.first, item.second, item.score))
    each = _each(names, ordered)
    count = len(names)
    pairs = ~np.eye(count, dtype=bool)
    prior = PRIOR / (count - 1)
    best = _strengths(each.sum(axis=0)[None] + prior * pairs)
    random = np.random.default_rng(seed)
    weights = random.gamma(1.0, size=(rounds, len(ordered)))
    before = random.gamma(prior, size=(rounds, count, count)) * pairs
    drawn = _strengths(np.einsum("rc,cij->rij", weights, each) + before)
    edge = (1 - LEVEL) / 2
    low, high = np.quantile(_win_rates(drawn), [edge, 1 - edge], axis=0)
    rate = _win_rates(best)[0]
    standings = [
        Standing(
            name=name, rank=1 + int((low > high[place]).sum()), win_rate=float(rate[place]),
            low=float(min(low[place], rate[place])), high=float(max(high[place], rate[place])),
            strength=float(np.log(best[0, place])), **_record(name, ordered),
        )
        for place, name in enumerate(names)
    ]  # fmt: skip
    return Ranking(by=by, standings=tuple(sorted(standings, key=lambda item: -item.win_rate)))


def _in_order(item: Outcome) -> Outcome:
    """Return a comparison with its names in the order of the alphabet."""
    return item if item.first <= item.second else Outcome(item.second, item.first, 1 - item.score)


def _each(names: Sequence[str], outcomes: Sequence[Outcome]) -> Any:
    """Return the wins of each comparison as a matrix: row over column."""
    import numpy as np

    places = {name: place for place, name in enumerate(names)}
    wins = np.zeros((len(outcomes), len(names), len(names)))
    for number, item in enumerate(outcomes):
        one, other = places[item.first], places[item.second]
        wins[number, one, other] = item.score
        wins[number, other, one] = 1 - item.score
    return wins


def _strengths(wins: Any) -> Any:
    """Return the most likely strengths, with a geometric mean of 1, for each of several matrices of wins."""
    import numpy as np

    rounds, count, _same = wins.shape
    wins = np.maximum(wins, LEAST) * ~np.eye(count, dtype=bool)
    found = np.ones((rounds, count))
    for _step in range(STEPS):
        before = found.copy()
        for one in range(count):
            sums = found[:, one, None] + found
            won = (wins[:, one, :] * found / sums).sum(axis=1)
            lost = (wins[:, :, one] / sums).sum(axis=1)
            found[:, one] = won / lost
        found /= np.exp(np.log(found).mean(axis=1, keepdims=True))
        if np.abs(found / before - 1).max() < CLOSE:
            break
    return found


def _win_rates(strengths: Any) -> Any:
    """Return the mean chance of each to win against another one."""
    chances = strengths[:, :, None] / (strengths[:, :, None] + strengths[:, None, :])
    count = strengths.shape[1]
    return (chances.sum(axis=2) - 0.5) / (count - 1)


def _record(name: str, outcomes: Sequence[Outcome]) -> dict[str, int]:
    scores = [
        item.score if item.first == name else 1 - item.score for item in outcomes if name in (item.first, item.second)
    ]
    return {
        "wins": sum(score > 0.5 for score in scores),
        "ties": sum(score == 0.5 for score in scores),
        "losses": sum(score < 0.5 for score in scores),
    }
