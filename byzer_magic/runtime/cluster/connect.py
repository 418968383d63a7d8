"""Finding, starting and leaving a Ray cluster, each with a timeout and a clear error."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.runtime.cluster.discovery import listens, running_cluster, temp_folder
from byzer_magic.runtime.cluster.ray_import import child_environment, import_ray

NAMESPACE = "byzer"
"""The Ray namespace of all deployments: actor names are unique within a namespace."""
POLL_SECONDS = 0.1

Say = Callable[[str], None]

_OURS: set[str] = set()
"""Addresses of the clusters that `connect` has connected this process to."""


def connect(address: str, settings: Settings, say: Say) -> str:
    """Connect this process to a Ray cluster and return its address.

    A process that is connected already stays connected when the address is `auto` or the same.

    Args:
        address: ``host:port`` of a Ray head, or `auto`: the cluster that runs on this machine or that RAY_ADDRESS
            names; without one, a local Ray is started.
        settings: timeouts, and the resources of a local Ray.
        say: receives progress messages.

    Raises:
        CannotConnect: nothing listens at the address, or Ray refuses or does not respond in time.
    """
    _use_token()
    ray = import_ray()
    if ray.is_initialized():
        here: str = ray.get_runtime_context().gcs_address
        if address in ("auto", here):
            return here
        _probe(address)
        _leave(here)
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or running_cluster() or _start(settings, say)
        _use_token()  # the first start on a machine has just written it
    _probe(address)
    _attach(address, settings.connect_seconds)
    _OURS.add(address)
    return address


def _leave(here: str) -> None:
    """Disconnect from a cluster that `connect` connected to; a connection that the user's code made is left alone."""
    ray = import_ray()
    if here not in _OURS:
        raise CannotConnect(
            _("This process called ray.init() itself, for the cluster at {address}.", address=here),
            _("Call ray.shutdown() first, then connect again."),
        )
    ray.shutdown()


def _attach(address: str, seconds: float) -> None:
    """Call ray.init with a timeout of our own: it may block for minutes, and cannot be interrupted."""
    ray = import_ray()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def attach() -> None:
        try:
            logging.getLogger("ray").setLevel(logging.ERROR)  # Ray warns outside the main thread
            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except Exception as err:  # noqa: BLE001 - raised in the waiting thread
            ended.put(err)
        else:
            # log_to_driver does not cover the raylet's messages, which would appear in the cell or on stdout.
            ray._private.worker._worker_logs_enabled = False
            ended.put(None)

    threading.Thread(target=attach, name="byzer-ray-init", daemon=True).start()
    try:
        failure = ended.get(timeout=seconds)
    except queue.Empty:
        raise CannotConnect(
            _("Ray at {address} did not respond within {seconds:g} s.", address=address, seconds=seconds),
            _(
                "Check that the port is that of a Ray head of the same version. "
                "A cluster with token authentication needs RAY_AUTH_MODE=token."
            ),
        ) from None
    if failure is not None:
        text = str(failure).strip().splitlines() or [type(failure).__name__]
        raise CannotConnect(
            _("Ray at {address} refused the connection: {error}", address=address, error=text[0]),
            _("A cluster with token authentication needs RAY_AUTH_MODE=token and its token file."),
        ) from failure


def _use_token() -> None:
    """Use the token that `ray start` has written: Ray itself does so for address="auto" only.

    Ray reads RAY_AUTH_MODE at import, so this is called before; where Ray is imported already, its configuration is
    initialized again, for which Ray has no public function.
    """
    if "RAY_AUTH_MODE" in os.environ or not (Path.home() / ".ray" / "auth_token").exists():
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:
        from ray._raylet import Config  # type: ignore[attr-defined]  # not in its stub

        Config.initialize("")


