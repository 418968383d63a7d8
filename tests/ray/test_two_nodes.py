"""Workers and replicas of the endpoint on another node: another Ray node on this machine, with its own files."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.conftest import Shell, short_folder
from tests.ray.test_deploy import eventually
from tests.servers.process import free_port

pytestmark = [pytest.mark.ray, pytest.mark.engine, pytest.mark.timeout(600)]

GPUS = 2
"""Of each node: those of the first are conftest's BYZER_LOCAL_GPUS."""


@contextlib.contextmanager
def other_node(address: str, folder: Path) -> Iterator[psutil.Process]:
    """Hold a second node; yields the process that Ray's processes of that node are children of."""
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--address={address}",
        f"--temp-dir={folder}", "--num-cpus=2", f"--num-gpus={GPUS}", "--object-store-memory=80000000",
        "--disable-usage-stats",
    ]  # fmt: skip
    root = Path(__file__).parents[2]
    env = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_TMPDIR": str(folder), "PYTHONPATH": str(root)}
    env = child_environment(env)  # as the first node has it
    with (folder / "start.log").open("w") as output:
        node = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    try:
        yield psutil.Process(node.pid)
    finally:
        node.terminate()  # Ray gives what runs there up to 30 s
        node.wait(60)


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path]]:
    with short_folder() as first, short_folder() as second:
        yield Path(first), Path(second)


def test_logs_and_endpoint_of_a_cluster_of_two_nodes(shell: Shell, folders: tuple[Path, Path], gguf: Path) -> None:
    first, second = folders
    shell.env |= {"RAY_TMPDIR": str(first)}
    assert shell("connect").returncode == 0
    try:
        deploy(shell, gguf)
        address = (first / "ray" / "ray_current_cluster").read_text()  # in the spelling that Ray leaves as it is
        with other_node(address, second) as node:
            assert eventually(lambda: "Ray runtime started" in (second / "start.log").read_text(), 60)
            done = shell("scale", "--model", "l", "--num_workers", "2")
            assert done.returncode == 0, done.stderr
            assert loads(shell) == 2
            assert sum(path.read_text().count(MARK) for path in first.rglob("worker-*")) == 1, "of one of the two"
            port = serve_on_both(shell, node)
            end(node, "Engine")
            assert eventually(lambda: loads(shell) == 3, 60), "that of the process that has died, and of the new one"
            end(node, "raylet")
            assert eventually(lambda: "cannot be read" in shell("logs", "--model", "l").stdout, 60)
            assert loads(shell) == 1
            assert "1 process does not respond" in shell("list").stderr
            assert shell("shutdown").returncode == 0
            assert eventually(lambda: not any(serves_at(each, port) for each in psutil.process_iter()), 30)
    finally:
        shell("shutdown")


def serve_on_both(shell: Shell, node: psutil.Process) -> int:
    """Serve from two processes; check that there is one on each node, and that both answer; return their port."""
    port = free_port()
    words = ("serve", "--detach", "--num_replicas", "2", "--host", "0.0.0.0", "--api_key", "planted-key-82")
    done = shell(*words, "--port", str(port))
    assert done.returncode == 0, done.stderr
    replicas = [process for process in psutil.process_iter() if serves_at(process, port)]
    assert len(replicas) == 2
    assert len([process for process in replicas if process in node.children(recursive=True)]) == 1
    listed = shell("list").stderr
    assert "respond" not in listed
    urls = re.findall(rf"http://[\d.]+:{port}", listed)
    assert urls
    for url in urls:
        with urllib.request.urlopen(f"{url}/health", timeout=30) as response:
            assert response.status == 200
    return port


def serves_at(process: psutil.Process, port: int) -> bool:
    """Return whether a process listens on a port."""
    with contextlib.suppress(psutil.Error):
        found = process.net_connections("tcp")
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in found)
    return False


MARK = "chat eos_token"
"""The engine writes it once when it loads a model."""


def loads(shell: Shell) -> int:
    return shell("logs", "--model", "l").stdout.count(MARK)


def deploy(shell: Shell, gguf: Path) -> None:
    """Deploy a worker that takes all GPUs of the first node, so that another one goes elsewhere."""
    done = shell(
        "deploy", "--model", "l", "--infer_backend", "llama_cpp", "--model_path", str(gguf),
        "--gpus_per_worker", str(GPUS), "--cpus_per_worker", "0.001", "--infer_params", "verbose=true",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def end(node: psutil.Process, name: str) -> None:
    """Kill a process of a node, and wait until it has gone."""
    [found] = [child for child in node.children(recursive=True) if name in " ".join(child.cmdline()[:1])]
    found.kill()
    found.wait(10)
