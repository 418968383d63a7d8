"""The replicas of the endpoint: detached actors that serve HTTP on the nodes of a cluster, whoever started them."""

from __future__ import annotations

import asyncio
import functools
import pkgutil
import threading
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from byzer_magic import errors
from byzer_magic.commands.secrets import Secret
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.log import get_logger
from byzer_magic.runtime.cluster.attach import CONTROL_NAMESPACE
from byzer_magic.runtime.cluster.node import attach_log, session_folder
from byzer_magic.runtime.transport.messages import Served, ServeRequest

START = "byzer_magic.gateway.replica:start"
"""The function that starts an endpoint: it belongs to a layer above."""
NAME = "endpoint-"
"""How the names of the actors begin."""
START_SECONDS = 90.0
"""How long the process of a replica may take to serve."""
AGAIN_SECONDS = 2.0
"""After how long a replica that cannot serve after a restart tries again."""
ANSWER_SECONDS = 5.0
"""How long a replica may take to say where it serves."""
LIST_SECONDS = 2.0
"""The same for a list, which is shown without those that do not answer."""

log = get_logger("replicas")


class Replica:
    """Serves HTTP in a process of its own; Ray starts it again when it dies.

    Args:
        spec: the command, without its key.
        key: the key that may use everything; empty for none.
        keys: the path of the stored keys.
        share: how many replicas share the limits of the keys.
        closed: whether a key is needed, also where the file of keys is missing.
    """

    def __init__(self, spec: ServeSpec, key: Secret, keys: str, share: int, *, closed: bool) -> None:
        attach_log((key.reveal(),))
        self._share = share
        self._running: Any = None
        self._error: dict[str, Any] | None = None
        cluster = session_folder().name
        self._make = functools.partial(
            pkgutil.resolve_name(START), spec, key.reveal(), keys, share, closed=closed, cluster=cluster
        )
        if not self._try() and _is_restarted():  # nobody waits for the error: what is in the way may go
            threading.Thread(target=self._keep_trying, daemon=True).start()

    def __repr__(self) -> str:
        return "Replica()"

    def _try(self) -> bool:
        """Start to serve; return whether it does."""
        try:
            self._running, self._error = self._make(), None
        except errors.ByzerError as err:
            log.error("the endpoint does not serve: %s", err)  # noqa: TRY400 - the text is complete without a traceback
            self._error = errors.to_wire(err)
        return self._running is not None

    def _keep_trying(self) -> None:
        time.sleep(AGAIN_SECONDS)
        while not self._try():
            time.sleep(AGAIN_SECONDS)

    async def served(self) -> Served:
        """Return where it serves, or why it does not."""
        context = ray.get_runtime_context()
        if self._running is None:
            return Served("", context.get_node_id(), 0, self._error)
        url = reachable(self._running.url, ray.util.get_node_ip_address())
        return Served(url, context.get_node_id(), self._running.pid, replicas=self._share)

    async def stop(self, grace: float) -> None:
        """Accept no more requests, and let those that run finish, for `grace` seconds at most."""
        if self._running is not None:
            await asyncio.to_thread(self._running.stop, grace)


def reachable(url: str, address: str) -> str:
    """Return the URL of a replica as others reach it: where it listens on all addresses, with that of its node.

    Example:
        >>> reachable("http://0.0.0.0:8000", "10.0.0.7"), reachable("http://127.0.0.1:8000", "10.0.0.7")
        ('http://10.0.0.7:8000', 'http://127.0.0.1:8000')
    """
    scheme, _slashes, place = url.partition("://")
    host, _colon, port = place.rpartition(":")
    return f"{scheme}://{address}:{port}" if host in EVERYWHERE else url


EVERYWHERE = ("0.0.0.0", "[::]")  # noqa: S104 - nothing is bound to it here


def _is_restarted() -> bool:
    """Return whether Ray has started this process in place of one that died."""
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _names() -> list[str]:
    found = ray.util.list_named_actors(all_namespaces=True)
    names = [entry["name"] for entry in found if entry["namespace"] == CONTROL_NAMESPACE]
    return sorted((name for name in names if name.startswith(NAME)), key=lambda name: int(name.removeprefix(NAME)))


