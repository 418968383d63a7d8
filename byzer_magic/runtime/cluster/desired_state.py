"""What a deployment was changed to, kept where a pool that Ray restarts, perhaps on another node, finds it again."""

from __future__ import annotations

import msgspec
from ray.experimental import internal_kv

from byzer_magic.plan import Plan

_SPACE = b"byzer"


class DesiredState(msgspec.Struct, frozen=True):
    """What somebody wanted of the workers."""

    workers: int
    drained: list[int] = []
    """By their place in the row: after a restart the workers are numbered anew."""


def save(plan: Plan, wanted: DesiredState) -> None:
    """Keep it."""
    internal_kv._internal_kv_put(_key(plan), msgspec.json.encode(wanted), overwrite=True, namespace=_SPACE)


def load(plan: Plan) -> DesiredState:
    """Return it; where nobody has changed anything, it is what was deployed."""
    found = internal_kv._internal_kv_get(_key(plan), namespace=_SPACE)
    return msgspec.json.decode(found, type=DesiredState) if found else DesiredState(plan.spec.num_workers)


def delete(plan: Plan) -> None:
    """Forget it: the deployment ends."""
    internal_kv._internal_kv_del(_key(plan), namespace=_SPACE)


def _key(plan: Plan) -> bytes:
    return f"workers/{plan.id}".encode()
