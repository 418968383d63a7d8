"""Room in the cluster: whether there is enough, and Ray's placement groups, named so that none is left behind.

Ray keeps a group when the actor that made it dies and its job lives on; whoever removes a deployment finds its
groups by their names.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import quote

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from byzer_magic import errors
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster.connect import room

READY_SECONDS = 60.0
"""How long Ray may take to find a place for a worker."""
ROOM_SECONDS = 2.0
"""How long Ray may take to count what an undeploy has just given back."""
EXTRA = "extra"


async def one_node(plan: Plan, index: int) -> PlacementGroupSchedulingStrategy:
    """Reserve what a worker needs, and return how Ray is told to place it there.

    Raises:
        NoRoom: no node has it free.
    """
    spec = plan.spec
    group = await _reserved(_prefix(spec.model, plan.id) + str(index), [_bundle(spec)])
    if group is None:
        raise errors.NoRoom(
            f"{spec.model} worker {index} asks for {spec.gpus_per_worker:g} GPUs on one node; none has them free.",
            "Lower --gpus_per_worker, or undeploy something (`list` shows what runs).",
        )
    return PlacementGroupSchedulingStrategy(group, 0)


async def for_more(plan: Plan, workers: int, before: int) -> None:
    """Reserve what so many workers need beyond those that the pool's actor was made with; `before` is what is.

    Raises:
        NoRoom: the nodes have too little free; what was reserved stays.
    """
    spec = plan.spec
    bundle = _bundle(spec)
    if not bundle:
        return
    name = _prefix(spec.model, plan.id) + EXTRA
    if not before:  # there may be one of a process that was killed
        await asyncio.to_thread(_remove, name)
    if (more := workers - before) > 0:
        asked = (more * spec.cpus_per_worker, more * spec.gpus_per_worker)
        await asyncio.to_thread(check_room, f"{more} more of {spec.model}", *asked)
    await asyncio.to_thread(_remove, name)
    if not workers or await _reserved(name, [bundle] * workers):
        return
    if before:
        await _reserved(name, [bundle] * before)
    raise errors.NoRoom(
        f"Ray finds no place for {more} more workers of {spec.model}.",
        "Ask for fewer, or undeploy something (`list` shows what runs).",
    )


def check_room(model: str, cpus: float, gpus: float) -> None:
    """Compare what is asked with what is free, so that nothing waits for room that will not come.

    Raises:
        NoRoom: too little is free.
    """
    deadline = time.monotonic() + ROOM_SECONDS
    for name, asked in (("CPU", cpus), ("GPU", gpus)):
        free, total = room()[name]
        while free + 1e-9 < asked <= total and time.monotonic() < deadline:
            time.sleep(0.1)
            free, total = room()[name]
        if asked > free + 1e-9:
            flag = "--cpus_per_worker" if name == "CPU" else "--gpus_per_worker"
            raise errors.NoRoom(
                f"{model} asks for {asked:g} {name}s; the cluster has {total:g}, {free:g} of them free.",
                f"Lower {flag} or --num_workers, undeploy something (`list` shows what runs), or add a node.",
            )


def check_node(spec: DeploySpec) -> None:
    """Compare what one worker asks for with what the nodes have: it cannot be on two.

    Raises:
        NoRoom: no node is large enough.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, asked, flag in (
        ("CPU", spec.cpus_per_worker, "--cpus_per_worker"),
        ("GPU", spec.gpus_per_worker, "--gpus_per_worker"),
    ):
        largest = max((float(node.get(name, 0)) for node in nodes), default=0.0)
        if asked > largest + 1e-9:
            raise errors.NoRoom(
                f"Each worker of {spec.model} asks for {asked:g} {name}s on one node; the largest has {largest:g}.",
                f"Lower {flag}, and raise --num_workers instead.",
            )


def give_back(plan: Plan, index: int) -> None:
    """Give back what one worker has reserved."""
    _remove(_prefix(plan.spec.model, plan.id) + str(index))


async def _reserved(name: str, bundles: list[dict[str, float]]) -> PlacementGroup | None:
    """Return a new group of that name, or None when there is no room for it; each bundle is on one node."""
    await asyncio.to_thread(_remove, name)  # of the same before a restart, or of another size
    group = placement_group(bundles, strategy="PACK", name=name)
    try:
        placed = await asyncio.to_thread(group.wait, READY_SECONDS)  # ready() would start a process to tell
    except BaseException:  # whoever wanted it has gone
        remove_placement_group(group)
        raise
    if placed:
        return group
    remove_placement_group(group)
    return None


def _bundle(spec: DeploySpec) -> dict[str, float]:
    needs = {"GPU": spec.gpus_per_worker, "CPU": spec.cpus_per_worker}
    return {name: amount for name, amount in needs.items() if amount}


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
