"""A real Jupyter kernel, driven over its own protocol."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import UndeploySpec
from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Cell:
    """What one executed cell showed."""

    status: str = ""
    text: str = ""
    """Everything printed."""
    error: str = ""
    shown: list[dict[str, str]] = field(default_factory=list)
    """Display data, each in its last version."""
    updates: int = 0
    """How often a display was painted again."""
    value: str = ""

    @property
    def markdown(self) -> str:
        return "\n".join(data.get("text/markdown", "") for data in self.shown)

    @property
    def painted(self) -> str:
        return "\n".join(data.get("text/html", "") + data.get("text/markdown", "") for data in self.shown)

    @property
    def everything(self) -> str:
        return "\n".join([self.text, self.error, self.value, *(str(data) for data in self.shown)])


class Kernel:
    """A kernel with our magics loaded."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=env, cwd=str(folder))
        self.client: BlockingKernelClient = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=2 * PATIENCE)
        self.asked: dict[str, Any] = {}

    def run(
        self, code: str, *, timeout: float = 120, on_text: Any = None, after: int = 0, typed: str | None = None
    ) -> Cell:
        """Execute a cell; `on_text` is called once, when the first text of an answer is painted, and updated so often.

        `typed` is what the user answers when the cell asks for something; without it there is no input.
        """
        request = self._start(code, typed, timeout)
        cell = Cell()
        ids: dict[str, int] = {}
        deadline = time.monotonic() + timeout
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                cell.text += content["text"]
            elif kind == "error":
                cell.error = "\n".join(content["traceback"])
            elif kind == "execute_result":
                cell.value = content["data"]["text/plain"]
            elif kind == "display_data":
                ids[content.get("transient", {}).get("display_id", "")] = len(cell.shown)
                cell.shown.append(content["data"])
            elif kind == "update_display_data" and content["transient"]["display_id"] in ids:  # else of an earlier cell
                cell.updates += 1
                cell.shown[ids[content["transient"]["display_id"]]] = content["data"]
            elif kind == "status" and content["execution_state"] == "idle":
                break
            if on_text and cell.painted.strip() and cell.updates >= after:
                on_text()
                on_text = None
        cell.status = self._reply(request)["status"]
        return cell

    def _reply(self, request: str) -> dict[str, Any]:
        """Return the answer to one request: a slow kernel may still answer an earlier one, e.g. that of its start."""
        while True:
            message = self.client.get_shell_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") == request:
                content: dict[str, Any] = message["content"]
                return content

    def _start(self, code: str, typed: str | None, timeout: float) -> str:
        request: str = self.client.execute(code, stop_on_error=False, allow_stdin=typed is not None)
        if typed is not None:
            self.asked = self.client.get_stdin_msg(timeout=timeout)["content"]
            self.client.input(typed)
        return request

    def ask(self, code: str) -> None:
        """Begin to execute a cell, and do not wait for it."""
        self._start(code, None, 0)

    def interrupt(self) -> None:
        self._manager.interrupt_kernel()

    def stop(self) -> None:
        """Stop the kernel's process, as a debugger or a machine that swaps does."""
        self._manager.signal_kernel(signal.SIGSTOP)

    def resume(self) -> None:
        """Let the kernel's process go on."""
        self._manager.signal_kernel(signal.SIGCONT)

    def restart(self) -> None:
        self._manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=2 * PATIENCE)

    def complete(self, code: str) -> list[str]:
        return list(self._reply(self.client.complete(code))["matches"])

    def close(self) -> None:
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@contextmanager
def loaded(cluster: Manager, env: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """A kernel with the magics; what its cells deploy is removed at the end."""
    kernel = Kernel(env, folder)
    assert kernel.run("%load_ext byzer_magic").status == "ok"
    yield kernel
    kernel.close()
    for alias in cluster.run(cluster.aliases()):
        cluster.run(cluster.undeploy(UndeploySpec(model=alias, force=True)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def kernel_env(ray_env: dict[str, str], folder: Path) -> dict[str, str]:
    return {**ray_env, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"), "LANG": "C.UTF-8"}


@pytest.fixture(scope="module")
def kernel(cluster: Manager, kernel_env: dict[str, str], folder: Path) -> Iterator[Kernel]:
    """One kernel for the tests of a file."""
    with loaded(cluster, kernel_env, folder) as kernel:
        yield kernel
