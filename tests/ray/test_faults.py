"""What is killed, stopped or done twice at once: nothing hangs, nothing is left, and every request is accounted for."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.types import ChatRequest, Message, Ready
from tests.conftest import Shell, alive
from tests.ray.test_controller import controller_pid
from tests.ray.test_deploy import deploy, pid_of, saas
from tests.servers.process import Process, last, received
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

REQUESTS = 10_000


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Keep a process stopped, as a debugger or a machine that swaps does."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def start(shell: Shell, *command: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "byzer_magic.cli", *command]
    return subprocess.Popen(words, env=shell.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_requests_run_while_the_controller_is_stopped_and_commands_say_that_it_does_not_answer(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    pid = controller_pid(manager)
    with stopped(pid):
        assert bz.model("m").chat("hello").text == "Echo: hello"
        assert shell("query", "--model", "m", "--query", "hi").stdout.strip().endswith("Echo: hi")
        done = shell("list")
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert "does not respond" in done.stderr
    assert "m" in shell("list").stdout
    assert controller_pid(manager) == pid


def test_request_to_a_pool_that_is_stopped_ends_at_its_deadline(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    deploy(manager, saas(provider, "other"))
    with stopped(pid_of(manager, "m")):
        with pytest.raises((errors.DeadlineExceeded, errors.WorkerLost)):
            bz.model("m").chat("hello", timeout=2)
        assert bz.model("other").chat("hello").text, "others are not concerned"
        assert "other" in shell("stat").stdout
    assert bz.model("m").chat("hello").text == "Echo: hello", "it goes on where it was stopped"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_shell_that_ends_during_a_stream_cancels_it(
    number: int, manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    before = received(provider)
    with start(shell, "query", "--model", "m", "--query", "tokens:3000@20") as face:
        assert eventually(lambda: received(provider) > before)
        face.send_signal(number)
        assert face.wait(PATIENCE) != 0
        assert "Traceback" not in face.stderr.read()  # type: ignore[union-attr]  # a pipe
    assert eventually(lambda: "gone" in last(provider))
    assert eventually(lambda: bz.model("m").stat().busy == 0)
    outcomes = bz.model("m").stat().outcomes
    assert (outcomes.admitted, outcomes.cancelled) == (1, 1)


def test_stopped_shell_holds_back_its_own_stream_only(manager: Manager, shell: Shell, provider: Process) -> None:
    deploy(manager, saas(provider, worker_concurrency=4))
    before = received(provider)
    with start(shell, "query", "--model", "m", "--query", "tokens:60@40") as face:
        assert eventually(lambda: received(provider) > before)
        with stopped(face.pid):
            assert bz.model("m").chat("hello").text == "Echo: hello"
        out, _err = face.communicate(timeout=60)
    assert face.returncode == 0
    assert len(out.split()) >= 60, "nothing of its own is lost"


def test_deploy_and_undeploy_at_once_leave_either_all_or_nothing(manager: Manager, provider: Process) -> None:
    for pause in (0.0, 0.05, 0.2, 0.5):
        failures: list[BaseException] = []

        def create(failures: list[BaseException] = failures) -> None:
            try:
                deploy(manager, saas(provider))
            except errors.ByzerError as err:
                failures.append(err)

        creating = threading.Thread(target=create)
        creating.start()
        time.sleep(pause)
        with suppress(errors.NotDeployed):
            manager.run(manager.undeploy(UndeploySpec(model="m", force=True)))
        creating.join()
        for failure in failures:
            assert isinstance(failure, errors.DeployError), failure
        if manager.run(manager.aliases()) == ["m"]:
            assert bz.model("m").chat("hello").text == "Echo: hello"
            manager.run(manager.undeploy(UndeploySpec(model="m", force=True)))
        assert manager.run(manager.aliases()) == []


def test_two_updates_of_an_alias_at_once_come_one_after_the_other(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider))
    done: list[object] = []

    def update(workers: int) -> None:
        plan = manager.plan(saas(provider, num_workers=workers))
        try:
            done.append(list(manager.iterate(manager.update(plan)))[-1])
        except errors.ByzerError as err:
            done.append(err)

    threads = [threading.Thread(target=update, args=[workers]) for workers in (2, 3, 4)]
    for thread in threads:
        thread.start()
    asked = 0
    while any(thread.is_alive() for thread in threads):
        assert bz.model("m").chat("hello").text == "Echo: hello"
        asked += 1
    assert asked
    assert all(isinstance(each, Ready) for each in done), done
    assert len(bz.model("m").stat().workers) in (2, 3, 4)
    assert bz.model("m").stat().outcomes.failed == 0


async def _ask(manager: Manager, seed: int) -> str:
    """Ask once, and leave after a random time in one of three cases; return how it ended."""
    chance = random.Random(seed)
    request = ChatRequest(messages=[Message("user", "slow:5ms hi")])

    async def read() -> None:
        async for _item in manager.ask("m", request):
            pass

    try:
        async with asyncio.timeout(chance.uniform(0, 3) if chance.random() < 0.33 else None):
            await read()
    except TimeoutError:
        return "cancelled"
    except errors.ByzerError as err:
        return type(err).__name__
    return "done"


def test_ten_thousand_requests_are_accounted_for_while_workers_come_and_go(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, num_workers=3, worker_concurrency=16))
    assert bz.model("m").chat("before it").text == "Echo: before it"
    changes = 0

    async def change() -> None:
        nonlocal changes
        while True:
            for workers in (1, 4, 2, 3):
                async for _event in manager.scale(ScaleSpec(model="m", num_workers=workers)):
                    pass
                async for _event in manager.restart(RestartSpec(model="m", worker=0, grace=0.05)):
                    pass
                changes += 1
                await asyncio.sleep(0.1)

    async def storm() -> list[str]:
        changing = asyncio.create_task(change())
        try:
            return await asyncio.gather(*(_ask(manager, seed) for seed in range(REQUESTS)))
        finally:
            changing.cancel()
            with suppress(asyncio.CancelledError):
                await changing

    ends = manager.run(storm())
    assert changes > 3
    assert eventually(lambda: bz.model("m").stat().busy == 0 and bz.model("m").stat().queued == 0)
    stat = bz.model("m").stat()
    outcomes = stat.outcomes
    assert outcomes.admitted == outcomes.done + outcomes.failed + outcomes.cancelled
    assert outcomes.done >= ends.count("done") > REQUESTS // 3
    assert outcomes.cancelled > 0
    assert outcomes.admitted + ends.count("Overloaded") <= REQUESTS + 1
    assert all(worker.free == worker.limit for worker in stat.workers)
    assert bz.model("m").chat("after it").text == "Echo: after it"
    assert alive(pid_of(manager, "m"))
