"""What a deployment was changed to, kept where a pool that Ray restarts, perhaps on another node, finds it again."""

from __future__ import annotations

from ray.experimental import internal_kv

from byzer_magic.runtime.plan import Plan

_SPACE = b"byzer"


def remember(plan: Plan, workers: int) -> None:
    """Keep the number of workers that somebody wanted."""
    internal_kv._internal_kv_put(_key(plan), str(workers).encode(), overwrite=True, namespace=_SPACE)


def workers(plan: Plan) -> int | None:
    """Return that number, or None where nobody has changed it."""
    found = internal_kv._internal_kv_get(_key(plan), namespace=_SPACE)
    return int(found) if found else None


def forget(plan: Plan) -> None:
    """Forget it: the deployment ends."""
    internal_kv._internal_kv_del(_key(plan), namespace=_SPACE)


def _key(plan: Plan) -> bytes:
    return f"workers/{plan.id}".encode()
