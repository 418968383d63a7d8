"""Deployments that change while they run: scaled, drained, restarted, followed."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.runtime.cluster import discovery
from byzer_magic.stat import Fleet
from byzer_magic.types import Ready
from tests.conftest import alive
from tests.ray.test_deploy import deploy, llama, saas
from tests.servers.process import Process
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def scale(manager: Manager, alias: str, workers: int) -> list[object]:
    return list(manager.iterate(manager.scale(ScaleSpec(model=alias, num_workers=workers))))


def healths(alias: str) -> list[str]:
    return [worker.health for worker in bz.model(alias).stat().workers]


@contextmanager
def load(alias: str, streams: int) -> Iterator[list[BaseException]]:
    """Ask all the time, from several threads; give the errors that came."""
    wrong: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                bz.model(alias).chat("one two three four five six seven eight")
            except errors.ByzerError as err:
                wrong.append(err)

    threads = [threading.Thread(target=ask) for _ in range(streams)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_scale_api_deployment_under_load(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    with load("m", 6) as wrong:
        last = scale(manager, "m", 5)[-1]
        assert isinstance(last, Ready)
        assert last.workers == 5
        assert eventually(lambda: all(worker.requests for worker in bz.model("m").stat().workers))
        scale(manager, "m", 2)
        assert eventually(lambda: healths("m") == ["up", "up"])
    assert wrong == []


@pytest.mark.parametrize(
    ("policy", "concurrency", "during", "after"),
    [
        ("lru", 2, [1, 2, 0, 1], [2, 0, 1]),  # worker 0 has a free slot while it streams
        ("least_busy", 2, [1, 2, 1, 2], [0, 1, 2]),
        ("round_robin", 1, [1, 2, 1, 2], [0, 1, 2]),  # and worker 0 has none
    ],
)
def test_load_balance_chooses_the_worker(
    policy: str, concurrency: int, during: list[int], after: list[int], manager: Manager, provider: Process
) -> None:
    deploy(manager, saas(provider, num_workers=3, worker_concurrency=concurrency, load_balance=policy))
    model = bz.model("m")
    stream = model.stream("tokens:5000@50")
    next(stream)
    assert [model.chat("hi").worker for _ in during] == during
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert eventually(lambda: model.stat().busy == 0)
    assert [model.chat("hi").worker for _ in after] == after
    assert model.stat().legacy()["load_balance_strategy"] == policy


def test_scale_beyond_the_cluster_is_refused_and_changes_nothing(manager: Manager, provider: Process) -> None:
    deploy(manager, replace(saas(provider), cpus_per_worker=0.5))
    with pytest.raises(errors.NoRoom, match=r"Not enough CPUs for 99 more workers of m: 49\.5 requested"):
        scale(manager, "m", 100)
    assert healths("m") == ["up"]
    assert bz.model("m").chat("hello").text


def test_scale_engine_lets_a_stream_on_a_removed_worker_finish(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    scale(manager, "l", 2)
    assert [bz.model("l").chat("Hi", max_tokens=2).worker for _ in range(4)] in ([0, 1, 0, 1], [1, 0, 1, 0])
    pids = [worker.pid for worker in bz.model("l").stat().workers]
    if bz.model("l").chat("Hi", max_tokens=1).worker == 1:  # so that the stream gets the second
        bz.model("l").chat("Hi", max_tokens=1)
    stream = bz.model("l").stream("Tell me a story about a king.", max_tokens=120)
    first = next(stream)
    while not first.text:
        first = next(stream)
    scale(manager, "l", 1)
    assert alive(pids[1]), "it finishes what it does"
    assert len([chunk for chunk in stream if chunk.text]) > 50
    assert eventually(lambda: not alive(pids[1])), "then its memory is free"
    assert healths("l") == ["up"]


def test_interrupted_scale_keeps_the_running_workers(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    events = manager.iterate(manager.scale(ScaleSpec(model="l", num_workers=3)))
    next(events)
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    assert eventually(lambda: all(health == "up" for health in healths("l")))
    assert len(healths("l")) < 3
    assert bz.model("l").chat("Hi", max_tokens=2).text


def test_scale_survives_a_killed_pool(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    scale(manager, "m", 3)
    endpoint = discovery.announced("m")
    assert endpoint
    os.kill(endpoint.pid, signal.SIGKILL)
    assert eventually(lambda: (found := discovery.announced("m")) is not None and found.pid != endpoint.pid)
    assert eventually(lambda: healths("m") == ["up"] * 3)
    assert bz.model("m").chat("hello").text


def test_drained_deployment_refuses_requests_until_restart(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=2))
    manager.run(manager.drain(DrainSpec(model="m", worker=1)))
    assert healths("m") == ["up", "drained"]
    assert [bz.model("m").chat("hello").worker for _ in range(3)] == [0, 0, 0]
    manager.run(manager.drain(DrainSpec(model="m")))
    with pytest.raises(errors.NotDeployed, match=r"m is drained") as caught:
        bz.model("m").chat("hello")
    assert "restart --model m" in caught.value.hint
    list(manager.iterate(manager.restart(RestartSpec(model="m"))))
    assert healths("m") == ["up", "up"]
    assert bz.model("m").chat("hello").text


def test_restarted_engine_finishes_its_response_and_is_a_new_process(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    [before] = [worker.pid for worker in bz.model("l").stat().workers]
    stream = bz.model("l").stream("Tell me a story about a king.", max_tokens=60)
    next(stream)
    restart = threading.Thread(target=lambda: list(manager.iterate(manager.restart(RestartSpec(model="l")))))
    restart.start()
    assert len([chunk for chunk in stream if chunk.text]) > 20
    restart.join()
    [after] = bz.model("l").stat().workers
    assert after.pid != before
    assert after.health == "up"
    assert bz.model("l").chat("Hi", max_tokens=2).text


@pytest.mark.parametrize("spec", [DrainSpec(model="m", worker=7), RestartSpec(model="m", worker=7)])
def test_unknown_worker_is_an_error_with_the_known_ones(
    manager: Manager, provider: Process, spec: DrainSpec | RestartSpec
) -> None:
    deploy(manager, saas(provider))
    with pytest.raises(errors.CommandError, match="m has no worker 7") as caught:
        if isinstance(spec, DrainSpec):
            manager.run(manager.drain(spec))
        else:
            list(manager.iterate(manager.restart(spec)))
    assert caught.value.hint == "Its workers: 0."


def test_follow_sees_deployments_appear_disappear_and_recover(manager: Manager, provider: Process) -> None:
    fleets = manager.iterate(manager.follow())
    deploy(manager, saas(provider, num_workers=2))
    assert until(fleets, lambda fleet: "m" in fleet.models)
    bz.model("m").chat("hello")
    assert until(fleets, lambda fleet: sum(worker.requests for worker in fleet.models["m"].stat.workers) == 1)
    endpoint = discovery.announced("m")
    assert endpoint
    os.kill(endpoint.pid, signal.SIGSTOP)
    assert until(fleets, lambda fleet: time.monotonic() - fleet.models["m"].seen > 3), "silent, and known as such"
    os.kill(endpoint.pid, signal.SIGKILL)
    assert until(fleets, lambda fleet: sum(worker.requests for worker in fleet.models["m"].stat.workers) == 0)
    manager.run(manager.undeploy(UndeploySpec(model="m")))
    assert until(fleets, lambda fleet: "m" not in fleet.models)
    fleets.close()  # type: ignore[attr-defined]  # a generator


def until(fleets: Iterator[Fleet], true: object) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if true(next(fleets)):  # type: ignore[operator]  # a test's shorthand
            return True
    return False


def test_history_has_every_second(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    for _ in range(3):
        bz.model("m").chat("one two three four")
    assert eventually(lambda: sum(sample.requests for sample in manager.run(manager.history("m"))) == 3)
    assert eventually(lambda: len(manager.run(manager.history("m"))) > 2)
    samples = manager.run(manager.history("m"))
    assert sum(sample.tokens for sample in samples) > 0
    stat = bz.model("m").stat()
    assert stat.completion_tokens > 0
    gaps = [after.at - before.at for before, after in itertools.pairwise(samples)]
    assert min(gaps) > 0.9
