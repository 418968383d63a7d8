"""Resources of the cluster: checks that there are enough, and placement groups that reserve them.

Ray keeps a placement group when the actor that created it dies while its job lives on. Groups are therefore named after
their deployment, so that `release` finds all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from urllib.parse import quote

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from byzer_magic import errors
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import Text, lazy_gettext as _, lazy_ngettext, listed
from byzer_magic.plan import Plan
from byzer_magic.routing.node_choice import EPSILON, PACK, Free, choose

READY_SECONDS = 60.0
"""How long Ray may take to reserve the resources of a worker."""
ROOM_SECONDS = 2.0
"""How long Ray may take to register resources that an undeploy has just freed."""
EXTRA = "extra"
"""Last part of the name of the group that `reserve_extra` reserves."""


def room() -> dict[str, tuple[float, float]]:
    """Return the free and the total resources of the cluster, by name: `CPU` and `GPU`."""
    free, total = ray.available_resources(), ray.cluster_resources()
    return {name: (float(free.get(name, 0)), float(total.get(name, 0))) for name in ("CPU", "GPU")}


def free_nodes() -> list[Free]:
    """Return what is free on each node that is alive."""
    free = ray._private.state.available_resources_per_node()
    return [
        Free(
            node["NodeID"],
            node["NodeManagerAddress"],
            float(free.get(node["NodeID"], {}).get("CPU", 0)),
            float(free.get(node["NodeID"], {}).get("GPU", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def nodes_for(spec: DeploySpec, count: int, taken: Mapping[str, int] | None = None) -> list[str]:
    """Return the node of each of some new engine workers; without a placement, "": Ray's choice.

    Args:
        spec: the deployment.
        count: how many workers to place.
        taken: how many of its workers each node has already, by its id.

    Raises:
        NoRoom: they do not all fit, although there is enough in sum: a worker cannot span two nodes.
    """
    deadline = time.monotonic() + ROOM_SECONDS
    needs = (spec.cpus_per_worker, spec.gpus_per_worker)
    while len(chosen := choose(spec.placement or PACK, nodes := free_nodes(), count, *needs, taken)) < count:
        if time.monotonic() > deadline:
            raise errors.NoRoom(
                _(
                    "{alias}: each worker needs {cpus:g} CPUs and {gpus:g} GPUs of one node, and the nodes have room "
                    "for {fitting} of {count}: {free}.",
                    alias=spec.model,
                    cpus=spec.cpus_per_worker,
                    gpus=spec.gpus_per_worker,
                    fitting=len(chosen),
                    count=count,
                    free=listed(_free_text(node) for node in nodes),
                ),
                _("Request fewer workers or less for each, or undeploy something (`list` shows what is running)."),
            )
        time.sleep(0.1)
    return chosen if spec.placement else [""] * count


def _free_text(node: Free) -> Text:
    return _("{address} has {cpus:g} CPUs and {gpus:g} GPUs free", address=node.address, cpus=node.cpus, gpus=node.gpus)


async def reserve_on_one_node(plan: Plan, index: int, node: str = "") -> PlacementGroupSchedulingStrategy:
    """Reserve the resources of one worker on one node, and return the scheduling strategy that places it there.

    Args:
        plan: the deployment.
        index: the worker.
        node: the id of the node to prefer; empty for any.

    Raises:
        NoRoom: no node has them free.
    """
    spec = plan.spec
    group = await _reserved(_prefix(spec.model, plan.id) + str(index), [_bundle(spec)], node)
    if group is None:
        raise errors.NoRoom(
            _(
                "{alias} worker {index} needs {gpus:g} GPUs on one node; no node has that many free.",
                alias=spec.model,
                index=index,
                gpus=spec.gpus_per_worker,
            ),
            _("Lower --gpus_per_worker, or undeploy something (`list` shows what is running)."),
        )
    return PlacementGroupSchedulingStrategy(group, 0)


def extra_needs(spec: DeploySpec, count: int, created: DeploySpec | None) -> list[dict[str, float]]:
    """Return what API workers need beyond the resources with which the pool's actor was created.

    Args:
        spec: the deployment.
        count: the number of its workers.
        created: the deployment as it was when the actor was created; None: with nothing for workers.

    Returns:
        For each worker that needs more than the actor has for it: how much more, by resource.

    Example:
        >>> created = DeploySpec(model="m", num_workers=2, cpus_per_worker=1.0)
        >>> extra_needs(DeploySpec(model="m", cpus_per_worker=1.5), 3, created)
        [{'CPU': 0.5}, {'CPU': 0.5}, {'CPU': 1.5}]
    """
    has = _bundle(created) if created else {}
    workers = created.num_workers if created else 0
    each = [has if index < workers else {} for index in range(count)]
    more = [{name: round(amount - of.get(name, 0), 4) for name, amount in _bundle(spec).items()} for of in each]
    return [needs for one in more if (needs := {name: amount for name, amount in one.items() if amount > 0})]


def exceeds(needs: list[dict[str, float]], others: list[dict[str, float]]) -> bool:
    """Return whether more of any resource is needed than in another list.

    Example:
        >>> exceeds([{"CPU": 1.0}], [{"CPU": 0.5}, {"CPU": 0.5}])
        False
    """
    return any(_sum(needs, name) > _sum(others, name) + EPSILON for name in ("CPU", "GPU"))


def _sum(needs: list[dict[str, float]], name: str) -> float:
    return sum(one.get(name, 0) for one in needs)


async def reserve_extra(plan: Plan, needs: list[dict[str, float]], before: list[dict[str, float]]) -> None:
    """Reserve the resources of API workers beyond those with which the pool's actor was created.

    Args:
        plan: the deployment.
        needs: what to reserve (see `extra_needs`).
        before: what is reserved now.

    Raises:
        NoRoom: the nodes do not have them free; the reservation stays as it was.
    """
    spec = plan.spec
    name = _prefix(spec.model, plan.id) + EXTRA
    if not before:  # a pool process that was killed may have left one
        await asyncio.to_thread(_remove, name)
    more = len(needs) - len(before)
    what = more_workers(spec.model, more) if more > 0 and needs[-more:] == [_bundle(spec)] * more else spec.model
    if exceeds(needs, before):
        needed = [_sum(needs, resource) - _sum(before, resource) for resource in ("CPU", "GPU")]
        await asyncio.to_thread(check_resources, what, *needed)
    await asyncio.to_thread(_remove, name)
    if not needs or await _reserved(name, needs):
        return
    if before:
        await _reserved(name, before)
    raise errors.NoRoom(
        _("Ray cannot place {what}: no node has enough free resources.", what=what),
        _("Request fewer workers, or undeploy something (`list` shows what is running)."),
    )


def more_workers(alias: str, count: int) -> Text:
    """Return the words for additional workers, for `check_resources`.

    Example:
        >>> str(more_workers("m", 2))
        '2 more workers of m'
    """
    return lazy_ngettext("{count} more worker of {alias}", "{count} more workers of {alias}", count=count, alias=alias)


def check_resources(what: str, cpus: float, gpus: float) -> None:
    """Compare required with free resources, because Ray would wait for missing ones without a limit.

    Args:
        what: who needs them, for the error: an alias, or `more_workers`.
        cpus: CPUs needed, in all.
        gpus: GPUs needed, in all.

    Raises:
        NoRoom: fewer are free.
    """
    deadline = time.monotonic() + ROOM_SECONDS
    for name, needed in (("CPU", cpus), ("GPU", gpus)):
        free, total = room()[name]
        while free + EPSILON < needed <= total and time.monotonic() < deadline:
            time.sleep(0.1)
            free, total = room()[name]
        if needed > free + EPSILON:
            flag = "--cpus_per_worker" if name == "CPU" else "--gpus_per_worker"
            raise errors.NoRoom(
                _(
                    "Not enough {resource}s for {what}: {needed:g} requested, {free:g} of {total:g} free.",
                    resource=name,
                    what=what,
                    needed=needed,
                    free=free,
                    total=total,
                ),
                _(
                    "Lower {flag} or --num_workers, undeploy something (`list` shows what is running), or add a node.",
                    flag=flag,
                ),
            )


def check_node(spec: DeploySpec) -> None:
    """Compare the resources of one worker with those of the largest node: a worker cannot span two nodes.

    Raises:
        NoRoom: no node is large enough.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, needed, flag in (
        ("CPU", spec.cpus_per_worker, "--cpus_per_worker"),
        ("GPU", spec.gpus_per_worker, "--gpus_per_worker"),
    ):
        largest = max((float(node.get(name, 0)) for node in nodes), default=0.0)
        if needed > largest + EPSILON:
            raise errors.NoRoom(
                _(
                    "A worker of {alias} needs {needed:g} {resource}s on one node; the largest node has {largest:g}.",
                    alias=spec.model,
                    needed=needed,
                    resource=name,
                    largest=largest,
                ),
                _("Lower {flag}, and raise --num_workers instead.", flag=flag),
            )


