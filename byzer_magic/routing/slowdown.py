"""How much requests that share a worker slow each other down, from what was measured.

An engine that batches makes a step for all its requests at once, and the step takes longer the more there are: about
in proportion, so that with n requests each runs at `1 / (1 + slowdown * (n - 1))` of the speed that it has alone. A
slowdown of 0 is a worker that has enough of everything, 1 one whose requests take turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import StatisticsError, linear_regression, pstdev

from byzer_magic.routing.trace import TracedRequest

FEWEST = 20
"""Requests that an estimate takes."""
SPREAD = 0.3
"""Standard deviation that the number of requests on a worker must have had: without one, it shows nothing."""


def pace(slowdown: float, together: float) -> float:
    """Return how many times longer requests take, with so many of them on a worker, than alone.

    Example:
        >>> pace(0.25, 1), pace(0.25, 5)
        (1.0, 2.0)
    """
    return 1 + slowdown * max(0.0, together - 1)


def company(requests: Iterable[TracedRequest]) -> list[tuple[TracedRequest, float]]:
    """Return requests that have run, each with the mean number of those that ran on its worker meanwhile.

    Example:
        >>> one = TracedRequest(at=0.0, waited=0.0, seconds=4.0, worker=0, outcome="done")
        >>> other = TracedRequest(at=3.0, waited=0.0, seconds=2.0, worker=0, outcome="done")
        >>> [count for _request, count in company([one, other])]
        [1.25, 1.5]
    """
    ran = sorted((item for item in requests if item.ran), key=lambda item: item.worker)
    found: list[tuple[TracedRequest, float]] = []
    for _worker, group in groupby(ran, key=lambda item: item.worker):
        found += _on_one(list(group))
    return found


def _on_one(requests: Sequence[TracedRequest]) -> list[tuple[TracedRequest, float]]:
    """Return the same for the requests of one worker: sums of request seconds up to each beginning and end."""
    moments = sorted([(item.began, 1) for item in requests] + [(item.ended, -1) for item in requests])
    sums: dict[float, float] = {}
    total, running, before = 0.0, 0, moments[0][0]
    for at, step in moments:
        total += running * (at - before)
        sums[at], before = total, at
        running += step
    return [
        (item, (sums[item.ended] - sums[item.began]) / taken if (taken := item.ended - item.began) else 1.0)
        for item in requests
    ]


def estimate(requests: Iterable[TracedRequest]) -> float | None:
    """Return the slowdown that requests show, 0 to 1; None where they do not show any.

    It is the slope of a line through their times, by how many ran on the worker meanwhile, over its beginning.
    """
    known = [(count - 1, item.seconds) for item, count in company(requests) if item.outcome == "done"]
    if len(known) < FEWEST or pstdev(count for count, _seconds in known) < SPREAD:
        return None
    try:
        slope, alone = linear_regression(*zip(*known, strict=True))
    except StatisticsError:
        return None
    if alone <= 0:
        return 1.0
    return min(max(slope / alone, 0.0), 1.0)
