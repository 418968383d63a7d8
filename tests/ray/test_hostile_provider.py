"""A pool whose provider sends the worst that it can: other requests go on, and its memory stays bounded."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from tests.conftest import KEY
from tests.ray.test_deploy import pid_of
from tests.servers import process
from tests.waiting import PATIENCE

pytestmark = pytest.mark.ray

WORST = ("gzip", "chunks", "word", "bare-word", "deep", "slow-error", "gzip-events")
MORE_MB = 300
"""What all of these together may take; 200 MB of text are in the smallest bomb."""
LATE_SECONDS = PATIENCE
"""Within what others are answered: on an idle machine a hundredth. An unbounded pattern alone took hours."""


def deploy(manager: Manager, alias: str, url: str) -> None:
    known = {"saas.api_key": KEY, "saas.model": "gpt-4o", "saas.base_url": url, "saas.max_retries": "0"}
    spec = DeploySpec(model=alias, pretrained_model_type="saas/openai", worker_concurrency=20, cpus_per_worker=0.001,
                      infer_params=known)  # fmt: skip
    for _ in manager.iterate(manager.deploy(manager.plan(spec))):
        pass


def memory_mb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


def attacked(name: str) -> errors.ByzerError:
    with pytest.raises(errors.ProviderError) as caught:
        bz.model("mean").chat(f"attack:{name}")
    return caught.value


def test_a_hostile_provider_delays_no_other_request(manager: Manager, provider: process.Process) -> None:
    with process.own("hostile") as hostile, ThreadPoolExecutor(len(WORST)) as threads:
        deploy(manager, "mean", f"{hostile.url}/chosen/v1")
        deploy(manager, "kind", f"{provider.url}/v1")
        assert bz.model("mean").chat("hello").text == "Hello"
        pid = pid_of(manager, "mean")
        before, longest, answered = memory_mb(pid, "VmRSS"), 0.0, 0
        attacks = [threads.submit(attacked, name) for name in WORST]
        while not answered or not all(attack.done() for attack in attacks):
            for alias in ("mean", "kind"):
                started = time.monotonic()
                assert bz.model(alias).chat("hello").text
                longest = max(longest, time.monotonic() - started)
            answered += 1
        for attack in attacks:
            attack.result()
        assert longest < LATE_SECONDS
        assert memory_mb(pid, "VmHWM") - before < MORE_MB
