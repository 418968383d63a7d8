"""Engines as workers: loaded, watched, killed and ended, with nothing left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.own_folder import own_folder
from byzer_magic.runtime.workers.reaper import PREFIXES, SHARED, shared
from byzer_magic.types import Loading, Ready
from tests.conftest import alive
from tests.models.tiny_qwen2 import tiny_qwen2
from tests.ray.test_deploy import deploy, llama
from tests.waiting import eventually

pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(600)]


LONG = {"max_tokens": 1900, "extra_body": {"ignore_eos": True}}
"""An answer that is still going on when its engine is killed."""


def vllm(**more: object) -> DeploySpec:
    params = {"backend.max_model_len": "2048", "temperature": "0"}
    return DeploySpec(
        model="v",
        infer_backend="vllm",
        model_path=str(tiny_qwen2()),
        infer_params={**params, **more.pop("infer_params", {})},  # type: ignore[dict-item]  # a test's shorthand
        cpus_per_worker=0.001,
        **more,  # type: ignore[arg-type]
    )


def family(pid: int) -> list[int]:
    """Return a worker's process and all that it has started."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def worker_pids(alias: str) -> list[int]:
    return [worker.pid for worker in bz.model(alias).stat().workers if worker.pid]


def gone(pids: list[int]) -> bool:
    return eventually(lambda: not any(map(alive, pids)))


def test_two_workers_load_concurrently_alternate_and_free_their_memory_at_once(manager: Manager, gguf: Path) -> None:
    events = deploy(manager, llama(gguf, num_workers=2))
    loaded = {event.worker for event in events if isinstance(event, Loading)}
    assert loaded == {0, 1}
    assert isinstance(events[-1], Ready)
    assert [bz.model("l").chat("Hi", max_tokens=2).worker for _ in range(4)] == [0, 1, 0, 1]
    pids = [pid for worker in worker_pids("l") for pid in family(worker)]
    assert len(pids) >= 2
    manager.run(manager.undeploy(UndeploySpec(model="l")))
    assert not any(map(alive, pids)), "when the command returns"


def test_worker_killed_while_loading_fails_the_deploy(manager: Manager) -> None:
    events = manager.iterate(manager.deploy(manager.plan(vllm())))
    killed = False
    with pytest.raises(errors.EngineFailed, match="worker 0 died while it was loading the model") as caught:
        for event in events:
            if isinstance(event, Loading) and not killed:
                [pid] = eventual_pids()
                os.kill(pid, signal.SIGKILL)
                killed = True
    assert "memory" in caught.value.hint
    assert manager.run(manager.aliases()) == []


def eventual_pids() -> list[int]:
    assert eventually(lambda: len(worker_pids("v")) == 1)
    return worker_pids("v")


def visible_gpus(pid: int) -> str:
    return psutil.Process(pid).environ().get("CUDA_VISIBLE_DEVICES", "all")


def test_interrupted_load_leaves_no_process_and_no_alias(manager: Manager) -> None:
    events = manager.iterate(manager.deploy(manager.plan(vllm())))
    for event in events:
        if isinstance(event, Loading) and event.stage.startswith("loading") and len(family(worker_pids("v")[0])) > 1:
            break
    pids = family(worker_pids("v")[0])
    assert {visible_gpus(pid) for pid in pids[1:]} == {""}, "none is reserved, so all are hidden"
    started = time.monotonic()
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    print(f"interrupted in {time.monotonic() - started:.2f} s, {len(pids)} processes")
    assert gone(pids)
    assert eventually(lambda: not list((own_folder() / "t").iterdir())), "nor the sockets of its processes"
    assert manager.run(manager.aliases()) == []


def test_failed_load_reports_the_reason_and_keeps_its_log(manager: Manager, gguf: Path, tmp_path: Path) -> None:
    """What the engine wrote is the reason that people see; tests/engines have one found by a process of an engine."""
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(gguf.read_bytes().replace(b"llama.block_count", b"llama.block_coast", 1))
    with pytest.raises(errors.EngineFailed, match="block_count") as caught:
        deploy(manager, llama(odd))
    assert "\n" not in caught.value.message
    assert "logs --model l" in caught.value.hint
    assert any("error loading model" in line for line in manager.failed_log("l"))
    assert manager.run(manager.aliases()) == []


def test_several_gpus_of_a_worker_are_one_placement_group(manager: Manager, driver: Any) -> None:
    events = deploy(manager, vllm(gpus_per_worker=2, worker_concurrency=4))
    ready = events[-1]
    assert isinstance(ready, Ready)
    assert ready.capabilities == ["chat", "tools"]
    assert [(group["strategy"], list(group["bundles"].values())) for group in created(driver)] == [
        ("PACK", [{"GPU": 2.0, "CPU": 0.001}])
    ]
    [pid] = worker_pids("v")
    ranks = [name for name in map(title, family(pid)) if "Worker" in name]
    assert len(ranks) == 2, "one process for each rank of the tensor parallelism"
    core = next(child for child in family(pid) if "EngineCore" in title(child))
    assert len(visible_gpus(core).split(",")) == 2
    segments = {SHARED / name for name in shared(family(pid)) if name.startswith(PREFIXES)}
    assert segments, "through which the ranks get their work"
    assert bz.model("v").chat("hello", max_tokens=3).usage.completion_tokens == 3  # type: ignore[union-attr]

    stream = bz.model("v").stream("a story", **LONG)
    next(stream)
    os.kill(core, signal.SIGKILL)
    with pytest.raises(errors.RequestError):
        list(stream)
    assert eventually(lambda: bz.model("v").stat().workers[0].health != "up"), "stat shows it"
    assert gone([pid])
    manager.run(manager.undeploy(UndeploySpec(model="v", force=True)))
    assert eventually(lambda: not any(segment.exists() for segment in segments))
    assert not created(driver)


