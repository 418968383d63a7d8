"""What deployments with a budget have spent, in Ray's key-value store: a pool that is restarted goes on from there.

A pool writes it at most once a second. The controller copies it into the file of the fleet, from where it comes back
with the next Ray.
"""

from __future__ import annotations

import asyncio

import msgspec
from ray.experimental import internal_kv

from byzer_magic.log import get_logger
from byzer_magic.routing.budget import Spent

_SPACE = b"byzer"

log = get_logger("spending")


def load(plan_id: str) -> Spent | None:
    """Return what a plan's deployment has spent; None where nothing is known."""
    found = internal_kv._internal_kv_get(_key(plan_id), namespace=_SPACE)
    return msgspec.json.decode(found, type=Spent) if found else None


def store(plan_id: str, spent: Spent) -> None:
    """Store what a plan's deployment has spent."""
    internal_kv._internal_kv_put(_key(plan_id), msgspec.json.encode(spent), overwrite=True, namespace=_SPACE)


def delete(plan_id: str) -> None:
    """Remove what is stored."""
    internal_kv._internal_kv_del(_key(plan_id), namespace=_SPACE)


async def save(plan_id: str, spent: Spent) -> bool:
    """Store what has been spent; return whether that was done. Nothing else fails with Ray."""
    try:
        await asyncio.to_thread(store, plan_id, spent)
    except Exception:  # whatever Ray raises, the next second tries again
        log.exception("what has been spent could not be stored")
        return False
    return True


def _key(plan_id: str) -> bytes:
    return f"spent/{plan_id}".encode()
