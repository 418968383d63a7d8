"""Changes of a deployment that go wrong, are broken off, or meet each other."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec
from byzer_magic.runtime.cluster import discovery
from byzer_magic.types import ChatChunk, Loading, Ready
from tests.ray.test_deploy import deploy, llama, saas
from tests.ray.test_scale import healths, scale
from tests.servers.process import Process, release
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SLOW = "rest:{} tokens:30 please"
"""Thirty tokens; most of them come once the name is released."""


def is_complete(stream: Iterator[ChatChunk]) -> bool:
    """Return whether the rest of such an answer, without its first chunk, comes to its end."""
    return sum(bool(chunk.text) for chunk in stream) >= 28


def restart(manager: Manager, alias: str, **more: object) -> list[object]:
    return list(manager.iterate(manager.restart(RestartSpec(model=alias, **more))))  # type: ignore[arg-type]


def test_drained_deployment_serves_with_workers_added_by_scale(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    manager.run(manager.drain(DrainSpec(model="m")))
    scale(manager, "m", 2)
    assert healths("m") == ["drained", "up"]
    assert bz.model("m").chat("hello").worker == 1
    scale(manager, "m", 1)
    with pytest.raises(errors.NotDeployed, match="m is drained"):  # only the drained one is left
        bz.model("m").chat("hello", timeout=PATIENCE)


def test_restart_cancelled_while_waiting_changes_nothing(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    stream = bz.model("m").stream(SLOW.format("unchanged"))
    next(stream)
    events = manager.iterate(manager.restart(RestartSpec(model="m")))
    first = next(events)
    assert isinstance(first, Loading)
    assert "1 request in flight" in first.stage
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    assert eventually(lambda: healths("m") == ["up"])
    release(provider, "unchanged")
    assert is_complete(stream)
    assert bz.model("m").chat("hello", timeout=PATIENCE).text


def test_restart_cancels_requests_after_its_grace(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    stream = bz.model("m").stream(SLOW.format("never"))
    next(stream)
    assert isinstance(restart(manager, "m", grace=0.3)[-1], Ready)
    with pytest.raises(errors.WorkerLost, match=r"m worker 0 was restarted") as caught:
        list(stream)
    assert "--grace" in caught.value.hint
    assert bz.model("m").chat("hello", timeout=PATIENCE).text
    assert bz.model("m").stat().errors == 0, "it was not the worker's fault"


def test_engine_comes_back_after_its_restart_is_cancelled(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    [before] = [worker.pid for worker in bz.model("l").stat().workers]
    events = manager.iterate(manager.restart(RestartSpec(model="l")))
    next(events)
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    assert eventually(lambda: healths("l") == ["up"])
    assert bz.model("l").chat("Hi", max_tokens=2).text
    assert [worker.pid for worker in bz.model("l").stat().workers] != [before]


def test_engine_that_cannot_load_leaves_the_others_running(manager: Manager, gguf: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.symlink_to(gguf)
    deploy(manager, llama(model))
    model.unlink()
    with pytest.raises(errors.ByzerError, match=r"model\.gguf"):
        scale(manager, "l", 2)
    assert healths("l") == ["up"]
    assert bz.model("l").chat("Hi", max_tokens=2).text
    model.symlink_to(gguf)
    scale(manager, "l", 2)
    assert healths("l") == ["up", "up"]


def test_concurrent_changes_wait_and_report_it(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    stream = bz.model("m").stream(SLOW.format("restarted"))
    next(stream)
    first = threading.Thread(target=lambda: restart(manager, "m"))
    first.start()
    assert eventually(lambda: healths("m") == ["loading"])
    events = manager.iterate(manager.scale(ScaleSpec(model="m", num_workers=3)))
    event = next(events)
    assert isinstance(event, Loading)
    assert "another change" in event.stage
    release(provider, "restarted")
    assert isinstance([*events][-1], Ready)
    first.join()
    assert is_complete(stream)
    assert healths("m") == ["up"] * 3


def test_scale_engine_beyond_the_cluster_is_refused_at_once(manager: Manager, gguf: Path) -> None:
    deploy(manager, replace(llama(gguf), cpus_per_worker=1.0))
    with pytest.raises(errors.NoRoom, match=r"Not enough CPUs for 8 more workers of l: 8 requested"):
        scale(manager, "l", 9)
    assert healths("l") == ["up"]


def test_refused_scale_keeps_the_reservation(manager: Manager, provider: Process) -> None:
    deploy(manager, replace(saas(provider), cpus_per_worker=0.5))
    scale(manager, "m", 4)
    assert eventually(lambda: (manager.room() or {})["CPU"][0] == pytest.approx(2.0))
    with pytest.raises(errors.NoRoom, match=r"16 more workers of m"):
        scale(manager, "m", 20)
    assert eventually(lambda: (manager.room() or {})["CPU"][0] == pytest.approx(2.0))
    scale(manager, "m", 1)
    assert eventually(lambda: (manager.room() or {})["CPU"][0] == pytest.approx(3.5))


def test_drain_survives_a_killed_pool(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=2))
    manager.run(manager.drain(DrainSpec(model="m", worker=1)))
    endpoint = discovery.announced("m")
    assert endpoint
    os.kill(endpoint.pid, signal.SIGKILL)
    assert eventually(lambda: (found := discovery.announced("m")) is not None and found.pid != endpoint.pid)
    assert eventually(lambda: healths("m") == ["up", "drained"])
    restart(manager, "m", worker=1)
    assert healths("m") == ["up", "up"]


def test_removed_worker_is_shown_as_drained(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=2))
    streams = [bz.model("m").stream(SLOW.format("removed")) for _ in range(2)]
    for stream in streams:
        next(stream)
    scale(manager, "m", 1)
    assert healths("m") == ["up", "drained"]
    scale(manager, "m", 2)
    release(provider, "removed")
    assert all(is_complete(stream) for stream in streams)
    assert eventually(lambda: healths("m") == ["up", "up"])
    assert {bz.model("m").chat("hello").worker for _ in range(2)} == {0, bz.model("m").stat().workers[1].index}
