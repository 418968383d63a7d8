"""The node of the local Ray: `ray.init` starts it on loopback, with as few processes as Ray needs for actors.

`ray.init` has no parameters for that. What is patched here belongs to the process that holds the local Ray, and what a
version of Ray does not have is left as it is.
"""

from __future__ import annotations

import contextlib
import random
import re
import shlex
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from byzer_magic.runtime.cluster import default_worker
from byzer_magic.runtime.cluster.attach import NAMESPACE
from byzer_magic.runtime.cluster.loopback import spelled
from byzer_magic.runtime.cluster.on_demand import Agent

POLL_SECONDS = 0.1
PORTS = range(20000, 32000)
"""Where ports are chosen: below those that Linux gives to outgoing connections."""
AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")
"""Ray's parameters for the ports of its agents (of `ray start`: --dashboard-agent-grpc-port and so on).

A raylet waits up to 15 s for the file in which an agent writes its port, then ends itself, and neither an option nor
a variable changes that. Ports that are chosen before are in those files already. Nor do two Rays on one machine then
want the same default.
"""
OWN_NAMESPACES = (HEAD_NAMESPACE := "byzer-head", NAMESPACE)
"""The namespaces of drivers that belong to this package: of the process that holds the local Ray, and of `attach`."""
JOBS_SECONDS = 1.0
"""How long Ray may take to return its jobs."""
ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # Ray lowers the priority of its workers to 15, for batch jobs; ours serve requests
    "RAY_gcs_server_port_wait_time_s": "3600",  # the process that waits for this one has its own timeout
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_enable_metrics_collection": "0",  # no dashboard displays them
    "RAY_enable_worker_prestart": "1",  # the controller's process starts at once, while the driver connects,
    "RAY_preload_python_modules": "byzer_magic.runtime.cluster.preload",
    "RAY_prestart_worker_first_driver": "0",  # which does not wait for as many processes as there are CPUs
}
"""Ray's settings, where the user has none; its processes inherit them."""
BLANK = " "
"""The command of an agent that the raylet is not to start; with an empty one it refuses to start itself."""
RUNTIME_ENV_AGENT = "--runtime_env_agent_command"
RAYLET = {
    "--num_prestart_python_workers": "1",  # for the controller; Ray starts one for each CPU
    "--dashboard_agent_command": BLANK,
    RUNTIME_ENV_AGENT: BLANK,  # `Agent` listens in its place
}
"""Options of the raylet that Ray's Python code does not let one choose, and their values here."""
GCS = re.compile(r"(--gcs-address=)(\S+)")
"""The address of the Ray in the raylet's command, where `ray.init(address="auto")` looks for a single Ray on a machine:
it is written so that it stays on loopback (see `loopback`)."""


def patch(began: Callable[[Any], None]) -> None:
    """Have `ray.init` start its node on loopback, without a dashboard, its agent, an autoscaler and a log monitor.

    Args:
        began: receives the node as soon as its processes are being started.
    """
    from ray import _raylet
    from ray._common import network_utils
    from ray._private import node, services, utils

    localhost = getattr(network_utils, "get_localhost_ip", _nothing)
    persist_port = getattr(_raylet, "persist_port", _nothing)
    if hasattr(node, "wait_for_persisted_port"):
        node.wait_for_persisted_port = _yielding(node.wait_for_persisted_port)
    services.start_ray_process = _with_options(services.start_ray_process)
    utils.get_dashboard_dependency_error = _nothing  # which imports a dashboard, for an agent that is not started

    class Node(node.Node):  # type: ignore[misc]  # Ray has no types here
        def __init__(self, ray_params: Any, **options: Any) -> None:
            began(self)
            names = [name for name in AGENT_PORTS if hasattr(ray_params, name)]
            ray_params.update(**dict(zip(names, _free_ports(len(names)), strict=True)))
            ray_params.worker_path = default_worker.__file__
            ray_params.no_monitor = True  # the autoscaler's: one node does not become more
            ray_params.include_log_monitor = False  # see `serve_programs`
            if loopback := localhost():
                ray_params.node_ip_address = loopback  # `ray.init` would replace it
            super().__init__(ray_params, **options)

        def start_api_server(self, **_options: Any) -> None:
            """Start nothing: a dashboard is not included, and the process that replaces it has nothing to do."""
            self._webui_url = ""

        def start_raylet(self, *arguments: Any, **options: Any) -> None:
            """Start the raylet, with the agents' ports in the files where it looks for them."""
            for name in AGENT_PORTS:
                persist_port(self._session_dir, self._node_id, name, getattr(self._ray_params, name, 0))
            super().start_raylet(*arguments, **options)

        def start_ray_processes(self) -> None:
            """Start the raylet and wait until it is known: Ray's own limit for that cannot be set."""
            super().start_ray_processes()
            while True:
                with contextlib.suppress(RuntimeError):  # not yet
                    services.get_node(self.gcs_address, self._node_id)
                    return
                time.sleep(POLL_SECONDS)

    node.Node = Node  # `ray.init` looks it up there


def serve_programs(node: Any) -> None:
    """Start the log monitor as soon as another program has connected: it sends to it what its tasks print.

    Args:
        node: the node, as `patch` has passed it on.
    """
    import ray

    if "log_monitor" in node.all_processes:
        return
    gcs = ray._private.worker.global_worker.gcs_client
    with contextlib.suppress(Exception):  # Ray is ending; this package does not depend on it
        jobs = gcs.get_all_job_info(
            skip_submission_job_info_field=True, skip_is_running_tasks_field=True, timeout=JOBS_SECONDS
        )
        if any(job.config.ray_namespace not in OWN_NAMESPACES for job in jobs.values() if not job.is_dead):
            node.start_log_monitor()


def _nothing(*_arguments: Any) -> None:
    """Do nothing."""


def _with_options(start: Any) -> Any:
    """Return Ray's function that starts a process, as one that gives the raylet the options of `RAYLET`."""

    def start_ray_process(command: list[str], *arguments: Any, **options: Any) -> Any:
        given = dict(word.split("=", 1) for word in command if word.partition("=")[0] in RAYLET)
        if agent := given.get(RUNTIME_ENV_AGENT):
            Agent(shlex.split(agent), *_free_ports(1)).listen()
        words = [f"{name}={RAYLET[name]}" if (name := word.partition("=")[0]) in given else word for word in command]
        if given:
            words = [GCS.sub(lambda found: found[1] + spelled(found[2]), word) for word in words]
        return start(words, *arguments, **options)

    return start_ray_process


def _yielding(wait: Any) -> Any:
    """Return Ray's function that waits for a file with a port, as one that lets other threads run meanwhile."""

    def wait_for_persisted_port(session_dir: str, node_id: str, name: str, timeout_ms: int, **options: Any) -> Any:
        deadline = time.monotonic() + timeout_ms / 1000
        while not Path(session_dir, f"{name}_{node_id}").exists() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS / 4)
        return wait(session_dir, node_id, name, timeout_ms=int(POLL_SECONDS * 1000), **options)

    return wait_for_persisted_port


def _free_ports(count: int) -> list[int]:
    """Return ports at which nothing listens."""
    found: list[int] = []
    for port in random.sample(PORTS, k=len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            break
    return found
