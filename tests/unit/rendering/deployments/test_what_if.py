"""The plots of a prediction."""

from __future__ import annotations

import pytest

from byzer_magic.rendering.deployments import figure, what_if as drawn
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.trace import Change, Trace, TracedRequest
from byzer_magic.routing.what_if import what_if

NOW = 1_800_000_000.0
CLOCK = 100.0
"""The deployment's clock at that time."""
REQUESTS = [
    TracedRequest(70.0, 0.0, 10.0, 0, "done"),
    TracedRequest(72.0, 8.0, 10.0, 0, "done"),
    TracedRequest(73.0, 17.0, 10.0, 0, "done"),
]


def plots(**changes: int) -> list[figure.Plot]:
    capacity, slots = Capacity(num_workers=1), [Change(0.0, 1)]
    found = what_if(Trace(now=CLOCK, since=0.0, requests=REQUESTS, changes=slots, capacity=capacity), changes)
    assert found
    return drawn.plots(found, figure.window(0.5, NOW), lambda at: NOW - (CLOCK - at))


def test_plots_have_waits_and_queue_of_both() -> None:
    waits, queue = plots(num_workers=2)
    assert len(waits.values) == len(queue.values) == 30
    assert waits.second
    assert waits.values[:5] == [0.0, None, 0.0, 7.0, None]
    assert waits.second[:5] == [0.0, None, 8.0, 17.0, None]
    assert sum(queue.known) == pytest.approx(7.0), "as many seconds as requests waited"
    assert sum(filter(None, queue.second or ())) == pytest.approx(25.0)
    assert (queue.second or [])[5] == pytest.approx(2.0)
    assert waits.about == "what if; dashed: replayed"


def test_plots_without_a_change_compare_with_what_was_measured() -> None:
    waits, queue = plots()
    assert waits.about == "replayed; dashed: measured"
    assert waits.values == waits.second
    assert queue.values == pytest.approx(queue.second)
