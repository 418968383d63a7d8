"""What processes leave on the disk goes away with them."""

from __future__ import annotations

import os
import subprocess
import sys
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


@pytest.fixture(scope="module")
def ended() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


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


@pytest.mark.usefixtures("base")
def test_only_what_dead_processes_have_left_is_removed(ended: int) -> None:
    scratch, rays = own_folder() / "t", own_folder() / "ray"
    for name in (str(ended), str(os.getpid()), "else"):
        (scratch / name).mkdir(parents=True)
    for day in range(1, 7):
        (rays / f"session_2026-01-0{day}_00-00-00_000000_{ended if day != 2 else os.getpid()}" / "logs").mkdir(
            parents=True
        )
    (rays / "session_latest").symlink_to(rays)
    leftovers.remove_dead()
    assert sorted(path.name for path in scratch.iterdir()) == sorted([str(os.getpid()), "else"])
    days = sorted(path.name[8:18] for path in rays.iterdir())
    assert days == ["2026-01-02", "2026-01-04", "2026-01-05", "2026-01-06", "latest"], "one runs, three have ended"


def test_user_without_a_folder_has_left_nothing(base: Path) -> None:
    leftovers.remove_dead()
    assert not list(base.iterdir())
