"""Discovery files: whatever is in their place, no client is misled."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.own_folder import own_folder
from byzer_magic.runtime.transport.protocol import Endpoint
from tests.conftest import short_folder
from tests.users import ALICE, BOB, as_user, needs_root

LONG = "模型" * 60


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with short_folder() as folder:
        Path(folder).chmod(0o1777)
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield Path(folder)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a cluster that the environment names; something listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", f" {address}")
        yield address


@pytest.fixture
def pool(cluster: str) -> Iterator[socket.socket]:
    """The socket of a pool that is announced as `m`."""
    folder = discovery.socket_folder(cluster)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "pool.sock"))
        server.listen()
        discovery.announce(folder, "m", Endpoint(str(folder / "pool.sock"), "h", 0, "t", "n", 1))
        yield server


@pytest.mark.usefixtures("pool")
class TestAnnounced:
    def test_pool_that_listens_is_found(self) -> None:
        endpoint = discovery.announced("m")
        assert endpoint is not None
        assert endpoint.token == "t"
        assert discovery.aliases() == ["m"]
        assert discovery.announced("other") is None

    def test_pool_of_another_cluster_is_not_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for address in ("127.0.0.1:9", "auto", "local", ""):
            monkeypatch.setenv("RAY_ADDRESS", address)
            assert discovery.announced("m") is None
            assert discovery.aliases() is None

    def test_pool_that_was_killed_is_not_found(self, pool: socket.socket) -> None:
        pool.close()
        assert discovery.announced("m") is None
        assert discovery.aliases() == []

    def test_remove_dead_removes_only_what_nobody_listens_at(self, cluster: str, pool: socket.socket) -> None:
        discovery.remove_dead()
        assert discovery.announced("m") is not None
        pool.close()
        discovery.remove_dead()
        assert not (own_folder() / "clusters" / discovery._name(cluster)).exists()

    def test_withdrawn_pool_is_not_found(self, cluster: str) -> None:
        discovery.withdraw(discovery.socket_folder(cluster), "m")
        assert discovery.announced("m") is None


def test_controller_of_a_cluster_that_was_started_again_is_found_by_all_its_names(cluster: str) -> None:
    own = discovery.socket_folder("10.0.0.1:6379")
    path = str(own / "controller.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        for token, names in (("old", [discovery.socket_folder(cluster), own]), ("new", [own])):
            for folder in names:
                discovery.announce_controller(folder, Endpoint(path, "h", 0, token, "n", 1))
        found = discovery.controller(cluster)
    assert found is not None
    assert found.token == "new"


@pytest.mark.parametrize("alias", ["m", "a/b", LONG])
def test_failed_log_is_kept_until_it_is_forgotten(alias: str) -> None:
    discovery.keep_log(alias, ["one", "two"])
    assert discovery.kept_log(alias) == ["one", "two"]
    discovery.forget_log(alias)
    assert discovery.kept_log(alias) == []


def test_long_aliases_with_a_common_prefix_have_different_files() -> None:
    discovery.keep_log(f"{LONG}1", ["1"])
    discovery.keep_log(f"{LONG}2", ["2"])
    assert discovery.kept_log(f"{LONG}1") == ["1"]


def test_keep_log_writes_nothing_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    folder = own_folder() / "failed"
    folder.mkdir()
    (folder / "m.log").symlink_to(tmp_path / "precious")
    discovery.keep_log("m", ["secret"])
    assert (tmp_path / "precious").read_text() == "precious"


def test_keep_log_ignores_write_errors() -> None:
    (own_folder() / "failed").write_text("a file, where the folder should be")
    discovery.keep_log("m", ["lost"])
    assert discovery.kept_log("m") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"path": 3}'])
def test_announced_ignores_malformed_files(cluster: str, content: bytes) -> None:
    (discovery.socket_folder(cluster) / "m.json").write_bytes(content)
    assert discovery.announced("m") is None
    assert discovery.aliases() == []


def test_announced_ignores_a_folder(cluster: str) -> None:
    (discovery.socket_folder(cluster) / "m.json").mkdir()
    assert discovery.announced("m") is None


@needs_root
class TestTwoUsers:
    def test_each_keeps_logs_of_an_alias(self) -> None:
        for uid in (ALICE, BOB):
            as_user(uid, lambda uid=uid: discovery.keep_log("m", [str(uid)]))
        assert [as_user(uid, lambda: discovery.kept_log("m")) for uid in (ALICE, BOB)] == [[str(ALICE)], [str(BOB)]]

    def test_each_sees_only_pools_of_ones_own(self, cluster: str) -> None:
        def deploy() -> list[str] | None:
            folder = discovery.socket_folder(cluster)
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(folder / "pool.sock"))
                server.listen()
                discovery.announce(folder, "m", Endpoint(str(folder / "pool.sock"), "h", 0, "t", "n", 1))
                return discovery.aliases()

        assert as_user(ALICE, deploy) == ["m"]
        assert as_user(BOB, discovery.aliases) == []