def _probe(address: str) -> None:
    host, _colon, port = address.removeprefix("ray://").rpartition(":")
    if address.startswith("ray://") or not host or not port.isdigit():
        raise CannotConnect(
            _("{address!r} is not the address of a Ray head.", address=address),
            _("Use auto or host:port, e.g. --ray_address 10.0.0.5:6379."),
        )
    if not listens(host, int(port)):
        raise CannotConnect(
            _("Nothing is listening at {address}.", address=address),
            _("Start Ray there (ray start --head), or use --ray_address auto for a local one."),
        )


def head_file() -> Path:
    """Return the file with the local Ray's address and the id of the process that holds it."""
    return temp_folder() / "byzer_head.json"


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with (temp_folder() / "byzer_head.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(settings: Settings, say: Say) -> str:
    """Start the local Ray in a process of its own; of several processes that do so at once, one starts it."""
    with _one_at_a_time():
        if address := running_cluster():
            return address
        say(gettext("Ray is not running on this machine: starting a local one, which runs until `shutdown` ..."))
        try:
            return _start_once(settings, say)
        except CannotConnect:
            say(gettext("The local Ray did not start within Ray's own limit of 30 s: retrying ..."))
            return _start_once(settings, say)


def _start_once(settings: Settings, say: Say) -> str:
    log_path = temp_folder() / "byzer_head.log"
    pid = _spawn_head(log_path, settings.local_cpus, settings.local_gpus)
    try:
        return _await_head(pid, log_path, settings.start_seconds, say)
    except BaseException:  # an interrupt too leaves nothing running
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        raise


def _spawn_head(log_path: Path, cpus: int, gpus: int) -> int:
    """Start the process that holds the local Ray, detached from this one; return its pid."""
    command = [sys.executable, "-m", "byzer_magic.runtime.cluster.local_head", str(cpus), str(gpus)]
    with log_path.open("w") as output:
        done = subprocess.run(  # noqa: S603 - our own module
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            check=True,
            env=child_environment(os.environ),
        )
    return int(done.stdout)


def _await_head(pid: int, log_path: Path, seconds: float, say: Say) -> str:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if not _is_head(pid):
            lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
            log = "\n".join(lines)
            raise CannotConnect(
                _("The local Ray could not start."), _("From {file}:\n{log}", file=str(log_path), log=log)
            )
        if address := running_cluster():
            say(gettext("Local Ray is up after {seconds:.1f} s.", seconds=time.monotonic() - started))
            return address
        time.sleep(POLL_SECONDS)
    raise CannotConnect(
        _("The local Ray did not start within {seconds:g} s.", seconds=seconds), _("See {file}.", file=str(log_path))
    )


def shutdown(say: Say) -> bool:
    """Stop the local Ray that `connect` started, and no other; return whether there was one.

    Args:
        say: receives progress messages.
    """
    file = head_file()
    if not file.exists():
        return False
    try:
        head = json.loads(file.read_text(encoding="utf-8"))
        pid = int(head["pid"])
    except (OSError, ValueError, LookupError, TypeError):  # a full disk, or somebody's editor
        head, pid = {}, 0
    if not pid or not _is_head(pid):
        file.unlink(missing_ok=True)
        return False
    say(gettext("Stopping the local Ray ..."))
    ray = sys.modules.get("ray")  # without it, this process is connected to nothing
    if ray is not None and ray.is_initialized() and ray.get_runtime_context().gcs_address == head["address"]:
        ray.shutdown()
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 20
    while _is_head(pid) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return True


def _is_head(pid: int) -> bool:
    """Return whether that process holds the local Ray: process ids are reused."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state != "Z" and b"byzer_magic.runtime.cluster.local_head" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def room() -> dict[str, tuple[float, float]]:
    """Return the free and the total resources of the cluster, by name: `CPU` and `GPU`."""
    ray = import_ray()
    free: dict[str, Any] = ray.available_resources()
    total: dict[str, Any] = ray.cluster_resources()
    return {name: (float(free.get(name, 0)), float(total.get(name, 0))) for name in ("CPU", "GPU")}
