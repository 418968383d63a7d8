"""The desired state of a deployment, stored in Ray's key-value store: a pool restarted on any node finds it there."""

from __future__ import annotations

import msgspec
from ray.experimental import internal_kv

from byzer_magic.plan import Plan

_SPACE = b"byzer"


class DesiredState(msgspec.Struct, frozen=True):
    """The workers that a deployment is to have."""

    workers: int
    """Their number."""
    drained: list[int] = []
    """Positions of the drained ones, counted from 0: after a restart of the pool, indices are assigned again."""


def save(plan: Plan, wanted: DesiredState) -> None:
    """Store the desired state of a deployment."""
    internal_kv._internal_kv_put(_key(plan), msgspec.json.encode(wanted), overwrite=True, namespace=_SPACE)


def load(plan: Plan) -> DesiredState:
    """Return the stored state; without one, that of the plan."""
    found = internal_kv._internal_kv_get(_key(plan), namespace=_SPACE)
    return msgspec.json.decode(found, type=DesiredState) if found else DesiredState(plan.spec.num_workers)


def delete(plan: Plan) -> None:
    """Remove the stored state."""
    internal_kv._internal_kv_del(_key(plan), namespace=_SPACE)


def _key(plan: Plan) -> bytes:
    return f"workers/{plan.id}".encode()
