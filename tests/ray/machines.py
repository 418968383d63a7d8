"""A cluster of two machines on one: the second node has a network and files of its own where the kernel allows it.

Otherwise it has an address of its own only, and the nodes reach each other's Unix sockets as well as their ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil

from byzer_magic.runtime.cluster.ray_import import child_environment
from tests.conftest import Shell, short_folder
from tests.servers.process import HERE

GPUS = 2
"""Of each node: a number to Ray; engines use the CPU."""
CPUS = (1, 2)
"""Of the first and the second."""
START_SECONDS = 120
ALONE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Runs a command with networks, files and processes of its own; its end ends them all."""


def can_be_apart() -> bool:
    """Return whether the kernel lets this user have networks, and files, that others do not see."""
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        return False
    script = "ip link add bzprobe type veth peer name bzprobe2 && mount -t tmpfs tmpfs /mnt"
    return subprocess.run([*ALONE, "sh", "-c", script], capture_output=True, check=False).returncode == 0


def port_apart(number: int) -> int:
    """Return a port that the system gives no connection of its own: Ray has so many that one would take it."""
    return 20_000 + 2 * (os.getpid() % 5_000) + number


COMMANDS = """
import contextlib, io, json, sys
from byzer_magic.cli import main
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


class Session(Shell):
    """Runs commands one after the other in one process, where each process would import Ray and join the cluster."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        super().__init__(env, folder)
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMANDS],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=folder, start_new_session=True,
        )  # fmt: skip

    def __call__(self, *words: str, easy: bool = False) -> subprocess.CompletedProcess[str]:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(["easy", *words] if easy else words), file=self._process.stdin, flush=True)
        line = next(line for line in self._process.stdout if line.startswith("["))
        return subprocess.CompletedProcess(words, *json.loads(line))

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._process.communicate()


