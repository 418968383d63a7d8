"""`byzerllm serve` as a process, and as actors of the cluster: how it starts, who may ask, how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme

from byzer_magic.client import serving
from byzer_magic.client.converse import converse
from byzer_magic.client.manager import Manager
from byzer_magic.errors import RateLimited
from byzer_magic.journal.store import Store
from byzer_magic.stat import Fleet
from byzer_magic.widgets.panel.state import PanelState
from tests.conftest import KEY, Shell, alive
from tests.gateway.conftest import SERVE, serve
from tests.servers.process import Process, free_port, gone_after, last
from tests.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.ray, pytest.mark.engine]


def chat(url: str, text: str, model: str = "gpt", key: str = "", stream: bool = False, **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **more}
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    return urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers), timeout=PATIENCE
    )


def answer(url: str, text: str, **more: Any) -> str:
    with chat(url, text, **more) as response:
        content: str = json.load(response)["choices"][0]["message"]["content"]
        return content


def test_client_that_leaves_cancels_the_generation(endpoint: Process, provider: Process) -> None:
    with chat(endpoint.url, "tokens:2000@50", stream=True) as response:
        response.readline()
        before = last(provider)["number"]
        left = time.time()
    assert asyncio.run(gone_after(provider, left)) >= 0
    assert last(provider)["number"] == before


def test_sigterm_lets_streams_finish(deployed: Manager, ray_env: dict[str, str]) -> None:
    with serve(env=ray_env) as own:
        response = chat(own.url, "tokens:60@40", stream=True)
        response.readline()
        os.kill(own.pid, signal.SIGTERM)
        text = response.read().decode()
        assert text.rstrip().endswith("data: [DONE]")
        assert "t59" in text
        with pytest.raises(OSError):
            chat(own.url, "hello")
        response.close()


def test_second_signal_ends_at_once(deployed: Manager, ray_env: dict[str, str]) -> None:
    with serve(env=ray_env) as own:
        response = chat(own.url, "tokens:2000@20", stream=True)
        response.readline()
        os.kill(own.pid, signal.SIGINT)
        assert eventually(lambda: not listens(own.port)), "it has taken the first one"
        assert alive(own.pid)
        os.kill(own.pid, signal.SIGINT)
        try:
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as err:  # the connection ends in the middle of it
            text = str(err)
        response.close()
        assert "t1999" not in text


def listens(port: int) -> bool:
    """Return whether a port takes connections."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def test_process_of_the_endpoint_does_not_import_ray(endpoint: Process) -> None:
    maps = Path(f"/proc/{endpoint.pid}/maps").read_text()
    assert "_raylet" not in maps


def test_port_in_use_is_named(endpoint: Process, shell: Shell) -> None:
    done = shell("serve", "--port", str(endpoint.port))
    assert done.returncode == 1
    assert f"Port {endpoint.port} of 127.0.0.1 is in use" in done.stderr
    assert "--port" in done.stderr


def test_system_that_allows_few_connections(deployed: Manager, ray_env: dict[str, str]) -> None:
    limited = ["sh", "-c", 'ulimit -n 200 && exec "$@"', "sh", sys.executable, "-c", SERVE]
    with Process([*limited, "serve", "--port", "{port}"], env=ray_env) as own:
        assert "allows 200 open files" in own.log()
        assert answer(own.url, "hi") == "Echo: hi"
        idle = [socket.create_connection(("127.0.0.1", own.port), timeout=PATIENCE) for _number in range(300)]
        for one in idle:
            one.close()
        assert answer(own.url, "hi again") == "Echo: hi again"