def _actors() -> list[Any]:
    found = []
    for name in _names():
        try:
            found.append(ray.get_actor(name, namespace=CONTROL_NAMESPACE))
        except ValueError:  # it has ended meanwhile
            continue
    return found


async def running() -> list[Served]:
    """Return where the replicas serve; one that does not answer has an error, and so has one whose node is gone."""
    lost = errors.to_wire(errors.WorkerLost(_("A replica of the endpoint does not respond."), _("Run: serve --stop")))
    asked = await _asked(LIST_SECONDS)
    found = [served if isinstance(served, Served) else Served("", "", 0, lost) for served in asked]
    started = max((served.replicas for served in found), default=0)
    gone = [Served("", "", 0, lost)] * (started - len(found))  # Ray forgets an actor that is bound to a dead node
    return [*found, *gone]


async def _asked(seconds: float) -> list[Served | BaseException]:
    """Return what each replica says within a time: where it serves, or why it does not answer."""
    actors = await asyncio.to_thread(_actors)
    answers = [asyncio.wait_for(actor.served.remote(), seconds) for actor in actors]
    found: list[Served | BaseException] = await asyncio.gather(*answers, return_exceptions=True)
    return found


async def start(request: ServeRequest) -> list[Served]:
    """Start replicas on the nodes, and return where they serve.

    Raises:
        NameTaken: there are some already, also such as are too busy to answer.
        ConfigError: one cannot listen there.
        WorkerLost: Ray does not start one in time.
    """
    found = await _asked(ANSWER_SECONDS)
    if known := [served for served in found if isinstance(served, Served) and not served.error]:
        raise errors.NameTaken(
            _("The endpoint is already running: {urls}", urls=listed(dict.fromkeys(served.url for served in known))),
            _("Stop it first: serve --stop"),
        )
    if any(isinstance(served, TimeoutError) for served in found):  # it may be busy, with the requests of others
        raise errors.NameTaken(
            _("An endpoint is already running in the cluster, but does not answer now."),
            _("Stop it first: serve --stop"),
        )
    await stop(0.0)  # those that cannot serve
    actors = await asyncio.to_thread(_create, request)
    try:
        started = await asyncio.wait_for(asyncio.gather(*(actor.served.remote() for actor in actors)), START_SECONDS)
    except (ray.exceptions.RayError, TimeoutError) as err:
        await stop(0.0)
        raise errors.WorkerLost(
            _("A replica of the endpoint does not start."), _("See the logs of Ray, or start fewer: --num_replicas 1")
        ) from err
    failed = next((served.error for served in started if served.error), None)
    if failed is not None:
        await stop(0.0)
        raise errors.from_wire(failed)
    return list(started)


def _create(request: ServeRequest) -> list[Any]:
    nodes = sorted(node["NodeID"] for node in ray.nodes() if node["Alive"])
    count = request.replicas or len(nodes)
    return [
        ray.remote(Replica)
        .options(
            name=f"{NAME}{number}",
            namespace=CONTROL_NAMESPACE,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=10,
            scheduling_strategy=NodeAffinitySchedulingStrategy(nodes[number % len(nodes)], soft=False),
        )
        .remote(request.spec, Secret(request.key), request.keys, count, closed=request.closed)
        for number in range(count)
    ]


async def stop(grace: float) -> int:
    """Stop all replicas; return how many there were.

    Args:
        grace: seconds for the requests that run.
    """
    actors = await asyncio.to_thread(_actors)
    # Also without grace: what is cut off gets an error, and a line in the log.
    endings = [asyncio.wait_for(actor.stop.remote(grace), grace + ANSWER_SECONDS) for actor in actors]
    await asyncio.gather(*endings, return_exceptions=True)
    for actor in actors:
        await asyncio.to_thread(ray.kill, actor, no_restart=True)
    return len(actors)
