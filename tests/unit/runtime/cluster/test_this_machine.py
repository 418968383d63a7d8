"""Which Ray of this machine is one's own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster import loopback, this_machine
from byzer_magic.runtime.cluster.own_folder import own_folder
from tests.conftest import short_folder
from tests.users import ALICE, BOB, as_user, needs_root


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with short_folder() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        (Path(folder) / "ray").chmod(0o777)  # as Ray makes it
        yield Path(folder)


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of something that listens; root's, or this user's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def head() -> Iterator[int]:
    """A process that looks like one that holds a local Ray."""
    code = "import sys, time; print('up', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, this_machine.HEAD_MODULE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def write_head(pid: int, address: str) -> None:
    (own_folder() / this_machine.HEAD_FILE).write_text(f'{{"pid": {pid}, "address": "{address}"}}')


def test_own_cluster_file_is_believed(base: Path, listener: str) -> None:
    (base / "ray" / this_machine.CLUSTER_FILE).write_text(f" {listener}\n")
    assert this_machine.running_cluster() == listener
    assert this_machine.running_cluster(only_local=True) is None
    assert this_machine.foreign_cluster() is None


def test_stale_cluster_file_is_not_believed(base: Path) -> None:
    (base / "ray" / this_machine.CLUSTER_FILE).write_text("127.0.0.1:9")
    assert this_machine.running_cluster() is None
    assert this_machine.foreign_cluster() is None


@pytest.mark.parametrize("content", ["", "nonsense", "127.0.0.1:99999999", "\x00", "a\nb"])
def test_malformed_cluster_file_is_ignored(base: Path, content: str) -> None:
    (base / "ray" / this_machine.CLUSTER_FILE).write_text(content)
    assert this_machine.running_cluster() is None


@pytest.mark.usefixtures("base")
class TestLocalHead:
    def test_process_that_holds_it_is_found(self, head: int, listener: str) -> None:
        write_head(head, listener)
        assert this_machine.local_head() == this_machine.Head(head, listener)
        assert this_machine.running_cluster() == this_machine.running_cluster(only_local=True) == listener

    def test_another_process_with_its_id_is_not_believed(self, listener: str) -> None:
        write_head(os.getpid(), listener)
        assert this_machine.local_head() is None
        assert this_machine.running_cluster() is None

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
    def test_malformed_file_is_ignored(self, content: str) -> None:
        (own_folder() / this_machine.HEAD_FILE).write_text(content)
        assert this_machine.local_head() is None

    def test_announced_writes_both_files_and_removes_them(self, base: Path, listener: str) -> None:
        rays = base / "ray" / this_machine.CLUSTER_FILE
        with this_machine.announced(listener):
            assert rays.read_text() == loopback.spelled(listener)
            assert this_machine.running_cluster() == listener
            assert f'"address":"{listener}"' in (own_folder() / this_machine.HEAD_FILE).read_text()
        assert not rays.exists()
        assert not (own_folder() / this_machine.HEAD_FILE).exists()

    def test_announced_leaves_the_file_of_another_ray_that_runs(self, base: Path, listener: str) -> None:
        rays = base / "ray" / this_machine.CLUSTER_FILE
        rays.write_text(listener)
        with this_machine.announced("127.0.0.1:9"):
            assert rays.read_text() == listener
        assert rays.read_text() == listener

    def test_announced_writes_through_no_link(self, base: Path, tmp_path: Path) -> None:
        (tmp_path / "precious").write_text("precious")
        (base / "ray" / this_machine.CLUSTER_FILE).symlink_to(tmp_path / "precious")
        with this_machine.announced("127.0.0.1:9"):
            pass
        assert (tmp_path / "precious").read_text() == "precious"


class TestEnvironment:
    def test_named_cluster_is_the_current_one(self, listener: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RAY_ADDRESS", f" {listener} ")
        assert this_machine.current_cluster() == listener
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
        assert this_machine.current_cluster() is None

    @pytest.mark.parametrize("value", ["auto", " Auto "])
    def test_auto_is_this_machines(
        self, value: str, base: Path, listener: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (base / "ray" / this_machine.CLUSTER_FILE).write_text(listener)
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert this_machine.current_cluster() == listener
        monkeypatch.setenv("RAY_ADDRESS", "local")
        assert this_machine.current_cluster() is None


@needs_root
class TestTwoUsers:
    def test_cluster_file_of_another_user_is_not_believed(self, base: Path, listener: str) -> None:
        as_user(ALICE, lambda: (base / "ray" / this_machine.CLUSTER_FILE).write_text(listener))
        assert as_user(BOB, this_machine.running_cluster) is None
        assert as_user(BOB, this_machine.foreign_cluster) == (listener, "root"), "who listens there counts"
        assert this_machine.running_cluster() is None, "root does not believe it either"

    def test_own_file_with_a_port_that_another_user_has_now_is_not_believed(self, base: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            os.fchown(server.fileno(), ALICE, ALICE)
            address = f"127.0.0.1:{server.getsockname()[1]}"
            as_user(BOB, lambda: (base / "ray" / this_machine.CLUSTER_FILE).write_text(address))
            assert as_user(BOB, this_machine.running_cluster) is None
            assert as_user(BOB, this_machine.foreign_cluster) == (address, str(ALICE))
            os.fchown(server.fileno(), BOB, BOB)
            assert as_user(BOB, this_machine.running_cluster) == address
            assert as_user(BOB, this_machine.foreign_cluster) is None

    def test_announced_leaves_the_file_of_another_user(self, base: Path, listener: str) -> None:
        rays = base / "ray" / this_machine.CLUSTER_FILE
        as_user(ALICE, lambda: rays.write_text("127.0.0.1:9"))

        def announce() -> str:
            with this_machine.announced(listener):
                return rays.read_text()

        assert as_user(BOB, announce) == "127.0.0.1:9"
        assert rays.read_text() == "127.0.0.1:9"

    def test_process_of_another_user_is_no_head(self, base: Path, head: int, listener: str) -> None:
        assert base.is_dir()
        as_user(BOB, lambda: write_head(head, listener))
        assert as_user(BOB, this_machine.local_head) is None
