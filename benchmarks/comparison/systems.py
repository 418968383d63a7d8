"""The ways that are compared, and the processes behind them: started here, and ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
from ways import say

from comparison import environments
from comparison.client import MARK

BENCHMARKS = Path(__file__).parents[1]
START_SECONDS, COMMAND_SECONDS, END_SECONDS = 180, 120, 40
FOREIGN = ("RAY_", "BYZER_", "OPENAI_", "LITELLM_", "PIP_", "PYTHONDONTWRITEBYTECODE", "HTTP_PROXY", "http_proxy")
"""Beginnings of variables that nothing here inherits."""
LITELLM = """
model_list:
  - model_name: tiny
    litellm_params: {model: openai/tiny, api_base: "%s", api_key: k}
router_settings: {num_retries: 0}
litellm_settings: {num_retries: 0, callbacks: [], success_callback: [], failure_callback: [], telemetry: false}
general_settings: {disable_spend_logs: true}
"""
QUIET_LITELLM = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",
}  # fmt: skip


@dataclass(frozen=True)
class Route:
    """One way from a prompt to an answer.

    Args:
        title: as in the table.
        environment: a key of `environments.PINS`, or `ours`.
        arguments: of `comparison.client`; `{url}` is that of the provider, `{port}` that of the system's server.
        system: what serves it besides the provider; empty: nothing does.
        serving: how the titles of those of its processes begin that handle requests; empty: all do.
        after: the way whose client starts the system.
        server: the arguments of Python for a server of its own in the system; `{url}` and `{port}` as above.
    """

    title: str
    environment: str
    arguments: tuple[str, ...]
    system: str = ""
    serving: tuple[str, ...] = ()
    after: str = ""
    server: tuple[str, ...] = ()


SERVE = ("ray::ProxyActor", "ray::ServeReplica")
ROUTES = {
    "raw": Route("raw aiohttp", "client", ("raw", "{url}")),
    "ours": Route("ours", "ours", ("ours", "{url}"), "ours", ("ray::Pool",)),
    "sdk": Route("SDK httpx", "client", ("sdk", "{url}", "httpx")),
    "sdk-aiohttp": Route("SDK aiohttp", "client", ("sdk", "{url}", "aiohttp")),
    "litellm": Route("LiteLLM 1.80", "client", ("sdk", "http://127.0.0.1:{port}/v1", "aiohttp"), "litellm"),
    "serve-http": Route(
        "Serve HTTP", "client", ("raw", "http://127.0.0.1:{port}"), "serve", SERVE, after="serve-handle"
    ),
    "serve-handle": Route("Serve handle", "serve", ("serve", "{url}", "{port}"), "serve", SERVE),
}
"""By name."""


class Missing(Exception):
    """Something that is measured could not be started, or has ended."""


class Client:
    """A client process; see client.py."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], folder: Path) -> None:
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = folder / "client.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=dict(environ),
                cwd=folder, start_new_session=True,  # a Ctrl-C is not for it
            )  # fmt: skip
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    def send(self, do: str, **arguments: Any) -> None:
        """Give it something to do."""
        assert self.process.stdin
        with contextlib.suppress(OSError):  # the answer says that it has ended
            self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.process.stdin.flush()

    def answer(self, seconds: float = COMMAND_SECONDS) -> Any:
        """Return the result of what it was given first.

        Raises:
            Missing: it failed, took too long, or has ended.
        """
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise Missing(f"no answer within {seconds:.0f} s") from None
        if "failed" in answer:
            raise Missing(answer["failed"])
        return answer["result"]

    def do(self, do: str, **arguments: Any) -> Any:
        """Let it do something; return the result."""
        self.send(do, **arguments)
        return self.answer()

    def end(self) -> None:
        """Let it end by itself, or else end it."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            processes.end([self.pid])

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                if line.startswith(MARK):
                    self._answers.put(json.loads(line.removeprefix(MARK)))
        self._answers.put({"failed": f"the client has ended: {reason(self._log)}"})


class Systems:
    """All that a run starts. Everything of a system has a marked environment, by which it is found.

    Args:
        url: the provider's.
        folder: for the files of all systems; its path must be short, as Ray puts sockets below it.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._folder = folder
        self._ports: dict[str, int] = {}
        self._clients: list[Client] = []
        self._names: set[str] = set()

    def client(self, route: Route, seconds: float = START_SECONDS) -> Client:
        """Start the client of a way, and before it what it needs.

        Raises:
            Missing: it did not start.
        """
        try:
            interpreter = environments.python(route.environment)
            if route.system == "litellm" and route.system not in self._ports:
                self._start_litellm()
        except environments.NotInstalled as err:
            raise Missing(f"not installed: {err}") from err
        port = self._ports.setdefault(route.title if route.server else route.system, free_port())
        if route.server:
            self._start_server(route, port)
        arguments = [argument.format(url=self.url, port=port) for argument in route.arguments]
        name = route.system if route.environment != "client" else "clients"
        started = Client([interpreter, "-m", "comparison.client", *arguments], self.environ(name), self._folder / name)
        self._clients.append(started)
        started.answer(seconds)
        return started

    def _start_server(self, route: Route, port: int) -> None:
        """Start the server of a way with our own interpreter, and wait until it listens."""
        command = [sys.executable, *(part.format(url=self.url, port=port) for part in route.server)]
        environ, log = self.environ(route.system), self._folder / route.system / f"{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._await(process, port, log)

    @staticmethod
    def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.2)
        raise Missing(f"it did not start: {reason(log)}")

    def environ(self, name: str) -> dict[str, str]:
        """Return the environment of a system: with folders of its own, and nothing of its user's settings."""
        folder = self._folder / name
        (folder / "home").mkdir(parents=True, exist_ok=True)
        self._names.add(name)
        plain = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        path = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
        return plain | {
            "HOME": str(folder / "home"), "RAY_TMPDIR": str(folder), "TMPDIR": str(folder), "no_proxy": "127.0.0.1",
            "NO_PROXY": "127.0.0.1", "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1",
            "BYZER_LOCAL_CPUS": "4", "BYZER_START_SECONDS": "120", "RAY_worker_niceness": "0",
            processes.MARKER: self._mark(name),
        }  # fmt: skip

    def members(self, route: Route) -> dict[int, bool]:
        """Return the processes of a way's system without its client, and whether each handles requests."""
        pids = self._processes(route.system) if route.system else []
        return {pid: not route.serving or processes.title(pid).startswith(route.serving) for pid in pids}

    def serving(self, route: Route) -> float:
        """Return the CPU seconds, so far, of those processes of a way's system that handle requests."""
        return sum(processes.cpu_seconds(pid) for pid, serves in self.members(route).items() if serves)

    def cpu(self, name: str) -> float:
        """Return the CPU seconds, so far, of all processes of a system that run, without its clients."""
        return sum(map(processes.cpu_seconds, self._processes(name)))

    def memory(self, name: str) -> list[tuple[str, float]]:
        """Return the titles and the MB (PSS) of a system's processes without its clients, the largest first."""
        found = [(processes.title(pid), processes.megabytes(pid)) for pid in self._processes(name)]
        return sorted(found, key=lambda one: -one[1])

    def end(self) -> None:
        """End everything: clients by themselves, which stop what they have started, then what is left."""
        for client in self._clients:
            client.end()
        for name in self._names:
            processes.end(processes.marked(self._mark(name)))

    def _processes(self, name: str) -> list[int]:
        clients = {client.pid for client in self._clients}
        return [pid for pid in processes.marked(self._mark(name)) if pid not in clients]

    def _mark(self, name: str) -> str:
        return f"{self._folder.name}-{name}"

    def _start_litellm(self) -> None:
        """Start LiteLLM's proxy with one process, and wait until it listens."""
        interpreter, port = environments.python("litellm"), free_port()
        environ, folder = self.environ("litellm"), self._folder / "litellm"
        (folder / "config.yaml").write_text(LITELLM % self.url, encoding="utf-8")
        server = ["--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
        command = [str(Path(interpreter).with_name("litellm")), *server, "--num_workers", "1", "--telemetry", "False"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environ | QUIET_LITELLM, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                start_new_session=True,
            )  # fmt: skip
        self._await(process, port, folder / "log")
        self._ports["litellm"] = port


def reason(log: Path) -> str:
    """Return the line of a log that says why a Python process has ended, or else the last one."""
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Exit)\b", line)]
    return (errors or lines or ["its log is empty"])[-1][:200]


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def systems(url: str) -> Iterator[Systems]:
    """Yield what starts the systems; at the end nothing of them is left."""
    with tempfile.TemporaryDirectory(prefix="bzp", dir="/tmp", ignore_cleanup_errors=True) as folder:
        started = Systems(url, Path(folder))
        try:
            yield started
        finally:
            say("ending all processes ...")
            started.end()
