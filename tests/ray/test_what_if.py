"""Predicting how long requests wait: predict, scale for real, send the same load again, and compare."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import byzer_magic as bz
from byzer_magic.client.manager import Manager
from tests.ray.test_deploy import deploy, saas
from tests.ray.test_scale import scale
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
REQUESTS = 24
GAP_SECONDS = 0.1
"""Between two requests of a load, which come faster than two workers answer, or four."""
OFF = 0.15
"""How far a prediction may be from what comes, as a share of it."""
TRIES = 3
ANSWERS = ["slow:600ms x", "slow:1000ms x", "slow:800ms x"]
"""They take so long that what a busy machine adds does not count."""


def send(alias: str) -> list[float]:
    """Send a load; return how long each request waited for a slot, sorted."""
    model = bz.model(alias)
    start = time.monotonic() + 0.5

    def ask(place: int) -> float:
        time.sleep(max(0.0, start + place * GAP_SECONDS - time.monotonic()))
        return model.chat(ANSWERS[place % len(ANSWERS)]).timings.queued

    with ThreadPoolExecutor(REQUESTS) as threads:
        return sorted(threads.map(ask, range(REQUESTS)))


def errors_of(manager: Manager, provider: Process, alias: str) -> list[float]:
    """Predict, scale and send the same load again; return by how much the waits of the slowest were off, as shares."""
    deploy(manager, saas(provider, alias, num_workers=2))
    before = send(alias)
    found = bz.model(alias).what_if(num_workers=4)
    assert found
    assert found.measured.requests == REQUESTS
    assert found.predicted
    assert found.predicted.wait_p99 < 0.7 * found.measured.wait_p99, "it waits for slots"
    scale(manager, alias, 4)
    after = send(alias)
    pairs = [
        (found.measured.wait_p99, before[-1]),
        (found.replayed.wait_p99, found.measured.wait_p99),
        (found.predicted.wait_p99, after[-1]),
    ]
    return [abs(one / other - 1) for one, other in pairs]


def test_prediction_holds_when_the_same_load_comes_again(manager: Manager, provider: Process) -> None:
    """A machine that is busy with other things only adds to the waits of a load, so one undisturbed try tells."""
    tries: list[list[float]] = []
    while len(tries) < TRIES and not (tries and max(tries[-1]) < OFF):
        tries.append(errors_of(manager, provider, f"m{len(tries)}"))
    assert max(tries[-1]) < OFF, tries
