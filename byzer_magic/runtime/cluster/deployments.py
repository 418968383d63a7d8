"""Alias to pool: Ray's named actors in our namespace are the registry."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.i18n import join
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster import placement
from byzer_magic.runtime.cluster.connect import NAMESPACE
from byzer_magic.runtime.pool import Pool
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link

PLACE_SECONDS = 30.0
"""How long Ray may take to give a pool its process."""


def aliases() -> list[str]:
    """Return the aliases of all deployments, sorted."""
    return sorted(
        entry["name"] for entry in ray.util.list_named_actors(all_namespaces=True) if entry["namespace"] == NAMESPACE
    )


def actor_of(alias: str) -> Any:
    """Return the pool of an alias.

    Raises:
        NotDeployed: there is none; the hint lists those that are.
    """
    try:
        return ray.get_actor(alias, namespace=NAMESPACE)
    except ValueError as err:
        raise not_deployed(alias, aliases()) from err


def not_deployed(alias: str, known: list[str]) -> errors.NotDeployed:
    """Return the error for an alias that nothing runs under."""
    if not known:
        return errors.NotDeployed(f"No model is deployed as {alias!r}.", "Nothing is deployed. See: deploy --help")
    hint = join(errors.suggest(alias, known), f"Deployed: {', '.join(known)}.")
    return errors.NotDeployed(f"No model is deployed as {alias!r}.", hint)


async def endpoint_of(actor: Any, seconds: float = PLACE_SECONDS) -> protocol.Endpoint:
    """Ask a pool where it listens.

    Raises:
        ConnectionError: it is dead or restarting.
        TimeoutError: Ray did not place it in time.
    """
    try:
        endpoint: protocol.Endpoint = await asyncio.wait_for(actor.endpoint.remote(), seconds)
    except ray.exceptions.RayError as err:
        raise ConnectionError(str(err).splitlines()[0]) from err
    return endpoint


def link_to(alias: str, known: Link | None = None) -> Link:
    """Return a client of the pool of `alias`: `known` while it is that same pool's, else a new one.

    Raises:
        NotDeployed: there is no such alias.
    """
    actor = actor_of(alias)
    name = actor._actor_id.hex()
    if known is not None and known.peer == name:
        return known
    return Link(alias, lambda: endpoint_of(actor), peer=name)


def create(plan: Plan) -> Any:
    """Create the pool of a plan and return its actor.

    Raises:
        NoRoom: the cluster has too few CPUs or GPUs.
        NameTaken: another notebook was faster.
    """
    spec = plan.spec
    local = plan.backend.info.local  # its workers have actors, and resources, of their own
    if local:
        placement.check_node(spec)
    placement.check_room(spec.model, spec.num_workers * spec.cpus_per_worker, spec.num_workers * spec.gpus_per_worker)
    workers = 0 if local else spec.num_workers
    options = {
        "name": spec.model,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "num_cpus": workers * spec.cpus_per_worker,
        "num_gpus": workers * spec.gpus_per_worker,
        "max_restarts": -1,
        "max_task_retries": 0,  # a chat must never run twice because a process died
        "max_concurrency": 100,
    }
    try:
        return ray.remote(Pool).options(**options).remote(plan)
    except ValueError as err:
        raise errors.NameTaken(f"{spec.model!r} is deployed already.", "Use --replace, or another --model.") from err


async def remove(actor: Any, pids: list[int], alias: str, plan_id: str = "") -> None:
    """Kill a pool, give back what it had reserved, and wait until its processes on this node are gone."""
    ray.kill(actor, no_restart=True)
    await asyncio.to_thread(placement.release, alias, plan_id)
    for _ in range(100):
        if not any(_alive(pid) for pid in pids):
            return
        await asyncio.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