class Machines:
    """A cluster whose head runs; the second node joins and leaves when a test says so.

    Args:
        stack: ends what was started.
        env: the environment of all processes.
    """

    def __init__(self, stack: ExitStack, env: dict[str, str]) -> None:
        self.apart = can_be_apart()
        """Whether the second node has a network and files of its own."""
        self.first = Path(stack.enter_context(short_folder()))
        self.second = Path(stack.enter_context(short_folder()))
        self._stack = stack
        self._started: subprocess.Popen[bytes] | None = None
        number = os.getpid() % 250
        self.hosts = (f"10.77.{number}.1", f"10.77.{number}.2") if self.apart else ("127.0.0.2", "127.0.0.3")
        self._card = f"bz{os.getpid()}"
        if self.apart:
            self._plug_in()
        (self.first / "token").write_text(secrets.token_hex(32))
        self.address = f"{self.hosts[0]}:{port_apart(0)}"
        root = Path(__file__).parents[2]
        self._env = {
            **child_environment({**env, "PYTHONPATH": str(root)}), "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.second / "token"), "RAY_ADDRESS": self.address,
            "RAY_raylet_start_wait_time_s": str(START_SECONDS),  # 30 s may not do on busy cores
            "BYZER_CONFIG": str(self.second / "config.toml"), "RAY_TMPDIR": str(self.first),
        }  # fmt: skip
        shutil.copy(self.first / "token", self.second)
        head = ("--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false")
        process = self._start(self.first, self.hosts[0], *head)
        if not self._is_up(process, self.first):
            self._is_up(self._start(self.first, self.hosts[0], *head), self.first, last=True)

    def face(self, folder: Path, *, there: bool = False) -> Shell:
        """Return a shell on the first node, or there, on the second."""
        shell = Shell({**self._env, "RAY_TMPDIR": str(self.second if there else self.first)}, folder)
        if there and self.apart:
            shell.prefix = self._inside()
        return shell

    def stay(self, folder: Path) -> Session:
        """Return a shell on the first node whose commands share a process."""
        return self._stack.enter_context(Session(self.face(folder).env, folder))

    def join(self, **env: str) -> None:
        """Have the second node join, with these variables in its environment."""
        if not self._joined(env):
            self.leave()
            self._joined(env, last=True)

    def _joined(self, env: dict[str, str], *, last: bool = False) -> bool:
        prefix: tuple[str, ...] = ()
        if self.apart:  # it sees no file of the first node, and waits for its network card
            script = f'mount -t tmpfs tmpfs {self.first} && read _ && exec "$@"'
            prefix = (*ALONE, "sh", "-c", script, "sh")
        node = self._start(self.second, self.hosts[1], f"--address={self.address}", prefix=prefix, env=env)
        self._started = node
        if self.apart:
            self._connect(node)
        return self._is_up(node, self.second, last=last)

    def serve_there(self, command: list[str]) -> None:
        """Run a server on the second node, too: what is at a port of 127.0.0.1 here is at the same port there."""
        if self.apart:
            process = subprocess.Popen([*self._inside(), *command], start_new_session=True)
            self._stack.callback(_end, process)

    @property
    def node(self) -> psutil.Process | None:
        """Return the process that all processes of the second node are children of."""
        return psutil.Process(self._started.pid) if self._started else None

    def leave(self) -> None:
        """Cut the second node off and end it, as a power cut does: nobody there says that it goes."""
        assert self._started is not None
        if self.apart:
            _run(f"ip link set {self._card} down")
        _end(self._started)
        self._started = None
        if self.apart:
            _run(f"ip link del {self._card} 2>&1 || true")  # it may have gone with the other end
            self._plug_in()

    def _plug_in(self) -> None:
        _run(f"ip link add {self._card} type veth peer name {self._card}b")
        _run(f"ip addr add {self.hosts[0]}/30 dev {self._card}; ip link set {self._card} up")
        self._stack.callback(subprocess.run, ["ip", "link", "del", self._card], capture_output=True, check=False)

    def _connect(self, node: subprocess.Popen[bytes]) -> None:
        while not psutil.Process(node.pid).children():
            time.sleep(0.01)
        _run(f"ip link set {self._card}b netns {self._inner}")
        for command in (
            f"ip addr add {self.hosts[1]}/30 dev {self._card}b", f"ip link set {self._card}b up", "ip link set lo up",
            f"ip route add default via {self.hosts[0]}",
        ):  # fmt: skip
            _run(f"nsenter -t {self._inner} -n {command}")
        assert node.stdin
        node.stdin.write(b"\n")
        node.stdin.flush()

    @property
    def _inner(self) -> int:
        """Return the id of the process that the second node's network and files belong to."""
        assert self.node is not None
        return self.node.children()[0].pid

    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self._inner), "--net", "--mount", "--pid")

    def _start(
        self, folder: Path, host: str, *words: str, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        cpus = CPUS[folder == self.second]
        command = [
            *prefix, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", f"--node-ip-address={host}",
            f"--temp-dir={folder}", f"--num-cpus={cpus}", f"--num-gpus={GPUS}", "--object-store-memory=80000000",
            "--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0", *words,
        ]  # fmt: skip
        given = {**self._env, "RAY_TMPDIR": str(folder), **(env or {})}
        del given["RAY_ADDRESS"]
        with (folder / "start.log").open("w") as output:
            process = subprocess.Popen(
                command, env=given, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
            )
        self._stack.callback(_end, process)
        return process

    def _is_up(self, process: subprocess.Popen[bytes], folder: Path, *, last: bool = False) -> bool:
        """Return whether a node has started; the last attempt must succeed."""
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in (log := (folder / "start.log").read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                _end(process)
                assert not last, log
                return False
            time.sleep(0.05)
        return True


@contextlib.contextmanager
def machines(env: dict[str, str]) -> Iterator[Machines]:
    """Hold a cluster of one node, which a second one may join."""
    with ExitStack() as stack:
        yield Machines(stack, env)


def provider_command(port: int, key: str) -> list[str]:
    """Return the command of the tests' provider at a port of its own choosing."""
    return [sys.executable, str(HERE / "openai_api.py"), "--port", str(port), "--key", key]


def _run(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it has started: Ray would give them 30 s."""
    with contextlib.suppress(psutil.Error):
        for each in [*(top := psutil.Process(process.pid)).children(recursive=True), top]:
            with contextlib.suppress(psutil.Error):
                each.kill()
    process.wait(60)
    if process.stdin:
        process.stdin.close()
