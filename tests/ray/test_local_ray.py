"""The local Ray with faults planted into its start: what is noticed, what is named, what stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from byzer_magic.runtime.cluster import loopback
from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.conftest import Shell, short_folder
from tests.ray.test_deploy import eventually
from tests.users import ALICE, BOB, needs_root

pytestmark = pytest.mark.ray

SLOW_AGENTS = """
import sys, time
if any("dashboard/agent.py" in word or "runtime_env/agent/main.py" in word for word in sys.orig_argv):
    time.sleep(40)
"""
FAILING_AGENT = """
import sys
if any("{agent}" in word for word in sys.orig_argv):
    raise SystemExit("planted: no agent")
"""


@pytest.fixture
def apart(shell: Shell, ray_folder: Path) -> Iterator[Shell]:
    """A shell with a Ray of its own, of which nothing is left in the end."""
    shell.env |= {"RAY_TMPDIR": str(ray_folder), "BYZER_LOCAL_CPUS": "2"}
    yield shell
    shell.env["PYTHONPATH"] = str(Path(__file__).parents[2])
    shell("shutdown")
    assert eventually(lambda: not processes(ray_folder), 30), processes(ray_folder)


def processes(folder: Path, name: str = "") -> list[psutil.Process]:
    """Return the processes that a Ray in a folder consists of; with a name, those of that executable."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if name and process.name() != name:  # cheaper than its command line
                continue
            if any(str(folder) in word for word in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def plant(shell: Shell, code: str) -> None:
    """Have all Python processes of a shell run some code when they begin."""
    folder = shell.folder / "planted"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    shell.env["PYTHONPATH"] = f"{folder}:{shell.env['PYTHONPATH']}"


@contextlib.contextmanager
def killing(name: str, folder: Path, how: Callable[[psutil.Process], None] = psutil.Process.kill) -> Iterator[None]:
    """While the block runs, kill each process with an executable's name that belongs to a Ray in a folder."""
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.1):
            for process in processes(folder, name):
                with contextlib.suppress(psutil.Error):
                    how(process)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def named_log(text: str) -> str:
    """Return what the log says that an error names."""
    match = re.search(r"From (/\S+):\n", text)
    assert match, text
    return Path(match[1]).read_text(errors="replace")


def test_agents_that_come_up_late_delay_nothing(apart: Shell) -> None:
    plant(apart, SLOW_AGENTS)
    done = apart("connect")
    assert done.returncode == 0, done.stderr
    deploy = "--pretrained_model_type saas/openai --infer_params saas.model=m saas.base_url=http://127.0.0.1:9/v1"
    done = apart("deploy", "--model", "m", *deploy.split(), "saas.api_key=k")
    assert done.returncode == 0, done.stderr
    assert "m  " in apart("list").stdout


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_killed_process_ends_the_wait_and_is_named(name: str, apart: Shell, ray_folder: Path) -> None:
    with killing(name, ray_folder):
        done = apart("connect")  # it would wait for 120 s, longer than the shell may take
    assert done.returncode == 1
    assert f"The local Ray could not start: {name} was killed (SIGKILL). Trying once more ..." in done.stderr
    assert f"Error: The local Ray could not start: {name} was killed (SIGKILL)." in done.stderr
    assert processes(ray_folder) == []
    assert apart("connect").returncode == 0, "nothing of it is in the way"


@pytest.mark.parametrize(
    ("agent", "script"), [("dashboard_agent", "dashboard/agent.py"), ("runtime_env_agent", "runtime_env/agent/main.py")]
)
def test_agent_that_fails_is_named_with_the_log_that_tells(agent: str, script: str, apart: Shell) -> None:
    plant(apart, FAILING_AGENT.format(agent=script))
    done = apart("connect")
    assert done.returncode == 1
    assert f"Error: The local Ray could not start: {agent} failed, and raylet with it." in done.stderr
    assert "planted: no agent" in named_log(done.stderr)
    assert "planted: no agent" in done.stderr.partition("Error:")[2]


def test_path_that_is_too_long_for_sockets_is_named(apart: Shell, ray_folder: Path) -> None:
    folder = ray_folder / ("long" * 12)
    apart.env["RAY_TMPDIR"] = str(folder)
    done = apart("connect")
    assert done.returncode == 1
    assert f"{folder}/byzer-{os.getuid()} is too long a path for its sockets." in done.stderr
    assert "Set RAY_TMPDIR to a folder with a short path" in done.stderr
    assert "Trying once more" not in done.stderr


def test_start_that_is_late_names_what_it_waits_for(apart: Shell, ray_folder: Path) -> None:
    apart.env["BYZER_START_SECONDS"] = "4"
    with killing("gcs_server", ray_folder, psutil.Process.suspend):
        done = apart("connect")
    assert done.returncode == 1
    assert "The local Ray did not start within 4 s: still waiting for" in done.stderr
    assert "BYZER_START_SECONDS" in done.stderr
    assert processes(ray_folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_start_that_nobody_waits_for_any_longer_leaves_nothing(number: int, apart: Shell, ray_folder: Path) -> None:
    code = "import sys; from byzer_magic.cli import main; sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", code, "connect"], env=apart.env, stderr=subprocess.DEVNULL) as shell:
        assert eventually(lambda: bool(processes(ray_folder)), 60)
        shell.send_signal(number)
        assert shell.wait(60) == (130 if number == signal.SIGINT else -number)
    assert eventually(lambda: not processes(ray_folder), 30), processes(ray_folder)
    assert not list((ray_folder / f"byzer-{os.getuid()}").glob("byzer_head.json"))


