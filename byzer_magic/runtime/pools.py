"""The pools of the cluster, as the controller sees them: linked to, asked, put to sleep and taken down."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import Any

from byzer_magic import errors
from byzer_magic.i18n import Text, join, lazy_gettext as _, lazy_ngettext
from byzer_magic.runtime.cluster import deployments
from byzer_magic.runtime.transport import messages
from byzer_magic.runtime.transport.client import Link
from byzer_magic.stat import ModelStat

CLOSE_SECONDS = 5.0
"""How long a pool may take to close its workers when nothing is in flight."""
STAT_SECONDS = 2.0
"""How long a deployment may take to say what it does."""


class Pools:
    """Keeps a link to each pool that it was asked about."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}

    def link(self, alias: str, actor: Any = None) -> Link:
        """Return the link to a pool.

        Args:
            alias: of the deployment.
            actor: its pool, where it is known.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        pool = deployments.actor_of(alias) if actor is None else actor
        link = self._links[alias] = deployments.link_of(alias, pool, self._links.get(alias))
        return link

    async def stats(self) -> list[ModelStat]:
        """Return the counters of the deployments that answer."""
        found = [self.stat(alias) for alias in await asyncio.to_thread(deployments.aliases)]
        return [stat for stat in await asyncio.gather(*found) if stat is not None]

    async def stat(self, alias: str) -> ModelStat | None:
        """Return the counters of a deployment; None where it does not answer."""
        with suppress(errors.ByzerError, TimeoutError):
            link = await asyncio.to_thread(self.link, alias)
            stat: ModelStat = await asyncio.wait_for(link.call("stat"), STAT_SECONDS)
            return stat
        return None

    async def put_to_sleep(self, alias: str, why: Text, *, finish: bool) -> None:
        """Have a deployment unload its model, and show why; with `finish` also one that has requests."""
        link = await asyncio.to_thread(self.link, alias)
        await link.call("sleep", messages.SleepRequest(why, finish))

    async def shrink(self, alias: str, workers: int, why: Text) -> None:
        """Have a deployment reduce its workers, and show why; those that have requests finish them."""
        link = await asyncio.to_thread(self.link, alias)
        async with aclosing(link.stream("scale", messages.ScaleRequest(workers, why))) as events:  # type: ignore[type-var]  # a generator
            async for _event in events:
                pass

    async def describe(self, alias: str) -> Any:
        """Return what a deployment does, in words."""
        try:
            link = await asyncio.to_thread(self.link, alias)
            stat = await asyncio.wait_for(link.call("stat"), STAT_SECONDS)
        except (errors.ByzerError, TimeoutError):
            return _("it does not respond")
        if stat.error:
            return _("it could not be loaded ({error})", error=stat.error)
        workers = lazy_ngettext("{count} worker", "{count} workers", count=len(stat.workers))
        requests = lazy_ngettext("{count} request so far", "{count} requests so far", count=stat.requests)
        return join(stat.kind, workers, requests, separator=_(", "))

    async def take_down(
        self, alias: str, actor: Any, grace: float, pids: list[int] | None = None, plan_id: str = ""
    ) -> int:
        """Undeploy a pool, or kill one that does not answer; return how many requests were cancelled."""
        result = messages.UndeployResult(0, [])
        with suppress(errors.ByzerError, TimeoutError):  # killed all the same
            link = self.link(alias, actor)
            result = await asyncio.wait_for(
                link.call("undeploy", messages.UndeployRequest(grace)), grace + CLOSE_SECONDS
            )
        await deployments.remove(actor, [*(pids or []), *result.pids], alias, plan_id)
        if ended := self._links.pop(alias, None):
            await ended.close()
        return result.unfinished
