"""The desired state of a deployment, stored in Ray's key-value store: a pool restarted on any node finds it there."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from ray.experimental import internal_kv

from byzer_magic.plan import Plan
from byzer_magic.runtime.transport import plans
from byzer_magic.runtime.transport.messages import DeployRequest

_SPACE = b"byzer"
_DEPLOYING = b"deploying/"
_PLANS = b"plans/"


class DesiredState(msgspec.Struct, frozen=True):
    """The workers that a deployment is to have."""

    workers: int
    """Their number."""
    drained: list[int] = []
    """Positions of the drained ones, counted from 0: after a restart of the pool, indices are assigned again."""
    asleep: list[str] = []
    """The capabilities of a model that is asleep, since only its load would show them; empty while it is loaded."""


def save(plan: Plan, wanted: DesiredState) -> None:
    """Store the desired state of a deployment."""
    internal_kv._internal_kv_put(_key(plan.id), msgspec.json.encode(wanted), overwrite=True, namespace=_SPACE)


def load(plan: Plan) -> DesiredState:
    """Return the stored state; without one, that of the plan."""
    return find(plan.id) or DesiredState(plan.spec.num_workers)


def find(plan_id: str) -> DesiredState | None:
    """Return the stored state of a plan's deployment, or None."""
    found = internal_kv._internal_kv_get(_key(plan_id), namespace=_SPACE)
    return msgspec.json.decode(found, type=DesiredState) if found else None


def delete(plan: Plan) -> None:
    """Remove the stored state."""
    internal_kv._internal_kv_del(_key(plan.id), namespace=_SPACE)
    internal_kv._internal_kv_del(_PLANS + plan.id.encode(), namespace=_SPACE)


def keep_plan(plan: Plan) -> None:
    """Store the plan of a deployment that was updated; it stays in the memory of Ray's head, as the first one does."""
    message = msgspec.msgpack.encode(plans.to_message(plan, spare=False))
    internal_kv._internal_kv_put(_PLANS + plan.id.encode(), message, overwrite=True, namespace=_SPACE)


def latest(plan: Plan) -> Plan:
    """Return the plan that a deployment was updated to since its pool was created, else that one; asleep as it was."""
    found = internal_kv._internal_kv_get(_PLANS + plan.id.encode(), namespace=_SPACE)
    plan = plans.to_plan(msgspec.msgpack.decode(found, type=DeployRequest)) if found else plan
    wanted = find(plan.id)
    return replace(plan, capabilities=tuple(wanted.asleep)) if wanted and wanted.asleep else plan


def deploying(plan: Plan) -> None:
    """Note that a plan is being deployed: should the controller die, its next process removes what there is of it."""
    internal_kv._internal_kv_put(_DEPLOYING + plan.id.encode(), plan.spec.model.encode(), namespace=_SPACE)


def finished(plan_id: str) -> None:
    """Note that nothing more is to be done about the deploy of a plan."""
    internal_kv._internal_kv_del(_DEPLOYING + plan_id.encode(), namespace=_SPACE)


def unfinished() -> list[tuple[str, str]]:
    """Return the alias and the plan's id of each deploy that was not finished."""
    keys = internal_kv._internal_kv_list(_DEPLOYING, namespace=_SPACE)
    found = [(internal_kv._internal_kv_get(key, namespace=_SPACE), key) for key in keys]
    return [(alias.decode(), key.removeprefix(_DEPLOYING).decode()) for alias, key in found if alias]


def _key(plan_id: str) -> bytes:
    return f"workers/{plan_id}".encode()