def title(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def test_killed_engine_comes_back_and_so_does_a_killed_pool(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    stream = bz.model("l").stream("Tell me a very long story about a king.", max_tokens=500)
    while not next(stream).text:
        pass
    os.kill(worker_pids("l")[0], signal.SIGKILL)
    with pytest.raises(errors.WorkerLost, match="died during the request"):
        list(stream)
    assert eventually(lambda: [worker.health for worker in bz.model("l").stat().workers] == ["up"])
    assert bz.model("l").stat().errors == 1, "the request was not repeated"
    assert "worker 0 died" in "\n".join(manager.run(manager.logs("l", 100)))

    endpoint = discovery.announced("l")
    assert endpoint
    pids = [pid for worker in worker_pids("l") for pid in family(worker)]
    os.kill(endpoint.pid, signal.SIGKILL)
    assert gone(pids)
    assert "Paris" in bz.model("l").chat("What is the capital of France? Answer in one sentence.", temperature=0).text


def load_error(alias: str) -> str:
    try:
        return bz.model(alias).stat().error
    except errors.WorkerLost:  # killed a moment ago
        return ""


def created(driver: Any) -> list[dict[str, Any]]:
    """Return the placement groups that there are now."""
    return [group for group in driver.util.placement_group_table().values() if group["state"] == "CREATED"]


def test_pool_that_cannot_reload_reports_it_and_retries(
    manager: Manager, driver: Any, gguf: Path, tmp_path: Path
) -> None:
    """Ray restarts a killed pool; its model's file is away for a while."""
    model = tmp_path / "model.gguf"
    model.hardlink_to(gguf)
    deploy(manager, llama(model, gpus_per_worker=2))
    assert len(created(driver)) == 1
    endpoint = discovery.announced("l")
    assert endpoint
    away = model.rename(tmp_path / "away")
    os.kill(endpoint.pid, signal.SIGKILL)
    assert eventually(lambda: load_error("l") != "")
    with pytest.raises(errors.NotDeployed, match=r"l could not be loaded: .*model\.gguf does not exist"):
        bz.model("l").chat("Hi")
    with pytest.raises(errors.NotDeployed, match="could not be loaded"):
        Manager().run(manager.capabilities("l"))
    assert bz.model("l").stat().workers[0].health == "down"
    away.rename(model)
    assert eventually(lambda: load_error("l") == "")
    assert bz.model("l").chat("Hi", max_tokens=2).text
    assert len(created(driver)) == 1, "the GPUs are reserved once"
    manager.run(manager.undeploy(UndeploySpec(model="l")))
    assert created(driver) == []


def test_model_undeployed_while_loading_raises_not_deployed(manager: Manager) -> None:
    events = manager.iterate(manager.deploy(manager.plan(vllm())))
    with pytest.raises(errors.NotDeployed, match="undeployed while it was loading"):
        for event in events:
            if isinstance(event, Loading):
                other = Manager()
                other.connect()
                other.run(other.undeploy(UndeploySpec(model="v")))
    assert manager.failed_log("v") == []


def test_worker_too_large_for_any_node_is_refused_at_once(manager: Manager, gguf: Path) -> None:
    with pytest.raises(errors.NoRoom, match=r"64 GPUs on one node; the largest node has \d"):
        deploy(manager, llama(gguf, gpus_per_worker=64, num_workers=1))


def test_two_engines_serve_concurrently(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    deploy(manager, llama(gguf, "other"))
    answers: dict[str, str] = {}

    def ask(alias: str) -> None:
        answers[alias] = bz.model(alias).chat("Hi", max_tokens=5).model

    threads = [threading.Thread(target=ask, args=(alias,)) for alias in ("l", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"l": "l", "other": "other"}


def test_plan_imports_no_engine(ray_env: dict[str, str]) -> None:
    code = (
        "import sys, byzer_magic as bz; from byzer_magic.commands.spec import DeploySpec;"
        "manager = bz.default_manager();"
        f"spec = DeploySpec(model='x', infer_backend='vllm', model_path={str(tiny_qwen2())!r},"
        " infer_params={'backend.max_model_len': '64'}); manager.plan(spec);"
        "print([name for name in ('torch', 'vllm', 'transformers', 'ray') if name in sys.modules])"
    )
    env = {**ray_env, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout == "[]\n", done.stderr
