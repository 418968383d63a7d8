"""What processes leave on the disk goes away with them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster import leftovers
from byzer_magic.runtime.cluster.own_folder import own_folder
from tests.conftest import short_folder


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_folder() as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_temporary_files_of_a_process_and_its_children_are_in_a_folder_of_its_own(variable: str, base: Path) -> None:
    code = (
        "import subprocess, sys, tempfile\n"
        "from byzer_magic.runtime.cluster import leftovers, own_folder\n"
        "before = tempfile.gettempdir(), own_folder.own_folder()\n"
        "folder = leftovers.use_scratch()\n"
        "assert own_folder.own_folder() == before[1]\n"
        "child = 'import tempfile; print(tempfile.gettempdir())'\n"
        "print(folder, tempfile.mkdtemp(), subprocess.check_output([sys.executable, '-c', child], text=True))"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("RAY_TMPDIR", "TMPDIR")}
    env |= {variable: str(base), "PYTHONPATH": str(Path(__file__).parents[4])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    folder, made, childs = done.stdout.split()
    assert Path(folder).parent == base / f"byzer-{os.getuid()}" / "t"
    assert Path(made).parent == Path(childs) == Path(folder)


def test_only_temporary_files_of_dead_processes_are_removed(base: Path) -> None:
    code = (
        "import os, sys\nfrom byzer_magic.runtime.cluster import leftovers\n"
        "print(leftovers.use_scratch(), flush=True)\n"
        "os.fork() and os._exit(0)\n"
        "sys.stdin.read()"
    )
    env = {**os.environ, "RAY_TMPDIR": str(base), "PYTHONPATH": str(Path(__file__).parents[4])}
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=env, **pipes) as process:  # type: ignore[call-overload]
        used = Path(process.stdout.readline().decode().strip())
        process.wait(30)
        (used.parent / "1").mkdir()  # the id of a process that runs, but has not made it
        leftovers.remove_dead()
        assert list(used.parent.iterdir()) == [used], "a process that it has forked runs"
        process.stdin.close()
        process.stdout.read()
    leftovers.remove_dead()
    assert not list(used.parent.iterdir())


@pytest.mark.usefixtures("base")
def test_three_sessions_of_rays_that_have_ended_are_kept() -> None:
    rays = own_folder() / "ray"
    for day in range(1, 7):
        session = rays / f"session_2026-01-0{day}_00-00-00_000000_1"
        (session / "logs").mkdir(parents=True)
        (session / "logs" / "gcs_server.out").touch()
        long_ago = time.time() - leftovers.QUIET_SECONDS - 60
        for path in (session / "logs" / "gcs_server.out", session / "logs", session):
            os.utime(path, (long_ago, long_ago))
    (rays / "session_2026-01-02_00-00-00_000000_1" / "logs" / "gcs_server.out").touch()
    (rays / "session_latest").symlink_to(rays)
    leftovers.remove_dead()
    days = sorted(path.name[8:18] for path in rays.iterdir())
    assert days == ["2026-01-02", "2026-01-04", "2026-01-05", "2026-01-06", "latest"], "the second one runs"


def test_user_without_a_folder_has_left_nothing(base: Path) -> None:
    leftovers.remove_dead()
    assert not list(base.iterdir())