def test_ray_that_dies_later_is_replaced(apart: Shell, ray_folder: Path) -> None:
    assert apart("connect").returncode == 0
    file = ray_folder / f"byzer-{os.getuid()}" / "byzer_head.json"
    head = json.loads(file.read_text())
    with killing("raylet", ray_folder):
        assert eventually(lambda: not psutil.pid_exists(head["pid"]), 60)
    done = apart("connect")
    assert done.returncode == 0, done.stderr
    assert json.loads(file.read_text())["pid"] != head["pid"]


def test_ray_address_of_the_environment_may_be_auto_or_local(apart: Shell) -> None:
    apart.env["RAY_ADDRESS"] = " AUTO\n"
    done = apart("list")
    assert done.returncode == 0, done.stderr
    assert "starting a local one" in done.stderr
    assert "Nothing is deployed." in done.stderr
    for value in ("auto", "local"):
        apart.env["RAY_ADDRESS"] = value
        assert apart("connect").stderr.startswith("Connected to Ray at ")


def test_it_listens_on_loopback_only_and_any_driver_finds_it(apart: Shell, ray_folder: Path) -> None:
    apart.env |= {"HOME": str(ray_folder / "home")}
    (ray_folder / "home").mkdir()
    assert apart("connect").returncode == 0
    code = "import ray; ray.init({}); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    for address in ("address='auto'", ""):
        done = subprocess.run(
            [sys.executable, "-c", code.format(address)],
            env=child_environment(apart.env | {"RAY_ADDRESS": "auto"}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.stdout.strip() == "42", done.stderr
    deploy = "deploy --model m --pretrained_model_type saas/openai --infer_params saas.model=m saas.api_key=k"
    assert apart(*deploy.split(), "saas.base_url=http://127.0.0.1:9/v1").returncode == 0
    token = ray_folder / "home" / ".ray" / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    hosts = {host for process in processes_of_head(ray_folder) for host in listening(process)}
    assert hosts == {"127.0.0.1"}
    port = (ray_folder / "ray" / "ray_current_cluster").read_text().rpartition(":")[2]
    for typed in (f"127.0.0.1:{port}", f"localhost:{port}"):
        done = apart("list", "--ray_address", typed)
        assert "m  " in done.stdout, done.stderr


def processes_of_head(folder: Path) -> list[psutil.Process]:
    """Return the process that holds the local Ray of a folder, and all that it has started."""
    head = json.loads((folder / f"byzer-{os.getuid()}" / "byzer_head.json").read_text())["pid"]
    session = os.getsid(head)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(OSError):
            if os.getsid(process.pid) == session:
                found.append(process)
    return found


def listening(process: psutil.Process) -> set[str]:
    """Return the IP addresses at which a process listens."""
    with contextlib.suppress(psutil.NoSuchProcess):
        sockets = process.net_connections("inet")
        return {each.laddr.ip.removeprefix("::ffff:") for each in sockets if each.status == psutil.CONN_LISTEN}
    return set()


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv gives a user the right to read this Python")
def test_two_users_have_a_ray_each(shell: Shell) -> None:
    with short_folder() as base:
        Path(base).chmod(0o755)
        shared = Path(base) / "t"
        shared.mkdir()
        shared.chmod(0o1777)
        for uid in (ALICE, BOB):
            (Path(base) / str(uid)).mkdir()
            os.chown(Path(base) / str(uid), uid, uid)

        def run(uid: int, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
            code = "import sys; from byzer_magic.cli import main; sys.exit(main())"
            caps = "+dac_read_search"
            command = f"setpriv --reuid={uid} --regid={uid} --clear-groups --inh-caps={caps} --ambient-caps={caps}"
            env = {**shell.env, "HOME": f"{base}/{uid}", "RAY_TMPDIR": str(shared), "BYZER_LOCAL_CPUS": "1", **more}
            return subprocess.run(
                [*command.split(), sys.executable, "-c", code, *words],
                capture_output=True, text=True, timeout=120, env=env, cwd="/", check=False,
            )  # fmt: skip

        try:
            first = run(ALICE, "connect")
            assert first.returncode == 0, first.stderr
            address = loopback.plain((shared / "ray" / "ray_current_cluster").read_text())
            second = run(BOB, "list")
            assert "Nothing is deployed." in second.stderr, second.stderr
            assert f"The Ray at {address} belongs to user {ALICE}: starting one of your own" in second.stderr
            assert f"Connected to Ray at {address}" in run(ALICE, "connect").stderr
            infer = (
                "--pretrained_model_type saas/openai --infer_params saas.model=m saas.base_url=http://127.0.0.1:9/v1"
            )
            deployed = run(ALICE, "deploy", "--model", "alices", *infer.split(), "saas.api_key=k")
            assert deployed.returncode == 0, deployed.stderr
            assert "Nothing is deployed." in run(BOB, "list").stderr
            assert stat.S_IMODE((shared / f"byzer-{ALICE}").stat().st_mode) == 0o700
            assert f"Connected to Ray at {address}" not in run(BOB, "connect").stderr
            asked = run(BOB, "list", "--ray_address", address)
            assert f"The Ray at {address} belongs to user {ALICE} and does not accept your connection." in asked.stderr
            token = Path(base, str(ALICE), ".ray", "auth_token").read_text()
            asked = run(BOB, "list", "--ray_address", address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
            alone = f"belongs to user {ALICE}, whose processes alone can use its node on this machine."
            assert f"Error: The Ray at {address} {alone}" in asked.stderr, "a copy of the token is not enough"
            assert run(ALICE, "shutdown").returncode == 0
            assert "starting" not in run(BOB, "connect").stderr, "the second user's is still there"
        finally:
            for uid in (ALICE, BOB):
                run(uid, "shutdown")
