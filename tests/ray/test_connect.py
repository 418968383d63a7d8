"""Finding and leaving clusters, as a shell sees it."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from byzer_magic.client.manager import Manager
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.auth_token import use_token
from tests.conftest import Shell, alive
from tests.ray.test_deploy import deploy, saas
from tests.servers.process import Process, openai_api

pytestmark = pytest.mark.ray


def test_connect_times_out_at_a_port_that_is_not_a_ray_head(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept_and_say_nothing, args=(server,), daemon=True).start()
        shell.env["BYZER_CONNECT_SECONDS"] = "3"
        done = shell("connect", "--ray_address", f"127.0.0.1:{server.getsockname()[1]}")
    assert done.returncode == 1
    assert "did not respond within 3 s" in done.stderr
    assert done.stdout == ""


def test_variable_that_names_a_silent_port_is_in_the_error(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept_and_say_nothing, args=(server,), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        shell.env |= {"BYZER_CONNECT_SECONDS": "3", "RAY_ADDRESS": address}
        done = shell("connect")
    assert done.returncode == 1
    _connecting, first, second = done.stderr.splitlines()  # and no line of Ray's own
    assert first == f"Error: Ray at {address}, which RAY_ADDRESS names, did not respond within 3 s."
    assert "unset RAY_ADDRESS" in second


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
        head = json.loads((ray_folder / f"byzer-{os.getuid()}" / "byzer_head.json").read_text())
        assert all(head["address"] in text for text in found), found
        assert sum("starting a local one" in text for text in found) == 1
    finally:
        assert shell("shutdown").returncode == 0
    assert not alive(head["pid"])
    assert "nothing was stopped" in shell("shutdown").stderr
    assert "Local Ray is up" in shell("connect").stderr, "it can be started again"
    assert shell("shutdown").returncode == 0


def test_connect_names_a_server_that_is_not_ray(cluster: Manager, shell: Shell) -> None:
    with openai_api("sk-1") as server:
        address = server.url.removeprefix("http://")
        shell.env["RAY_ADDRESS"] = address
        done = shell("list")
    assert f"What is listening at {address} is an HTTP server, such as a dashboard, not a Ray head." in done.stderr
    assert "unset RAY_ADDRESS" in done.stderr


def test_connect_names_a_missing_token(cluster: Manager, shell: Shell, tmp_path: Path, ray_folder: Path) -> None:
    use_token()
    if os.environ.get("RAY_AUTH_MODE") != "token":
        pytest.skip("this Ray has no token authentication")
    address = cluster.connect()
    shell.env |= {"RAY_TMPDIR": str(ray_folder)}  # where no controller is known
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        shell.env.pop(name, None)
    shell.env["HOME"] = str(tmp_path)
    done = shell("connect", "--ray_address", address)
    assert f"The Ray at {address} does not accept this token, or needs one." in done.stderr
    assert "RAY_AUTH_TOKEN_PATH" in done.stderr


@pytest.mark.usefixtures("driver")
def test_connect_names_both_versions_when_they_differ(cluster: Manager, shell: Shell, ray_folder: Path) -> None:
    from ray.experimental import internal_kv

    address, key = cluster.connect(), b"CLUSTER_METADATA"
    shell.env |= {"RAY_TMPDIR": str(ray_folder)}  # where no controller is known
    before = internal_kv._internal_kv_get(key, namespace=b"cluster")
    assert before is not None
    facts = json.loads(before)
    try:
        for theirs in ({"ray_version": "2.9.3"}, {"python_version": "3.12.1"}):
            changed = facts | theirs
            internal_kv._internal_kv_put(key, json.dumps(changed).encode(), overwrite=True, namespace=b"cluster")
            done = shell("connect", "--ray_address", address)
            assert (
                f"The cluster at {address} runs Ray {changed['ray_version']} with Python {changed['python_version']}, "
                f"this process Ray {facts['ray_version']} with Python {facts['python_version']}."
            ) in done.stderr
            assert "3.12.1 and ray==" in done.stderr or "pip install 'ray==2.9.3'" in done.stderr
    finally:
        internal_kv._internal_kv_put(key, before, overwrite=True, namespace=b"cluster")


def test_address_of_the_environment_keeps_the_direct_way(
    manager: Manager, shell: Shell, monkeypatch: pytest.MonkeyPatch, provider: Process
) -> None:
    deploy(manager, saas(provider))
    for value in ("auto", manager.connect()):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert discovery.announced("m") is not None
        shell.env["RAY_ADDRESS"] = value
        assert shell("stat", "--model", "m").returncode == 0
