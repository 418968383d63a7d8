"""The files of a worker's model on its own node: a model in a hub is fetched there where they are missing."""

from __future__ import annotations

import os
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from byzer_magic.backends.base import Report, Setup
from byzer_magic.files import paths
from byzer_magic.local_models.hubs import cache
from byzer_magic.local_models.hubs.fetch import fetch
from byzer_magic.local_models.hubs.reference import from_path, is_in_hub
from byzer_magic.plan import Plan
from byzer_magic.types import Loading


async def on_this_node(plan: Plan, report: Report) -> Setup:
    """Return a worker's setup with the path at which its model is on this node.

    A model in a hub was fetched on the node that deployed it. On another one, which has no such path, it is looked up
    in the node's own cache, and fetched where it is not there: the same commit, and the same file.

    Args:
        plan: the deployment.
        report: receives the progress.

    Raises:
        FetchError: it cannot be fetched here.
        MissingExtra: the hub's package is not installed here.
    """
    path = Path(plan.setup.model_path or "")
    exactly = from_path(path) if is_in_hub(plan.spec.model_path) and not paths.exists(path) else None
    if exactly is None:
        return plan.setup
    found = cache.find(exactly)
    if found is None:
        async with aclosing(fetch(str(exactly), os.environ)) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                if isinstance(event, Loading):
                    report(event.stage, event.fraction, event.detail)
                else:
                    found = Path(event.path)
    return replace(plan.setup, model_path=str(found))