def test_names_and_https(deployed: Manager, ray_env: dict[str, str], tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    port = free_port()
    words = ["serve", "--port", str(port), "--ssl_certfile", str(tmp_path / "both.pem"),
             "--served_model_name", "gpt-4o=gpt,emb"]  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", SERVE, *words], env=ray_env, stderr=subprocess.PIPE) as process:
        try:
            assert process.stderr is not None
            for line in process.stderr:  # it ends with the process
                if b"https://" in line:
                    break
            else:
                pytest.fail("the endpoint has ended before it served")
            trust = ssl.create_default_context()
            authority.configure_trust(trust)
            url = f"https://127.0.0.1:{port}/v1/models"
            with urllib.request.urlopen(url, timeout=PATIENCE, context=trust) as response:
                names = [model["id"] for model in json.load(response)["data"]]
        finally:
            process.terminate()
    assert names == ["gpt-4o", "emb"]


def test_keys_of_the_shell_open_the_endpoint(
    deployed: Manager, ray_env: dict[str, str], tmp_path: Path, shell: Shell
) -> None:
    env = {**ray_env, "BYZER_CONFIG": str(tmp_path / "config.toml")}
    keys = Shell({**shell.env, **env}, tmp_path)
    alice = keys("serve", "keys", "add", "alice", "--models", "gpt", "--requests_per_minute", "100").stdout.strip()
    assert alice.startswith("sk-byzer-")
    assert "alice" in keys("serve", "keys", "list").stdout
    assert alice not in keys("serve", "keys", "list", "--json").stdout
    with serve(env=env) as own:
        assert answer(own.url, "hi", key=alice) == "Echo: hi"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            answer(own.url, "hi", model="claude", key=alice)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            answer(own.url, "hi")
        assert keys("serve", "keys", "revoke", "alice").returncode == 0
        with pytest.raises(urllib.error.HTTPError, match="401"):
            answer(own.url, "hi", key=alice)
        assert alice not in own.log()
        assert KEY not in own.log()


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_one_id_is_in_the_response_the_logs_and_the_providers_request(
    endpoint: Process, provider: Process, shell: Shell, model: str
) -> None:
    identity = f"job-{model}-81"
    body = {"model": model, "messages": [{"role": "user", "content": "fault:429"}], "max_tokens": 5}
    headers = {"content-type": "application/json", "x-request-id": identity}
    path = "/v1/messages" if model == "claude" else "/v1/chat/completions"
    request = urllib.request.Request(endpoint.url + path, json.dumps(body).encode(), headers)
    with pytest.raises(urllib.error.HTTPError, match="429") as caught:
        urllib.request.urlopen(request, timeout=PATIENCE)
    with caught.value as response:
        assert response.headers["x-request-id"] == identity
    if model == "gpt":
        assert last(provider)["request_id"] == identity

    def is_in(log: str, words: str) -> bool:
        return any(words in line and "RateLimited" in line for line in log.splitlines())

    assert eventually(lambda: is_in(endpoint.log(), identity))  # it is written once the response is complete
    assert eventually(lambda: is_in(shell("logs", "--model", model).stdout, f"({identity})"))


def test_id_of_a_cells_request_is_in_its_error_and_in_the_log(
    deployed: Manager, provider: Process, shell: Shell
) -> None:
    with pytest.raises(RateLimited) as caught:
        converse(deployed, "gpt", "fault:429").wait()
    identity = caught.value.details["id"]
    assert last(provider)["request_id"] == identity
    assert eventually(lambda: f"({identity})" in shell("logs", "--model", "gpt").stdout)
    answer = converse(deployed, "gpt", "hello").wait()
    assert last(provider)["request_id"] == answer.request_id != identity


def test_metrics_count(endpoint: Process) -> None:
    answer(endpoint.url, "one two three")
    with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=PATIENCE) as response:
        text = response.read().decode()
    assert 'byzer_requests_total{key="",model="gpt",path="/v1/chat/completions",status="200"}' in text
    assert 'byzer_tokens_total{key="",kind="completion",model="gpt"}' in text
    assert 'byzer_slots{model="gpt"} 20.0' in text


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the endpoint of the cluster is started, and keeps a journal."""
    return tmp_path_factory.mktemp("detached")


@pytest.fixture(scope="module")
def detached(deployed: Manager, ray_env: dict[str, str], project: Path) -> Iterator[str]:
    """The URL of an endpoint of two processes in the cluster."""
    env = {**ray_env, "PYTHONPATH": str(Path(__file__).parents[2]), "BYZER_JOURNAL": "1"}
    shell = Shell(env, project)
    port = free_port()
    done = shell("serve", "--detach", "--num_replicas", "2", "--port", str(port), "--api_key", "planted-key-81")
    try:
        assert done.returncode == 0, done.stderr
        assert f"http://127.0.0.1:{port}" in done.stderr
        assert "planted-key-81" not in done.stdout + done.stderr
        yield f"http://127.0.0.1:{port}"
    finally:
        pids = [served.pid for served in deployed.run(serving.running(deployed))]
        with chat(f"http://127.0.0.1:{port}", "tokens:1200@20", stream=True, key="planted-key-81") as stream:
            stream.readline()
            assert "ended" in shell("serve", "--stop", "--grace", "0").stderr
            assert b"The endpoint is ending" in stream.read()
        assert eventually(lambda: not any(map(alive, pids)))
        assert "No endpoint is running" in shell("serve", "--stop").stderr
        assert "Endpoint" not in shell("list").stderr


def test_endpoint_of_the_cluster_outlives_its_command(detached: str, deployed: Manager, shell: Shell) -> None:
    assert answer(detached, "hi", key="planted-key-81") == "Echo: hi"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        answer(detached, "hi")
    assert detached in shell("list").stderr
    panel = PanelState(deployed)
    panel.take(Fleet({}))
    assert eventually(lambda: detached in panel.view().summary)
    again = shell("serve", "--detach", "--port", str(free_port()))
    assert again.returncode == 1
    assert "serve --stop" in again.stderr
    assert again.stderr.count(detached) == 1


def test_both_replicas_answer(detached: str, deployed: Manager) -> None:
    with ThreadPoolExecutor(40) as pool:
        found = list(pool.map(lambda number: answer(detached, f"n{number}", key="planted-key-81"), range(40)))
    assert found == [f"Echo: n{number}" for number in range(40)]
    pids = {served.pid for served in deployed.run(serving.running(deployed))}
    assert len(pids) == 2
    seen: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while seen != pids:  # the kernel chooses one for each connection
        assert time.monotonic() < deadline, f"{seen} of {pids}"
        with socket.create_connection(("127.0.0.1", int(detached.rpartition(":")[2])), timeout=PATIENCE) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert b" 200 " in client.recv(1000)
            seen |= {pid for pid in pids if has_connection(pid, client.getsockname()[1])}


def has_connection(pid: int, port: int) -> bool:
    """Return whether a process has the other end of a connection from a local port."""
    ends = psutil.Process(pid).net_connections("tcp")
    return any(end.raddr and end.raddr.port == port for end in ends)


def test_replica_that_dies_comes_back(detached: str, deployed: Manager) -> None:
    before = [served.pid for served in deployed.run(serving.running(deployed))]
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def serves() -> bool:
        with contextlib.suppress(OSError):
            return answer(detached, "hi", key="planted-key-81") == "Echo: hi"
        return False

    assert eventually(serves, pause=0.2)


def test_requests_to_the_endpoint_are_kept_and_always_asked(detached: str, project: Path) -> None:
    for _ in range(2):
        assert answer(detached, "for the journal", key="planted-key-81") == "Echo: for the journal"
    store = Store.open(project)
    assert eventually(lambda: len(store.search("for the journal")) == 2)
    found = store.search("for the journal")
    assert [(entry.status, entry.answer, entry.origin.face) for entry in found] == [
        ("complete", "Echo: for the journal", "endpoint")
    ] * 2
    assert {entry.key for entry in found} == {""}, "no cell is answered by them"
    assert len({entry.request_id for entry in found}) == 2
