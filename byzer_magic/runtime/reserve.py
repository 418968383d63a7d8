"""GPUs that one worker has together, on one node: Ray's placement groups, named so that nobody's are left behind.

Ray keeps a group when the actor that made it dies and its job lives on; whoever removes a deployment finds its
groups by their names.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import quote

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from byzer_magic import errors
from byzer_magic.spec import DeploySpec

READY_SECONDS = 60.0


async def one_node(spec: DeploySpec, plan_id: str, index: int) -> PlacementGroupSchedulingStrategy:
    """Reserve what a worker of `spec` needs, and return how Ray is told to place it there.

    Raises:
        NoRoom: no node has it free.
    """
    name = f"{_prefix(spec.model, plan_id)}{index}"
    await asyncio.to_thread(_remove, name)  # of this worker before the pool's restart
    bundle = {"GPU": spec.gpus_per_worker} | ({"CPU": spec.cpus_per_worker} if spec.cpus_per_worker else {})
    group = placement_group([bundle], strategy="STRICT_PACK", name=name)
    try:
        await asyncio.wait_for(group.ready(), READY_SECONDS)
    except TimeoutError as err:
        remove_placement_group(group)
        raise errors.NoRoom(
            f"{spec.model} worker {index} asks for {spec.gpus_per_worker:g} GPUs on one node; none has them free.",
            "Lower --gpus_per_worker, or undeploy something (`list` shows what runs).",
        ) from err
    return PlacementGroupSchedulingStrategy(group, 0)


def release(alias: str, plan_id: str = "") -> None:
    """Give back all that the workers of an alias (of one deployment, when its id is given) have reserved."""
    prefix = _prefix(alias, plan_id)
    for group in ray.util.placement_group_table().values():
        name = str(group["name"])
        if group["state"] != "REMOVED" and name.startswith(prefix):
            _remove(name)


def _prefix(alias: str, plan_id: str) -> str:
    return f"byzer/{quote(alias, safe='')}/{f'{plan_id}/' if plan_id else ''}"


def _remove(name: str) -> None:
    with contextlib.suppress(ValueError):  # there is none
        remove_placement_group(ray.util.get_placement_group(name))
