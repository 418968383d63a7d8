"""Creating, finding and removing pools: Ray's named actors in our namespace are the registry of deployments."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.commands.aliases import near
from byzer_magic.commands.typography import explain
from byzer_magic.i18n import join, lazy_gettext as _, listed
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster import placement
from byzer_magic.runtime.cluster.attach import NAMESPACE
from byzer_magic.runtime.pool import Pool
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link

PLACE_SECONDS = 30.0
"""How long Ray may take to start a pool's process."""


def aliases() -> list[str]:
    """Return the aliases of all deployments, sorted."""
    return sorted(
        entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True) if entry["namespace"] == NAMESPACE
    )


def actor_of(alias: str) -> Any:
    """Return the pool of an alias, a Ray actor handle.

    Raises:
        NotDeployed: nothing is deployed as this alias; the hint lists the deployed ones.
    """
    try:
        return ray.get_actor(alias, namespace=NAMESPACE)
    except ValueError as err:
        raise not_deployed(alias, aliases()) from err


def not_deployed(alias: str, known: list[str]) -> errors.NotDeployed:
    """Return the error for an alias that is not among the deployed ones."""
    message = _("No model is deployed as {alias!r}.", alias=alias)
    if not known:
        return errors.NotDeployed(message, _("Nothing is deployed. See: deploy --help"))
    deployed = _("Deployed: {aliases}.", aliases=listed(known))
    return errors.NotDeployed(message, join(_did_you_mean(alias, known) or explain(alias), deployed))


def _did_you_mean(alias: str, known: list[str]) -> str:
    found = near(alias, known)
    return _("Did you mean {name}?", name=found) if found else ""


async def endpoint_of(actor: Any, seconds: float = PLACE_SECONDS) -> protocol.Endpoint:
    """Return where a pool listens.

    Args:
        actor: the pool.
        seconds: how long to wait for its process.

    Raises:
        ConnectionError: it has died or is restarting.
        TimeoutError: Ray did not start its process in time.
    """
    try:
        endpoint: protocol.Endpoint = await asyncio.wait_for(actor.endpoint.remote(), seconds)
    except ray.exceptions.RayError as err:
        raise ConnectionError(str(err).splitlines()[0]) from err
    return endpoint


def link_to(alias: str, known: Link | None = None) -> Link:
    """Return a link to the pool of `alias`: `known` if it leads to that pool, else a new one.

    Raises:
        NotDeployed: nothing is deployed as this alias.
    """
    return link_of(alias, actor_of(alias), known)


def link_of(alias: str, actor: Any, known: Link | None = None) -> Link:
    """Return a link to a pool: `known` if it leads there, else a new one."""
    name = actor._actor_id.hex()
    if known is not None and known.peer == name:
        return known
    return Link(alias, lambda: endpoint_of(actor), peer=name)


def create(plan: Plan) -> Any:
    """Create the pool of a plan and return its actor.

    Raises:
        NoRoom: the cluster has too few CPUs or GPUs.
        NameTaken: the alias is deployed, perhaps by another process at the same time.
    """
    spec = plan.spec
    local = plan.backend.info.local  # its workers are actors with resources of their own
    if local:
        placement.check_node(spec)
    placement.check_resources(
        spec.model, spec.num_workers * spec.cpus_per_worker, spec.num_workers * spec.gpus_per_worker
    )
    if local:
        placement.nodes_for(spec, spec.num_workers)
    workers = 0 if local else spec.num_workers
    options = {
        "name": spec.model,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": workers * spec.cpus_per_worker,
        "num_gpus": workers * spec.gpus_per_worker,
        "max_restarts": -1,
        "max_task_retries": 0,  # a request must never run twice because a process died
    }
    try:
        return ray.remote(Pool).options(**options).remote(plan)
    except ValueError as err:
        raise errors.NameTaken(
            _("{alias!r} is already deployed.", alias=spec.model),
            _("Add --replace to replace it, or choose another --model."),
        ) from err


async def remove(actor: Any, pids: list[int], alias: str, plan_id: str = "") -> None:
    """Kill a pool, free its resources, and wait up to 5 s until its processes on this node have ended.

    Args:
        actor: the pool.
        pids: processes to wait for.
        alias: the deployment's alias.
        plan_id: see `placement.release`.
    """
    ray.kill(actor, no_restart=True)
    await asyncio.to_thread(placement.release, alias, plan_id)
    for _attempt in range(100):
        if not any(_alive(pid) for pid in pids):
            return
        await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
