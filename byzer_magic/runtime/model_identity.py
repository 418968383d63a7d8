"""Which model a deployment is, for whoever keeps its answers, and what its tokens cost.

The same settings and files have the same digest.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from byzer_magic.backends.registry import ROUTE
from byzer_magic.backends.route import TO
from byzer_magic.commands.secrets import Secret
from byzer_magic.local_models import fingerprint
from byzer_magic.plan import Plan
from byzer_magic.routing import arms
from byzer_magic.routing.tokens import LIMITS
from byzer_magic.runtime.transport.messages import ModelIdentity, ModelPrice

IGNORED = frozenset({"saas.timeout", "saas.max_retries", "saas.extra_headers"})
"""Parameters that change how an answer is fetched, and not the answer."""


class About:
    """What a pool says about its model.

    Args:
        plan: returns what it serves now.
    """

    def __init__(self, plan: Callable[[], Plan]) -> None:
        self._plan = plan
        self._known: tuple[Plan, ModelIdentity] | None = None

    @property
    def digest(self) -> str:
        """Return which model this is, where that has been asked; else an empty text: hashing takes a while."""
        return self._known[1].digest if self._known is not None and self._known[0] is self._plan() else ""

    async def model(self, _nothing: None) -> AsyncIterator[ModelIdentity]:
        """Yield which model this is."""
        plan = self._plan()
        if self._known is None or self._known[0] is not plan:  # hashing its files may take a while
            self._known = plan, await asyncio.to_thread(of_plan, plan)
        yield self._known[1]

    async def price(self, _nothing: None) -> AsyncIterator[ModelPrice]:
        """Yield what its tokens cost."""
        plan = self._plan()
        yield ModelPrice(plan.backend.info.kind, plan.title, plan.price, _members(plan), _limit(plan))


def of_plan(plan: Plan) -> ModelIdentity:
    """Return the identity of a deployment's model; it may take a while, since the files of local models are hashed.

    Secrets have no part in it: another key is still the same model.
    """
    kind, params = plan.backend.info.kind, plan.setup.params
    settings = {name: value for name, value in params.items() if not isinstance(value, Secret) and name not in IGNORED}
    known = {"kind": kind, "title": plan.title, "settings": settings, "files": _files(plan.setup.model_path)}
    text = json.dumps(known, sort_keys=True, default=str)
    return ModelIdentity(hashlib.sha256(text.encode()).hexdigest(), kind, plan.title, _members(plan))


def _members(plan: Plan) -> list[str]:
    """Return the deployments of a route."""
    is_route = plan.spec.pretrained_model_type == ROUTE
    return [arm.alias for arm in arms.parse(str(plan.setup.params[TO]))] if is_route else []


def _limit(plan: Plan) -> int | None:
    """Return how long answers may be in tokens, where the deployment sets it for requests that do not."""
    params = plan.setup.params
    more = params.get("saas.extra_body") or {}
    given = (found for name in LIMITS for found in (params.get(f"saas.{name}"), more.get(name)))
    return max((limit for limit in given if isinstance(limit, int) and limit > 0), default=None)


def _files(path: str | None) -> Any:
    """Return the hash of a local model's files; its path where they are not on this machine."""
    if not path:
        return None
    try:
        return fingerprint.of_model(Path(path))
    except OSError:
        return path
