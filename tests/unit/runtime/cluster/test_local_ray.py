"""Starting the local Ray without Ray: the lock, its files, and the end of what was started."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster import local_ray, processes, this_machine
from byzer_magic.runtime.cluster.own_folder import own_folder
from tests.clock import Clock
from tests.conftest import alive, short_folder
from tests.users import ALICE, BOB, as_user, needs_root
from tests.waiting import PATIENCE, eventually


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_folder() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        yield Path(folder)


@pytest.fixture
def broken_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes started from here cannot even begin to start a Ray."""
    (tmp_path / "sitecustomize.py").write_text("import os\nos.write(2, b'planted: no start\\n')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def start(seconds: float = 30.0) -> tuple[CannotConnect, list[str]]:
    said: list[str] = []
    with pytest.raises(CannotConnect) as caught:
        local_ray.start(Settings(start_seconds=seconds), said.append)
    return caught.value, said


@pytest.mark.usefixtures("base", "broken_python")
class TestStart:
    def test_process_that_ends_at_once_is_reported_with_its_output(self) -> None:
        err, said = start()
        assert err.message == "The local Ray could not start."
        assert err.hint == f"From {own_folder()}/byzer_head.log:\nplanted: no start"
        assert "starting a local one" in said[0]

    def test_lock_that_another_process_holds_is_waited_for_with_a_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_ray, "time", Clock())
        with (own_folder() / "byzer_head.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            err, said = start(1.2)
        assert err.message == "Another process has been starting the local Ray for 1.2 s."
        assert said == ["Waiting for another process, which is starting the local Ray (1 s) ..."]

    def test_holder_of_the_lock_is_named(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(local_ray, "time", Clock())
        script = (
            "import sys\nfrom byzer_magic.runtime.cluster import local_ray\n"
            "with local_ray._one_at_a_time(60, print):\n    print('held', flush=True); sys.stdin.read()"
        )
        env = {**os.environ, "RAY_TMPDIR": str(base), "PYTHONPATH": str(Path(__file__).parents[4])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", script], env=env, **pipes) as holder:  # type: ignore[call-overload]
            assert holder.stdout.readline() == b"held\n"
            err, said = start(1.2)
            assert err.message == f"Process {holder.pid} has been starting the local Ray for 1.2 s."
            assert f"kill {holder.pid}" in err.hint
            assert said == [f"Waiting for process {holder.pid}, which is starting the local Ray (1 s) ..."]
            holder.communicate()

    def test_lock_is_taken_when_the_other_process_has_ended(self) -> None:
        with (own_folder() / "byzer_head.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            threading.Timer(0.3, fcntl.flock, (held, fcntl.LOCK_UN)).start()
            err, _said = start()
        assert err.message == "The local Ray could not start."

    @pytest.mark.parametrize("name", ["byzer_head.lock", "byzer_head.log"])
    def test_link_in_place_of_a_file_is_not_followed(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("precious")
        (own_folder() / name).symlink_to(tmp_path / "precious")
        err, _said = start()
        assert "cannot be written" in err.message
        assert (tmp_path / "precious").read_text() == "precious"

    def test_folder_in_place_of_the_file_that_names_the_process_is_named(self) -> None:
        (own_folder() / "byzer_head.json").mkdir()
        err, said = start()
        assert str(err.message) == f"{own_folder()}/byzer_head.json is not a regular file."
        assert len(said) == 1

    def test_variable_of_a_base_that_cannot_be_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_TMPDIR", "ray")
        err, said = start()
        assert (str(err.message), said) == ("RAY_TMPDIR is 'ray', which is not an absolute path.", [])


@needs_root
@pytest.mark.usefixtures("broken_python")
def test_links_of_another_user_in_rays_folder_are_not_followed(base: Path, tmp_path: Path) -> None:
    shared, precious = base / "ray", base / "precious"
    shared.mkdir()
    shared.chmod(0o777)
    precious.write_text("precious")
    os.chown(precious, BOB, BOB)
    for name in ("byzer_head.lock", "byzer_head.log", "byzer_head.json", f"byzer-{BOB}"):
        as_user(ALICE, lambda name=name: (shared / name).symlink_to(precious))  # type: ignore[misc]
    assert as_user(BOB, lambda: str(start()[0].message)).startswith("The local Ray could not start")
    assert precious.read_text() == "precious"


@needs_root
def test_second_user_takes_a_lock_of_ones_own(base: Path) -> None:
    def lock() -> bool:
        with local_ray._one_at_a_time(1.0, print):
            return True

    with as_held(base / f"byzer-{ALICE}"):
        assert as_user(BOB, lock)
    assert as_user(ALICE, lock)


class as_held:  # noqa: N801 - reads as a function
    """Hold the lock of the user of a folder while the block runs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        os.chown(folder, ALICE, ALICE)
        self._file = (folder / "byzer_head.lock").open("w")
        os.chown(folder / "byzer_head.lock", ALICE, ALICE)

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def test_kill_session_leaves_a_process_that_has_the_id_now() -> None:
    command, pipe = [sys.executable, "-c", "print('up', flush=True); input()"], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, start_new_session=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"up\n"
        processes.kill_session(other.pid)
        assert other.poll() is None
        other.communicate(b"\n")
        assert other.returncode == 0


def test_stop_leaves_a_process_that_has_the_id_now() -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        local_ray.stop(this_machine.Head(other.pid, "127.0.0.1:1"))
        time.sleep(0.1)
        assert other.poll() is None
        other.kill()


def test_kill_session_ends_also_what_ignores_other_signals() -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "os.setpgid(0, 0) if not child else None\n"
        "os.write(1, b'%d\\n' % os.getpid())\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, this_machine.HEAD_MODULE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        pids = [int(leader.stdout.readline()), int(leader.stdout.readline())]
        processes.kill_session(leader.pid)
        assert leader.wait(PATIENCE) == -signal.SIGKILL
    assert eventually(lambda: not any(map(alive, pids)))
