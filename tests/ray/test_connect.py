"""Finding and leaving clusters, as a shell sees it."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from tests.conftest import Shell, alive

pytestmark = pytest.mark.ray


def test_connect_times_out_at_a_port_that_is_not_a_ray_head(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept_and_say_nothing, args=(server,), daemon=True).start()
        shell.env["BYZER_CONNECT_SECONDS"] = "3"
        done = shell("connect", "--ray_address", f"127.0.0.1:{server.getsockname()[1]}")
    assert done.returncode == 1
    assert "did not respond within 3 s" in done.stderr
    assert done.stdout == ""


def accept_and_say_nothing(server: socket.socket) -> None:
    kept = []
    while True:
        try:
            kept.append(server.accept())
        except OSError:
            return


def test_connect_uses_the_given_address(cluster: Manager, shell: Shell) -> None:
    address = cluster.connect()
    done = shell("connect", "--ray_address", address)
    assert (done.returncode, done.stdout) == (0, "")
    assert address in done.stderr


def test_two_shells_start_one_local_ray(shell: Shell, ray_folder: Path) -> None:
    shell.env |= {"RAY_TMPDIR": str(ray_folder)}
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(shell("connect").stderr)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        head = json.loads((ray_folder / "ray" / "byzer_head.json").read_text())
        assert all(head["address"] in text for text in found), found
        assert sum("starting a local one" in text for text in found) == 1
    finally:
        assert shell("shutdown").returncode == 0
    assert not alive(head["pid"])
    assert "nothing was stopped" in shell("shutdown").stderr
    assert "Local Ray is up" in shell("connect").stderr, "it can be started again"
    assert shell("shutdown").returncode == 0
