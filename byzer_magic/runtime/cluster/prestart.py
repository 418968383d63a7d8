"""Keeping one worker process ready for the next deploy.

Ray takes a second or more to start an actor's process, most of it for importing Ray, and a pool then imports as much
again. A raylet can start a process in advance, but only Ray's C++ API has a function for it; the request itself is an
ordinary gRPC call. On the local Ray that process also imports what pools need (`preload`). A task that imports it would
not do: Ray gives a process that has run a task to no actor.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import grpc  # Ray has one only in ray[default]: a dependency of ours
import ray

from byzer_magic.log import get_logger
from byzer_magic.runtime.cluster import preload

KEEP_SECONDS = 3600
"""How long an unused process is kept."""
RESPONSE_SECONDS = 2.0
IDLE_TITLE = b"ray::IDLE"
"""What Ray calls a worker process that has no work."""

log = get_logger("prestart")


class Spare:
    """The process that waits for the next deploy: at most one, so that its memory has a limit."""

    def __init__(self) -> None:
        self._asked: float | None = None

    def taken(self) -> None:
        """Note that a deployment takes the process."""
        self._asked = None

    def renew(self) -> None:
        """Have a process wait, unless one does or is being started."""
        waits = self._asked is not None and time.monotonic() - self._asked < KEEP_SECONDS
        if waits or _is_idle(preload.pid()):
            return
        self._asked = time.monotonic()
        prestart()


def _is_idle(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(IDLE_TITLE)
    except OSError:
        return False


def prestart() -> None:
    """Ask this node to start a process now, for the next actor.

    All errors are logged only: without a prestarted process, the next deploy takes longer and is the same otherwise.
    """
    if file := preload.file():
        with contextlib.suppress(OSError):
            Path(f"{file}{preload.WANTED}").touch()
    try:
        from ray._private.grpc_utils import init_grpc_channel
        from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc

        context = ray.get_runtime_context()
        node = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
        request = node_manager_pb2.PrestartWorkersRequest(
            language=0,  # Python
            num_workers=1,
            keep_alive_duration_secs=KEEP_SECONDS,
        )
        if file:  # elsewhere the job of this driver has ended, and its idle processes are ended with it
            request.job_id = bytes.fromhex(context.get_job_id())
        request.runtime_env_info.serialized_runtime_env = "{}"
        address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
        # As Ray's own channels: the user's http_proxy is for requests to providers.
        with init_grpc_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            node_manager_pb2_grpc.NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=RESPONSE_SECONDS)
    except (ImportError, AttributeError, StopIteration, KeyError, ray.exceptions.RayError, grpc.RpcError) as err:
        log.debug("no process was prestarted: %s", err)
