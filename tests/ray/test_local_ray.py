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
from tests.ray.conftest import processes
from tests.users import ALICE, BOB, needs_root
from tests.waiting import eventually

pytestmark = pytest.mark.ray

AGENT = "runtime_env/agent/main.py"
SLOW_AGENT = f"""
import sys, time
if any("{AGENT}" in word for word in sys.orig_argv):
    time.sleep(5)
"""
FAILING_AGENT = f"""
import sys
if any("{AGENT}" in word for word in sys.orig_argv):
    raise SystemExit("planted: no agent")
"""
PROGRAM = """
import os, ray

ray.init(address="auto", runtime_env={"env_vars": {"PLANTED": "yes"}})

@ray.remote
def task():
    print("printed by a task")
    return os.environ["PLANTED"]

try:
    print(ray.get(task.remote()), flush=True)
except ray.exceptions.RuntimeEnvSetupError:
    print("no runtime environment", flush=True)
input()  # what a task prints arrives later
"""


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


def printed(shell: Shell, *wanted: str) -> None:
    """Run a program that uses the local Ray until it has printed these lines."""
    command, missing = [sys.executable, "-c", PROGRAM], set(wanted)
    env = child_environment(shell.env)
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as program:
        assert program.stdout
        for line in program.stdout:
            missing -= {text for text in missing if text in line}
            if not missing:
                program.communicate("\n")
                break
        assert not missing


def test_task_of_another_program_has_its_runtime_environment_and_prints(apart: Shell, ray_folder: Path) -> None:
    plant(apart, SLOW_AGENT)
    assert apart("connect").returncode == 0
    assert titles(ray_folder) == RAY
    printed(apart, "yes", "printed by a task")
    assert titles(ray_folder) >= {*RAY, "ray::RuntimeEnvAgent"}


def test_agent_that_fails_fails_the_task_that_needs_it(apart: Shell, ray_folder: Path) -> None:
    plant(apart, FAILING_AGENT)
    assert apart("connect").returncode == 0
    printed(apart, "no runtime environment")
    assert apart("list").returncode == 0
    assert titles(ray_folder) >= RAY


RAY = {"byzer_magic.runtime.cluster.local_head", "gcs_server", "raylet", "ray::Controller"}
"""The processes of a local Ray without deployments."""


def titles_of(folder: Path) -> list[str]:
    """Return what the processes of the local Ray of a folder are called."""
    found = []
    for process in processes_of_head(folder):
        with contextlib.suppress(psutil.Error):
            if words := process.cmdline():
                found.append(words[2] if words[1:2] == ["-m"] else Path(words[0].strip()).name)
    return found


def titles(folder: Path) -> set[str]:
    """Return them without those of which there are several."""
    return set(titles_of(folder))


@pytest.mark.parametrize("spare", [0, 1])
def test_process_that_waits_is_the_next_deployment(spare: int, apart: Shell, ray_folder: Path) -> None:
    apart.env["BYZER_SPARE"] = str(spare)
    deploy = "--pretrained_model_type saas/openai --infer_params saas.model=m saas.base_url=http://127.0.0.1:9/v1"

    def placed(alias: str) -> int:
        done = apart("deploy", "--model", alias, *deploy.split(), "saas.api_key=k")
        assert done.returncode == 0, done.stderr
        match = re.search(r"process (\d+)", done.stderr)
        assert match, done.stderr
        return int(match[1])

    placed("first")
    if not spare:
        assert titles(ray_folder) == {*RAY, "ray::Pool"}
        assert not list((ray_folder / f"byzer-{os.getuid()}").glob("byzer_spare*"))
        return
    file = ray_folder / f"byzer-{os.getuid()}" / "byzer_spare"
    assert eventually(file.exists)
    waiting = psutil.Process(int(file.read_text()))
    assert eventually(lambda: any("_http_parser" in part.path for part in waiting.memory_maps())), "it imports"
    assert waiting.memory_full_info().pss < SPARE_BYTES
    assert placed("second") == waiting.pid
    os.kill(waiting.pid, signal.SIGKILL)
    assert eventually(lambda: int(file.read_text()) != waiting.pid), "the restart has taken one, too"
    assert eventually(lambda: [*titles_of(ray_folder)].count("ray::IDLE") == 1)


SPARE_BYTES = 80e6
"""The memory of the process that waits, as the setting says."""


@pytest.mark.parametrize("name", ["raylet", "gcs_server"])
def test_killed_process_ends_the_wait_and_is_named(name: str, apart: Shell, ray_folder: Path) -> None:
    with killing(name, ray_folder):
        done = apart("connect")  # it would wait for 120 s, longer than the shell may take
    assert done.returncode == 1
    assert f"The local Ray could not start: {name} was killed (SIGKILL). Trying once more ..." in done.stderr
    assert f"Error: The local Ray could not start: {name} was killed (SIGKILL)." in done.stderr
    assert eventually(lambda: processes(ray_folder) == [])
    assert apart("connect").returncode == 0, "nothing of it is in the way"


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
    assert eventually(lambda: processes(ray_folder) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_start_that_nobody_waits_for_any_longer_leaves_nothing(number: int, apart: Shell, ray_folder: Path) -> None:
    code = "import sys; from byzer_magic.cli import main; sys.exit(main())"
    with subprocess.Popen([sys.executable, "-c", code, "connect"], env=apart.env, stderr=subprocess.DEVNULL) as shell:
        assert eventually(lambda: bool(processes(ray_folder)))
        shell.send_signal(number)
        assert shell.wait(60) == (130 if number == signal.SIGINT else -number)
    assert eventually(lambda: not processes(ray_folder)), processes(ray_folder)
    assert not list((ray_folder / f"byzer-{os.getuid()}").glob("byzer_head.json"))


def test_ray_that_dies_later_is_replaced(apart: Shell, ray_folder: Path) -> None:
    assert apart("connect").returncode == 0
    file = ray_folder / f"byzer-{os.getuid()}" / "byzer_head.json"
    head = json.loads(file.read_text())
    with killing("raylet", ray_folder):
        assert eventually(lambda: not psutil.pid_exists(head["pid"]))
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
    port = (ray_folder / "ray" / "ray_current_cluster").read_text().rpartition(":")[2]
    code = (
        "import ray; from ray._private import services; found = services._find_address_from_flag;"
        "services._find_address_from_flag = lambda flag: "  # this Ray is the only one on the machine
        f"{{{{one for one in found(flag) if flag != '--gcs-address' or one.endswith(':{port}')}}}};"
        "ray.init({}); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
    )
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
            env = {
                **shell.env,
                "HOME": f"{base}/{uid}",
                "RAY_TMPDIR": str(shared),
                "BYZER_LOCAL_CPUS": "1",
                "BYZER_SPARE": "0",
                **more,
            }
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
