"""How long commands take in a shell, and the memory of a kernel and of a local Ray: of the product alone."""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import processes
from ways import ALIAS, say

from comparison.systems import Missing, Systems

SYSTEM = "commands"
SECONDS = 180
SETTLE_SECONDS = 3.0
"""After a deploy: what Ray starts meanwhile is up then."""
DEPLOY = (
    "--pretrained_model_type saas/openai --num_workers 4 --worker_concurrency 16 --cpus_per_worker 0.001 "
    "--infer_params saas.base_url={url} saas.api_key=k saas.model=tiny --model {alias}"
)
FRESH = """
import sys
import byzer_magic as bz
print(bz.deploy(sys.argv[1]).chat("hi").text, flush=True)
"""
NOTEBOOKS = 10
STEPS = {
    "new": "",
    "with the extension": "%load_ext byzer_magic",
    "connected": "%byzer connect",
    "after a chat": f"import byzer_magic as bz; bz.model({ALIAS!r}).chat('hi').text",
}
"""What kernels run, and what their memory is called then."""
NAMES = {
    r"gcs_server": "GCS, Ray's directory of the cluster",
    r"raylet/raylet|/raylet ": "raylet, which starts Ray's workers",
    r"dashboard/agent|ray::DashboardAgent": "Ray's dashboard agent",
    r"runtime_env/agent|ray::RuntimeEnvAgent": "Ray's runtime environment agent",
    r"log_monitor": "Ray's log monitor",
    r"autoscaler.*monitor": "Ray's autoscaler monitor",
    r"local_head": "the process that holds the local Ray",
    r"ray::Controller": "the controller",
    r"ray::Pool": "the pool of the alias",
    r"ray::IDLE": "the process that waits for the next deploy",
    r"ray::": "another Ray worker",
}
"""What processes are, by their titles."""


def measured(systems: Systems, rounds: int) -> dict[str, Any]:
    """Return seconds by command (medians), and MB by process.

    Raises:
        Missing: a command failed.
    """
    environ, took = systems.environ(SYSTEM), dict[str, list[float]]()
    shell = Shell(environ, systems.url, took)
    try:
        for number in range(rounds):
            if number:
                shell.run("shutdown")
            shell.run("connect", name="local Ray up")
        for number in range(rounds):
            say(f"commands, round {number + 1} ...")
            shell.round()
        shell.run("deploy", *shell.deploy_words(ALIAS))
        time.sleep(SETTLE_SECONDS)
        memory = systems.memory(SYSTEM)
        kernel = kernel_megabytes(environ)
    finally:
        with contextlib.suppress(Missing):
            shell.run("shutdown")
    seconds = {name: statistics.median(took[name]) for name in SHOWN if name in took}
    return {"seconds": seconds, "processes": [(named(title), size) for title, size in memory], "kernel": kernel}


SHOWN = (
    "local Ray up", "deploy", "list", "stat", "query", "undeploy", "fresh Python to its first answer", "shutdown"
)  # fmt: skip


class Shell:
    """Runs commands as a user does, with the clock running.

    Args:
        took: gets the seconds, by name.
    """

    def __init__(self, environ: Mapping[str, str], url: str, took: dict[str, list[float]]) -> None:
        self._environ, self._url, self._took = dict(environ), url, took
        self._command = str(Path(sys.executable).with_name("byzerllm"))

    def deploy_words(self, alias: str) -> list[str]:
        """Return the options of a deploy."""
        return DEPLOY.format(url=self._url, alias=alias).split()

    def round(self) -> None:
        """Run each command once, with a deployment of its own."""
        self.run("deploy", *self.deploy_words("shell"))
        self.run("list")
        self.run("stat", "--model", "shell")
        self.run("query", "--model", "shell", "--query", "hi")
        self.run("undeploy", "--model", "shell", "--force")
        self._fresh()
        self.run("undeploy", "--model", "fresh", "--force", name="")

    def run(self, *words: str, name: str | None = None) -> None:
        """Run a command.

        Args:
            words: of the command.
            name: what it is measured as; by default the first word.

        Raises:
            Missing: it failed.
        """
        with self._clock(words[0] if name is None else name):
            done = subprocess.run(
                [self._command, *words], env=self._environ, capture_output=True, text=True, check=False,
                timeout=SECONDS, stdin=subprocess.DEVNULL, cwd=self._environ["HOME"], start_new_session=True,
            )  # fmt: skip
        if done.returncode:
            raise Missing(f"byzerllm {words[0]}: {' '.join((done.stdout + done.stderr).split()[-40:])}")

    def _fresh(self) -> None:
        """Time a new Python that deploys and asks, until its answer is there, not until it has ended."""
        command = [sys.executable, "-c", FRESH, " ".join(self.deploy_words("fresh"))]
        with subprocess.Popen(
            command, env=self._environ, stdout=subprocess.PIPE, text=True, cwd=self._environ["HOME"],
            start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout
            with self._clock("fresh Python to its first answer"):
                answer = process.stdout.readline()
        if not answer:
            raise Missing("A fresh Python got no answer.")

    @contextlib.contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._took.setdefault(name, []).append(time.perf_counter() - started)


def named(title: str) -> str:
    """Return what a process is.

    Example:
        >>> named("ray::Pool(bench)")
        'the pool of the alias'
    """
    return next((name for pattern, name in NAMES.items() if re.search(pattern, title)), title[:60])


def kernel_megabytes(environ: Mapping[str, str]) -> dict[str, float]:
    """Return the memory of a Jupyter kernel: new, with the extension, connected, after a chat; and as one of ten."""
    found: dict[str, float] = {}
    with contextlib.ExitStack() as opened:
        kernels = [opened.enter_context(_kernel(environ))]
        for name, code in STEPS.items():
            kernels[0].run(code)
            time.sleep(1)
            found[name] = processes.megabytes(kernels[0].pid)
        while len(kernels) < NOTEBOOKS:
            kernels.append(opened.enter_context(_kernel(environ)))
            for code in STEPS.values():
                kernels[-1].run(code)
        time.sleep(1)
        found["each of ten"] = statistics.mean(processes.megabytes(kernel.pid) for kernel in kernels)
    return found


class _Kernel(NamedTuple):
    client: Any
    pid: int

    def run(self, code: str) -> None:
        reply = self.client.execute_interactive(code, timeout=SECONDS, output_hook=lambda _: None)
        if reply["content"]["status"] != "ok":
            raise Missing(f"The kernel: {reply['content'].get('evalue')}")


@contextlib.contextmanager
def _kernel(environ: Mapping[str, str]) -> Iterator[_Kernel]:
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=dict(environ), cwd=environ["HOME"], stderr=subprocess.DEVNULL)
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=SECONDS)
        yield _Kernel(client, manager.provisioner.pid)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
