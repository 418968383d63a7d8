"""Deploying, asking, inspecting and removing, on a real Ray, against a provider in a separate process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.types import Event, Placed, Ready
from tests.conftest import KEY, alive
from tests.servers.process import Process, release
from tests.waiting import eventually

pytestmark = pytest.mark.ray


def saas(provider: Process, alias: str = "m", **more: object) -> DeploySpec:
    params = {"saas.base_url": f"{provider.url}/v1", "saas.api_key": KEY, "saas.model": "gpt-4o"}
    return DeploySpec(
        model=alias,
        pretrained_model_type="saas/openai",
        infer_params={**params, **more.pop("infer_params", {})},  # type: ignore[dict-item]  # a test's shorthand
        cpus_per_worker=0.001,
        **more,  # type: ignore[arg-type]
    )


def llama(gguf: Path, alias: str = "l", **more: object) -> DeploySpec:
    return DeploySpec(
        model=alias,
        infer_backend="llama_cpp",
        model_path=str(gguf),
        infer_params={"driver": "xllamacpp", "n_threads": "1", "n_ctx": "1024"},
        cpus_per_worker=0.001,
        **more,  # type: ignore[arg-type]
    )


def deploy(manager: Manager, spec: DeploySpec) -> list[Event]:
    return list(manager.iterate(manager.deploy(manager.plan(spec))))


def pid_of(manager: Manager, alias: str) -> int:
    link = manager.run(manager.connection.link(alias))
    return next(event.pid for event in manager.iterate(link.stream("watch")) if isinstance(event, Placed))


def test_api_model_chats_by_its_alias(manager: Manager, provider: Process) -> None:
    events = deploy(manager, saas(provider))
    assert isinstance(events[-1], Ready)
    result = bz.model("m").chat("hello world")
    assert result.text == "Echo: hello world"
    assert result.worker == 0
    assert result.usage
    assert result.usage.completion_tokens > 0


def test_local_model_streams_a_correct_response(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf))
    question = "What is the capital of France? Answer in one sentence."
    chunks = [chunk.text for chunk in bz.model("l").stream(question, temperature=0, max_tokens=30)]
    assert "Paris" in "".join(chunks)
    assert sum(bool(chunk) for chunk in chunks) > 3


def test_deploy_refuses_an_alias_in_use(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    bz.model("m").chat("one")
    with pytest.raises(errors.NameTaken, match=r"saas/openai, 1 worker, 1 request so far") as caught:
        deploy(manager, saas(provider))
    assert "--replace" in caught.value.hint


def test_deploy_with_replace_replaces_the_deployment(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    deploy(manager, saas(provider, num_workers=3, replace=True))
    assert len(bz.model("m").stat().workers) == 3


def test_requests_go_to_the_least_recently_used_worker(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=3))
    assert [bz.model("m").chat("x").worker for _ in range(6)] == [0, 1, 2, 0, 1, 2]
    stat = bz.model("m").stat().legacy()
    assert stat["total_requests"] == [2, 2, 2]
    assert list(stat) == [
        "total_workers", "busy_workers", "idle_workers", "load_balance_strategy",
        "total_requests", "state", "worker_max_concurrency", "workers_last_work_time",
    ]  # fmt: skip


def test_stat_is_correct_during_a_stream_and_after_it_is_closed(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=2, worker_concurrency=2))
    model = bz.model("m")
    stream = model.stream("tokens:500@50")
    next(stream)
    during = model.stat().legacy()
    assert (during["busy_workers"], during["state"]) == (1, [1, 2])
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert eventually(lambda: model.stat().legacy()["state"] == [2, 2])


def test_concurrency_limit_holds_across_processes(manager: Manager, provider: Process, shell: object) -> None:
    deploy(manager, saas(provider, worker_concurrency=2))
    prompt = "held:slots x"
    threads = [
        threading.Thread(target=shell, args=("chat", "m", prompt), kwargs={"easy": True})  # type: ignore[arg-type]
        for _ in range(3)
    ]
    threads += [threading.Thread(target=lambda: bz.model("m").chat(prompt)) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert eventually(lambda: ((stat := bz.model("m").stat()).workers[0].free, stat.queued) == (0, 7))
    release(provider, "slots")
    lowest = 2
    while any(thread.is_alive() for thread in threads):
        lowest = min(lowest, *(worker.free for worker in bz.model("m").stat().workers))
        time.sleep(0.02)
    assert lowest >= 0
    stat = bz.model("m").stat()
    assert stat.workers[0].free == 2
    assert stat.requests == 9


def test_undeploy_lets_a_request_finish(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(bz.model("m").chat("held:end hi").text))
    asking.start()
    assert eventually(lambda: bz.model("m").stat().busy == 1)
    pid = pid_of(manager, "m")
    threading.Timer(0.5, release, (provider, "end")).start()
    assert manager.run(manager.undeploy(UndeploySpec(model="m"))) == 0
    asking.join()
    assert answers == ["Echo: hi"]
    assert not alive(pid)
    assert manager.run(manager.aliases()) == []


def test_undeploy_with_force_does_not_wait(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    stream = bz.model("m").stream("tokens:1000@20")
    next(stream)
    assert manager.run(manager.undeploy(UndeploySpec(model="m", force=True))) == 1
    with pytest.raises(errors.NotDeployed, match="m was undeployed during the request"):
        list(stream)


def test_undeployed_engine_leaves_no_process(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf, num_workers=2))
    link = manager.run(manager.connection.link("l"))
    pids = [pid_of(manager, "l"), *engine_pids(manager)]
    assert len(pids) == 3
    manager.run(manager.undeploy(UndeploySpec(model="l")))
    assert not link.connected
    assert [pid for pid in pids if alive(pid)] == []


def engine_pids(manager: Manager, alias: str = "l") -> list[int]:
    return [worker.pid for worker in manager.run(manager.stat(alias)).workers]


def test_killed_api_pool_raises_worker_lost_and_recovers(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    stream = bz.model("m").stream("tokens:1000@50")
    first = next(stream).text
    pid = pid_of(manager, "m")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(errors.WorkerLost, match="died during the request"):
        list(stream)
    assert first
    assert bz.model("m").chat("again").text == "Echo: again"
    assert pid_of(manager, "m") != pid


def test_killed_or_stopped_engine_raises_worker_lost_and_the_other_one_serves(manager: Manager, gguf: Path) -> None:
    deploy(manager, llama(gguf, num_workers=2))
    model = bz.model("l")
    stream = model.stream("Tell me a very long story about a king.", max_tokens=500)
    while not next(stream).text:
        pass
    victim = engine_pids(manager)[0]
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(errors.WorkerLost):
        list(stream)
    assert model.chat("hi", max_tokens=3).worker == 1 or victim not in engine_pids(manager), "it is up again by now"
    assert eventually(lambda: {worker.health for worker in model.stat().workers} == {"up"})
    assert victim not in engine_pids(manager)

    stream = model.stream("Tell me a very long story about a king.", max_tokens=500)
    while not next(stream).text:
        pass
    [busy] = [worker for worker in model.stat().workers if worker.busy]
    os.kill(busy.pid, signal.SIGSTOP)
    with pytest.raises(errors.WorkerLost, match=rf"l worker {busy.index} hung: no sign of life for \d+ s"):
        list(stream)
    assert model.stat().workers[busy.index].health in ("hung", "loading", "up")
    assert model.chat("hi", max_tokens=3).worker == 1 - busy.index or not alive(busy.pid), "it is up again by now"
    assert eventually(lambda: {worker.health for worker in model.stat().workers} == {"up"})
    assert busy.pid not in engine_pids(manager)
    assert not alive(busy.pid)


def test_new_process_finds_the_alias_at_once(manager: Manager, provider: Process, shell: object) -> None:
    deploy(manager, saas(provider))
    done = shell("query", "--model", "m", "--query", "from a shell")  # type: ignore[operator]
    assert (done.returncode, done.stdout) == (0, "Echo: from a shell\n")


async def test_model_works_in_asyncio_programs(manager: Manager, provider: Process) -> None:
    await asyncio.to_thread(deploy, manager, saas(provider, worker_concurrency=8))
    model = bz.model("m")
    results = await asyncio.gather(*(model.achat(f"n{number}") for number in range(8)))
    assert [result.text for result in results] == [f"Echo: n{number}" for number in range(8)]
    assert "".join([chunk.text async for chunk in model.astream("x y")]) == "Echo: x y"


def test_chat_accepts_messages_in_openai_format(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    assert bz.model("m").chat(turns, system="s").text == "Echo: c"


# ---- what a user may do wrong


def test_unknown_alias_lists_the_deployed_ones(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, "gpt4o_chat"))
    with pytest.raises(errors.NotDeployed, match="gpt4_chat") as caught:
        bz.model("gpt4_chat").chat("x")
    assert "Did you mean gpt4o_chat?" in caught.value.hint
    with pytest.raises(errors.NotDeployed):
        manager.run(manager.undeploy(UndeploySpec(model="nothing")))


def test_missing_resources_are_reported_at_once(manager: Manager, provider: Process) -> None:
    with pytest.raises(errors.NoRoom, match=r"Not enough GPUs for [^ ]+: 3 requested, [0-9.]+ of 2 free") as caught:
        deploy(manager, saas(provider, gpus_per_worker=1, num_workers=3))
    assert "--gpus_per_worker" in caught.value.hint
    assert manager.run(manager.aliases()) == []


def test_wrong_key_error_is_one_line_without_the_key(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, infer_params={"saas.api_key": "sk-wrong-key-123456"}))
    for ask in (lambda: bz.model("m").chat("x"), lambda: list(bz.model("m").stream("x"))):
        with pytest.raises(errors.AuthenticationFailed, match="401") as caught:
            ask()
        assert "sk-wrong" not in str(caught.value)
        assert "\n" not in caught.value.message


def test_retry_after_reaches_the_caller(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, infer_params={"saas.max_retries": "0"}))
    with pytest.raises(errors.RateLimited) as caught:
        bz.model("m").chat("fault:429 retry_after=3 x")
    assert caught.value.details["retry_after"] == 3.0


def test_unreachable_provider_is_provider_unavailable(manager: Manager, provider: Process) -> None:
    params = {"saas.base_url": "http://127.0.0.1:9/v1", "saas.max_retries": "0"}
    deploy(manager, saas(provider, infer_params=params))
    with pytest.raises(errors.ProviderUnavailable, match=r"127\.0\.0\.1:9"):
        bz.model("m").chat("x")


def test_timeout_ends_the_request(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    for seconds in (0.3, 3, 30):  # a busy machine may take longer until something has come
        with pytest.raises(errors.DeadlineExceeded, match=rf"within {seconds:g} s") as caught:
            bz.model("m").chat("fault:hang one two", timeout=seconds)
        if caught.value.partial.text:
            break
    assert caught.value.partial.text == "Echo: one", "what came until then is kept, also what the pool still held"
    assert eventually(lambda: bz.model("m").stat().busy == 0)


def test_failed_deploy_leaves_no_alias(manager: Manager, gguf: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:1_000_000])
    with pytest.raises(errors.ByzerError):
        deploy(manager, llama(broken))
    assert manager.run(manager.aliases()) == []


def test_interrupted_deploy_leaves_nothing(manager: Manager, gguf: Path) -> None:
    events = manager.iterate(manager.deploy(manager.plan(llama(gguf))))
    pid = next(event.pid for event in events if isinstance(event, Placed))
    events.close()  # type: ignore[attr-defined]  # a generator; Ctrl-C ends here too
    assert manager.run(manager.aliases()) == []
    assert not alive(pid)


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.05, 0.1, 0.3, 0.6])
def test_deploy_interrupted_at_any_moment_leaves_no_alias(moment: float, manager: Manager, provider: Process) -> None:
    events = manager.deploy(manager.plan(saas(provider)))

    async def start_and_stop() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(drain(events), moment)

    manager.run(start_and_stop())
    assert eventually(lambda: manager.run(manager.aliases()) == [])


async def drain(events: object) -> None:
    async with contextlib.aclosing(events) as items:  # type: ignore[type-var]  # an async generator
        async for _ in items:
            await asyncio.sleep(10)


def test_key_is_nowhere_in_ray(manager: Manager, provider: Process, ray_env: dict[str, str]) -> None:
    deploy(manager, saas(provider))
    with pytest.raises(errors.ByzerError):
        bz.model("m").chat("fault:leak")
    bz.model("m").chat("hello")
    session = Path(ray_env["RAY_TMPDIR"]) / f"byzer-{os.getuid()}" / "ray" / "session_latest" / "logs"
    leaks = [path for path in session.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    assert leaks == []
    pid = pid_of(manager, "m")
    assert KEY.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    assert KEY not in "\n".join(manager.run(manager.logs("m", 1000)))


COMMAND_SECONDS = 1.0
"""The pause between two looks that are a command each, which takes a second of CPU."""


def test_deployment_uses_the_proxy_of_whoever_deploys_it(
    manager: Manager, provider: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The Ray of the tests has started without one. Our provider is the proxy, so that no request leaves the machine.
    spec = saas(provider, infer_params={"saas.base_url": "http://models.example.com/v1"})
    monkeypatch.setenv("http_proxy", provider.url)
    plan = manager.plan(spec)
    monkeypatch.delenv("http_proxy")
    assert isinstance(list(manager.iterate(manager.deploy(plan)))[-1], Ready)
    assert bz.model("m").chat("hello world").text == "Echo: hello world"
