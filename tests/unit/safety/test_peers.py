"""Who is at the other end of a Unix socket."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from byzer_magic.safety import peers
from tests.conftest import short_folder
from tests.users import ALICE, BOB, as_user, needs_root


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A socket at which every user may connect."""
    with short_folder() as folder, socket.socket(socket.AF_UNIX) as server:
        Path(folder).chmod(0o755)
        server.bind(f"{folder}/s")
        Path(f"{folder}/s").chmod(0o777)
        server.listen()
        yield server


def seen_by(server: socket.socket) -> int | None:
    """Return whom a client of a server sees there."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server.getsockname())
        return peers.stranger(client, os.getuid())


def test_own_process_is_at_both_ends(server: socket.socket) -> None:
    assert seen_by(server) is None
    one, other = socket.socketpair()
    with one, other:
        assert peers.uid_of(one) == peers.uid_of(other) == os.getuid()


def test_tcp_has_no_users() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert peers.uid_of(client) is None


def test_system_without_credentials_is_asked_in_the_way_of_the_bsds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")

    def getpeereid(_descriptor: int, user: ctypes._CArgObject, _group: ctypes._CArgObject) -> int:
        user._obj.value = 501  # type: ignore[attr-defined]
        return 0

    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: SimpleNamespace(getpeereid=getpeereid))
        assert (peers.uid_of(one), peers.stranger(one, 501), peers.stranger(one, 502)) == (501, None, 501)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: SimpleNamespace(getpeereid=lambda *_: -1))
        with pytest.raises(OSError, match="Errno"):
            peers.uid_of(one)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_a, **_k: SimpleNamespace())
        assert (peers.uid_of(one), peers.stranger(one, 502)) == (None, None), "it cannot tell"


@needs_root
def test_other_user_is_a_stranger_but_root_is_not(server: socket.socket) -> None:
    assert as_user(ALICE, lambda: seen_by(server)) is None, "the server is root's"
    with socket.socket(socket.AF_UNIX) as alices:

        def listen() -> int:
            path = f"{server.getsockname()}2"
            alices.bind(path)
            alices.listen()
            return 0

        Path(server.getsockname()).parent.chmod(0o777)
        as_user(ALICE, listen)
        Path(alices.getsockname()).chmod(0o777)
        assert as_user(BOB, lambda: seen_by(alices)) == ALICE
        assert as_user(ALICE, lambda: seen_by(alices)) is None
        assert seen_by(alices) == ALICE, "root expects itself there"