def release_worker(plan: Plan, index: int) -> None:
    """Free the resources that one worker has reserved."""
    _remove(_prefix(plan.spec.model, plan.id) + str(index))


async def _reserved(name: str, bundles: list[dict[str, float]], node: str = "") -> PlacementGroup | None:
    """Return a new group of that name, or None when the resources are not free; each bundle is on one node.

    Args:
        name: of the group.
        bundles: what to reserve.
        node: the id of the node to prefer for all of them.
    """
    await asyncio.to_thread(_remove, name)  # one from before a restart, or of another size
    if node:
        group = placement_group(bundles, strategy="STRICT_PACK", name=name, _soft_target_node_id=node)
    else:
        group = placement_group(bundles, strategy="PACK", name=name)
    try:
        placed = await asyncio.to_thread(group.wait, READY_SECONDS)  # group.ready() would start a worker process
    except BaseException:  # cancelled
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
    """Free all resources that workers have reserved.

    Args:
        alias: the deployment's alias.
        plan_id: restricts it to the deployment with this `Plan.id`; empty: any deployment of the alias.
    """
    prefix = _prefix(alias, plan_id)
    for group in ray.util.placement_group_table().values():
        name = str(group["name"])
        if group["state"] != "REMOVED" and name.startswith(prefix):
            _remove(name)


def _prefix(alias: str, plan_id: str) -> str:
    return f"byzer/{quote(alias, safe='')}/{f'{plan_id}/' if plan_id else ''}"


def _remove(name: str) -> None:
    with contextlib.suppress(ValueError):  # no group of that name
        remove_placement_group(ray.util.get_placement_group(name))
