"""Predicting how long requests wait: predict, scale for real, send the same load again, and compare."""

from __future__ import annotations

import threading
import time

import pytest

import byzer_magic as bz
from byzer_magic.client.manager import Manager
from tests.ray.test_deploy import deploy, saas
from tests.ray.test_scale import scale
from tests.servers.process import Process

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
GAPS = [0.01, 0.05, 0.02, 0.04] * 10
"""Seconds between the requests of a load, which come faster than two workers can answer."""
ANSWERS = ["slow:300ms x", "slow:500ms x", "slow:400ms x"]


def send(alias: str) -> list[float]:
    """Send a load; return how long each request waited for a slot, in the order of the waits."""
    waits: list[float] = []
    model = bz.model(alias)
    threads = [
        threading.Thread(target=lambda text=text: waits.append(model.chat(text).timings.queued))  # type: ignore[misc]
        for text in (ANSWERS[place % len(ANSWERS)] for place in range(len(GAPS)))
    ]
    for thread, gap in zip(threads, GAPS, strict=True):
        thread.start()
        time.sleep(gap)
    for thread in threads:
        thread.join()
    return sorted(waits)


def test_prediction_holds_when_the_same_load_comes_again(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=2))
    before = send("m")
    found = bz.model("m").what_if(num_workers=4)
    assert found
    assert found.measured.requests == len(GAPS)
    assert found.measured.wait_p99 == pytest.approx(before[-1], rel=0.15)
    assert found.replayed.wait_p99 == pytest.approx(found.measured.wait_p99, rel=0.15)
    assert found.predicted
    scale(manager, "m", 4)
    after = send("m")
    assert after[-1] < 0.7 * before[-1], "it waits for slots"
    assert found.predicted.wait_p99 == pytest.approx(after[-1], rel=0.15)
    print(before[-1], found.measured, found.replayed, found.predicted, after[-1])
