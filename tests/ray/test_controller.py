"""The controller: faces deploy without Ray, and nothing is lost when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands import parser
from byzer_magic.runtime.cluster import discovery
from tests.conftest import Shell, alive
from tests.ray.test_deploy import deploy, pid_of, saas
from tests.servers.process import Process
from tests.waiting import eventually

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

FACE = """
import sys
from byzer_magic.cli import main
import byzer_magic as bz

assert main(sys.argv[1:]) == 0
assert bz.model("m").chat("hello").text
for command in (["list"], ["stat", "--model", "m"], ["scale", "--model", "m", "--num_workers", "2"], ["doctor"]):
    assert main(command) == 0, command
assert main(["undeploy", "--model", "m"]) == 0
found = sorted(name for name in sys.modules if name.partition(".")[0] in ("ray", "grpc"))
sys.exit(f"loaded: {found}" if found else 0)
"""


def is_free(manager: Manager) -> bool:
    """Return whether nothing of the cluster's CPUs is taken; Ray notes what is freed with a delay."""
    free, total = (manager.room() or {})["CPU"]
    return free == total


def controller_pid(manager: Manager) -> int:
    endpoint = discovery.controller(manager.connect())
    assert endpoint is not None
    return endpoint.pid


def test_process_that_deploys_asks_lists_and_undeploys_never_imports_ray(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    (script := shell.folder / "face.py").write_text(FACE)
    command = [sys.executable, str(script), *parser.split(parser.line(saas(provider)))]
    done = subprocess.run(command, env=shell.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_controller_that_was_killed_finds_its_deployments_again(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    first, pool = controller_pid(manager), pid_of(manager, "m")
    os.kill(first, signal.SIGKILL)
    assert bz.model("m").chat("hello").text, "requests do not need it"
    assert "m" in shell("list").stdout
    assert controller_pid(manager) != first
    deploy(manager, saas(provider, "n"))
    assert manager.run(manager.aliases()) == ["m", "n"]
    assert pid_of(manager, "m") == pool, "the pool was left alone"
    assert shell("undeploy", "--model", "m").returncode == 0
    assert not alive(pool)


def test_commands_go_on_around_a_controller_that_is_killed_again_and_again(
    manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    pool = pid_of(manager, "m")
    for command in (["list"], ["stat"], ["scale", "--model", "m", "--num_workers", "2"], ["undeploy", "--model", "m"]):
        os.kill(controller_pid(manager), signal.SIGKILL)
        done = shell(*command)
        assert done.returncode == 0, done.stderr
    assert "m  " not in shell("list").stdout
    assert not alive(pool)


@pytest.mark.parametrize("command", [["list"], ["undeploy", "--model", "m", "--grace", "0"]], ids=["list", "undeploy"])
def test_command_whose_controller_is_killed_succeeds_or_can_be_repeated(
    command: list[str], manager: Manager, shell: Shell, provider: Process
) -> None:
    deploy(manager, saas(provider))
    pool = pid_of(manager, "m")
    killed = controller_pid(manager)
    os.kill(killed, signal.SIGSTOP)  # so that it dies with the command in its hands
    words = [sys.executable, "-m", "byzer_magic.cli", *command]
    with subprocess.Popen(words, env=shell.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as face:
        time.sleep(1.5)
        os.kill(killed, signal.SIGKILL)
        out, err = face.communicate(timeout=60)
    if face.returncode:
        assert "Error: " in err
        assert "Traceback" not in err
        done = shell(*command)
        assert done.returncode == 0 or "No model is deployed as 'm'" in done.stderr, done.stderr
        out = done.stdout
    if command == ["list"]:
        assert "m  " in out
        assert pid_of(manager, "m") == pool
        return
    assert manager.run(manager.aliases()) == []
    assert not alive(pool)
    assert eventually(lambda: is_free(manager))


def test_deploy_whose_controller_is_killed_fails_and_leaves_nothing(manager: Manager, gguf: object) -> None:
    from tests.ray.test_deploy import llama

    spec = llama(gguf)  # type: ignore[arg-type]  # a fixture
    events = manager.iterate(manager.deploy(manager.plan(spec)))
    next(events)
    os.kill(controller_pid(manager), signal.SIGKILL)
    with pytest.raises(errors.DeployError, match="controller"):
        for _event in events:
            pass
    assert eventually(lambda: manager.run(manager.aliases()) == [], pause=0.2)
    assert eventually(lambda: is_free(manager))


def test_face_that_is_killed_while_it_deploys_leaves_nothing(manager: Manager, shell: Shell, gguf: object) -> None:
    from tests.ray.test_deploy import llama

    line = parser.split(parser.line(llama(gguf)))  # type: ignore[arg-type]  # a fixture
    command = [sys.executable, "-m", "byzer_magic.cli", *line]
    with subprocess.Popen(command, env=shell.env, stderr=subprocess.PIPE, text=True) as face:
        assert face.stderr
        assert any("placed" in text for text in face.stderr)
        face.kill()
    assert eventually(lambda: manager.run(manager.aliases()) == [], pause=0.2)


def test_of_two_deploys_of_an_alias_at_once_one_wins(manager: Manager, provider: Process) -> None:
    outcomes: list[object] = []

    def one() -> None:
        try:
            outcomes.append(deploy(manager, saas(provider))[-1])
        except errors.NameTaken as err:
            outcomes.append(err)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, errors.NameTaken) for outcome in outcomes) == 3
    assert bz.model("m").chat("hello").text
