"""Whether a node on this machine can be used, before Ray tries."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from byzer_magic.runtime.cluster import probe
from tests.conftest import short_folder
from tests.users import ALICE, BOB, as_user, needs_root


@pytest.fixture
def base() -> Iterator[Path]:
    with short_folder() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def raylet() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def node(raylet: socket.socket, path: Path, *, head: bool = True) -> SimpleNamespace:
    host, port = raylet.getsockname()
    return SimpleNamespace(
        node_manager_address=host, node_manager_port=port, raylet_socket_name=str(path), is_head_node=head
    )


def elsewhere() -> SimpleNamespace:
    return SimpleNamespace(
        node_manager_address="10.255.255.1", node_manager_port=1, raylet_socket_name="/x", is_head_node=True
    )


def test_own_node_is_open(base: Path, raylet: socket.socket) -> None:
    (base / "raylet").touch(0o600)
    assert probe._closed([elsewhere(), node(raylet, base / "raylet")]) is None
    assert probe._closed([elsewhere()]) is probe._closed([]) is None, "Ray says that itself"


@needs_root
def test_node_of_another_user_is_closed_unless_its_socket_is_open(base: Path, raylet: socket.socket) -> None:
    os.fchown(raylet.fileno(), ALICE, ALICE)
    (base / "raylet").touch(0o600)
    (base / "mine").touch(0o600)
    os.chown(base / "raylet", ALICE, ALICE)
    os.chown(base / "mine", BOB, BOB)
    nodes = [node(raylet, base / "mine", head=False), node(raylet, base / "raylet")]
    assert as_user(BOB, lambda: probe._closed(nodes)) == ALICE, "Ray would choose the head"
    assert as_user(ALICE, lambda: probe._closed(nodes)) is None
    assert probe._closed(nodes) is None, "root may use it"
    (base / "raylet").chmod(0o666)
    assert as_user(BOB, lambda: probe._closed(nodes)) is None
