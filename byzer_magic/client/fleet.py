"""What a manager can do to deployments that run: follow them, scale, drain and restart them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from byzer_magic import errors
from byzer_magic.client import follow
from byzer_magic.client.connection import Connection
from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec
from byzer_magic.stat import Fleet, Sample
from byzer_magic.types import Event

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link


class FleetManager(Connection):
    """The part of a manager that looks after what runs."""

    @abstractmethod
    async def aliases(self) -> list[str]:
        """Return the aliases of all deployments."""

    @abstractmethod
    async def _link(self, alias: str) -> Link:
        """Return the link that requests to an alias take."""

    def follow(self, alias: str | None = None) -> AsyncIterator[Fleet]:
        """Yield all deployments, or one, whenever something changes (see `byzer_magic.client.follow.follow`)."""
        return follow.follow(self, alias)

    async def names(self) -> list[str]:
        """Return the aliases of all deployments, without starting a Ray or waiting for one that has gone.

        Raises:
            CannotConnect: no Ray runs here.
        """
        from byzer_magic.runtime.cluster import discovery

        here = await asyncio.to_thread(discovery.aliases)
        alive = await asyncio.to_thread(self.is_alive)  # a Ray that has gone would not answer for a minute
        if here is None and not alive:
            raise errors.CannotConnect("No Ray is running here.", "Deploy a model: that starts one.")
        return sorted({*(here or []), *(await self.aliases() if alive else [])})

    async def link(self, alias: str) -> Link:
        """Return a link of its own to a deployment, which its user closes.

        Raises:
            NotDeployed: there is no such alias.
        """
        from byzer_magic.runtime.cluster import discovery

        here = await asyncio.to_thread(lambda: discovery.announced(alias) is not None)
        if here or not self.connected:
            return discovery.link_to(alias)
        from byzer_magic.runtime.cluster import deployments

        return await asyncio.to_thread(deployments.link_to, alias)

    async def history(self, alias: str) -> list[Sample]:
        """Return what happened in each of the last seconds, ten minutes at most.

        Raises:
            NotDeployed: there is no such alias.
        """
        link = await self._link(alias)
        async with aclosing(link.stream("history")) as samples:  # type: ignore[type-var]  # a generator
            return [sample async for sample in samples]

    def scale(self, spec: ScaleSpec) -> AsyncIterator[Event]:
        """Give a deployment another number of workers, and yield what happens; the last event is Ready.

        Leaving early keeps the new workers that are up.

        Raises:
            NotDeployed: there is no such alias.
            NoRoom: the cluster has too little for more workers.
            EngineFailed: a new worker could not load the model.
        """
        from byzer_magic.runtime.transport import protocol

        return self._change(spec.model, "scale", protocol.ScaleRequest(spec.num_workers))

    def restart(self, spec: RestartSpec) -> AsyncIterator[Event]:
        """Restart a deployment's workers one after the other, or one, and yield what happens; the last event is Ready.

        Raises:
            NotDeployed: there is no such alias.
            CommandError: there is no such worker.
            EngineFailed: a worker could not load its model again.
        """
        from byzer_magic.runtime.transport import protocol

        return self._change(spec.model, "restart", protocol.RestartRequest(spec.worker, spec.grace))

    async def _change(self, alias: str, method: str, request: Any) -> AsyncIterator[Event]:
        link = await self._link(alias)
        async with aclosing(link.stream(method, request)) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event

    async def drain(self, spec: DrainSpec) -> int:
        """Send a deployment, or one worker, no more requests; return how many are still in flight there.

        Raises:
            NotDeployed: there is no such alias.
            CommandError: there is no such worker.
        """
        from byzer_magic.runtime.transport import protocol

        running: int = await (await self._link(spec.model)).call("rest", protocol.RestRequest(spec.worker))
        return running
