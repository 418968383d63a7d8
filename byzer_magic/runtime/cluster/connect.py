"""Finding, starting and leaving a Ray cluster, each with a timeout and a clear error."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable
from typing import Any

from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.i18n import gettext, lazy_gettext as _
from byzer_magic.runtime import forks
from byzer_magic.runtime.cluster import local_ray
from byzer_magic.runtime.cluster.address import AUTO, LOCAL, Target, check, resolve
from byzer_magic.runtime.cluster.auth_token import use_token
from byzer_magic.runtime.cluster.loopback import for_ray, plain
from byzer_magic.runtime.cluster.probe import foreign, probe, silent
from byzer_magic.runtime.cluster.ray_import import import_ray
from byzer_magic.runtime.cluster.this_machine import local_head, running_cluster

NAMESPACE = "byzer"
"""The Ray namespace of all deployments: actor names are unique within a namespace."""

Say = Callable[[str], None]

_OURS: dict[str, str] = {}
"""The clusters that `connect` has connected this process to: their addresses as typed, and as Ray has them."""
_VERSIONS = re.compile(r"Ray: (\S++)\s++Python: (\S++)")
_parents = False
"""Whether Ray was connected by the process from which this one was forked: none of its threads exist here."""


def own_ray() -> None:
    """Check that Ray can be used here.

    Raises:
        CannotConnect: this process was forked from one that is connected to Ray.
    """
    if _parents:
        raise CannotConnect(
            _("Ray cannot be used in this process: it was forked from one that is connected to Ray."),
            _('Start it with multiprocessing.get_context("spawn"), or before connecting to Ray.'),
        )


def _forked() -> None:
    """Leave the connection to the parent: Ray's own exit handler would end it, or wait for threads without end."""
    global _parents
    worker = sys.modules.get("ray._private.worker")
    if worker is None or not getattr(getattr(worker, "global_worker", None), "connected", False):
        return
    _parents = True
    if _OURS:
        atexit.unregister(worker.shutdown)
        state = sys.modules.get("ray._private.state")
        forks.exit_at_once()
        forks.keep(worker.global_worker, worker._global_node, getattr(state, "state", None))


os.register_at_fork(after_in_child=_forked)


def connect(address: str, settings: Settings, say: Say) -> str:
    """Connect this process to a Ray cluster and return its address.

    A process that is connected already stays connected when the address is `auto` or the same.

    Args:
        address: ``host:port`` of a Ray head; `auto`: the cluster that the settings or RAY_ADDRESS name, else the one
            that runs on this machine, else a local Ray, which is started; `local`: the local Ray in any case.
        settings: timeouts, and the resources of a local Ray.
        say: receives progress messages.

    Raises:
        CannotConnect: nothing listens at the address, or Ray refuses or does not respond in time.
    """
    own_ray()
    target = resolve(address, settings)
    use_token()
    here = _connected()
    if here and (address.strip() in ("", AUTO) or _leads_to(target, here)):
        return here
    if not target.is_here:
        check(target)
    if here:
        _leave(here)
    if target.is_here:
        only_local = target.address == LOCAL
        found = running_cluster(only_local=only_local) or local_ray.start(settings, say, only_local=only_local)
        target = Target(found)
        use_token()  # the first start on a machine has just written it
    else:
        probe(target, settings.connect_seconds)
    _attach(target, settings.connect_seconds)
    connected = _connected()
    _OURS[target.address] = connected
    return connected


def _connected() -> str:
    """Return the address of the cluster that this process is connected to, or an empty text."""
    ray = import_ray()
    return plain(ray.get_runtime_context().gcs_address) if ray.is_initialized() else ""


def _leads_to(target: Target, here: str) -> bool:
    """Return whether a target is the cluster that this process is connected to."""
    if target.address == LOCAL:
        return running_cluster(only_local=True) == here
    return here in (plain(target.address), _OURS.get(target.address))


def _leave(here: str) -> None:
    """Disconnect from a cluster that `connect` connected to; a connection that the user's code made is left alone."""
    ray = import_ray()
    if here not in _OURS.values():
        raise CannotConnect(
            _("This process called ray.init() itself, for the cluster at {address}.", address=here),
            _("Call ray.shutdown() first, then connect again."),
        )
    ray.shutdown()


def _attach(target: Target, seconds: float) -> None:
    """Call ray.init with a timeout of our own: it may block for minutes, and cannot be interrupted."""
    ray = import_ray()
    ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def attach() -> None:
        try:
            logging.getLogger("ray").setLevel(logging.ERROR)  # Ray warns outside the main thread
            ray.init(
                address=for_ray(target.address),
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
        raise silent(target, seconds) from None
    if failure is not None:
        raise _refused(target.address, str(failure).strip() or type(failure).__name__) from failure


def _refused(address: str, reason: str) -> CannotConnect:
    """Return the error for a Ray that has refused the connection."""
    versions = _VERSIONS.findall(reason.partition("Version mismatch:")[2])
    if len(versions) > 1:
        (theirs, their_python), (ours, our_python) = versions[:2]
        message = _(
            "The cluster at {address} runs Ray {theirs} with Python {their_python}, "
            "this process Ray {ours} with Python {our_python}.",
            address=address,
            theirs=theirs,
            their_python=their_python,
            ours=ours,
            our_python=our_python,
        )
        if their_python != our_python:
            hint = _(
                "Use an environment with Python {python} and ray=={ray}, as the cluster has.",
                python=their_python,
                ray=theirs,
            )
        else:
            hint = _("Install the cluster's version here: pip install 'ray=={ray}'", ray=theirs)
        return CannotConnect(message, hint)
    return foreign(address) or CannotConnect(
        _("Ray at {address} refused the connection: {error}", address=address, error=reason.splitlines()[0]),
        _("A cluster with token authentication needs RAY_AUTH_MODE=token and its token file."),
    )


def shutdown(say: Say) -> bool:
    """Stop the local Ray that `connect` started, and no other; return whether there was one.

    Args:
        say: receives progress messages.
    """
    head = local_head()
    if head is None:
        return False
    say(gettext("Stopping the local Ray ..."))
    ray = sys.modules.get("ray")  # without it, this process is connected to nothing
    if ray is not None and not _parents and _connected() == head.address:
        ray.shutdown()
    local_ray.stop(head)
    return True


def room() -> dict[str, tuple[float, float]]:
    """Return the free and the total resources of the cluster, by name: `CPU` and `GPU`."""
    ray = import_ray()
    free: dict[str, Any] = ray.available_resources()
    total: dict[str, Any] = ray.cluster_resources()
    return {name: (float(free.get(name, 0)), float(total.get(name, 0))) for name in ("CPU", "GPU")}
