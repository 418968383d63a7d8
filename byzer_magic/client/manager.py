"""Deploying, asking and removing models: what all faces call.

Everything asynchronous is written once, as coroutines and async iterators of `Manager`; the faces run them with
`run` and `iterate`, which block, show Ctrl-C, and tidy up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from byzer_magic import config, errors
from byzer_magic.capabilities import Capability, method_for
from byzer_magic.client.connection import Say
from byzer_magic.client.fleet import FleetManager
from byzer_magic.commands.spec import DeploySpec, UndeploySpec
from byzer_magic.runtime.loop import with_deadline
from byzer_magic.stat import ModelStat
from byzer_magic.types import Event, Failed, Placed, Ready, Request

if TYPE_CHECKING:
    from byzer_magic.plan import Plan
    from byzer_magic.runtime.transport.client import Link

DRAIN_SECONDS = 5.0
"""How long a pool may take to close its workers when nothing is in flight."""
LOOK_SECONDS = 0.1
"""How often a pool that is still loading is looked at."""
LOAD_SECONDS = 3600.0
"""Nothing that shows no progress for an hour is loading."""


class Manager(FleetManager):
    """One process's way to the deployments of one cluster."""

    def __init__(self, settings: config.Settings | None = None, say: Say = lambda _: None) -> None:
        super().__init__(settings, say)
        self._capabilities: WeakKeyDictionary[Link, frozenset[Capability]] = WeakKeyDictionary()

    # ---- deployments

    def plan(
        self, spec: DeploySpec, variables: Mapping[str, Any] | None = None, typed: Mapping[str, str] | None = None
    ) -> Plan:
        """Check a spec without Ray: types, parameters, `${NAME}`, files, packages; `typed` are secrets typed in.

        Raises:
            ConfigError: something is unknown, missing or wrong; the text names it.
        """
        from dotenv import dotenv_values

        from byzer_magic.plan import resolve

        file = {name: value for name, value in dotenv_values(".env").items() if value is not None}
        return resolve(spec, variables or {}, {**file, **os.environ}, typed)

    async def deploy(self, plan: Plan) -> AsyncIterator[Event]:
        """Create the deployment and yield its events; the last one is Ready.

        Leaving early (interrupt) or failing leaves nothing behind.

        Raises:
            NameTaken: the alias runs already and the spec does not say `replace`.
            NoRoom: the cluster has too few CPUs or GPUs.
            DeployError: the model could not be loaded; the text has the reason.
        """
        from byzer_magic.runtime.cluster import deployments, discovery

        spec = plan.spec
        await self._make_way(spec)
        discovery.forget_log(spec.model)  # of an older failure
        pids: list[int] = []
        ready = False
        creating = asyncio.create_task(asyncio.to_thread(deployments.create, plan))
        try:
            await asyncio.shield(creating)
            link = self._links[spec.model] = deployments.link_to(spec.model)
            async with aclosing(with_deadline(link.stream("watch"), LOAD_SECONDS)) as events:
                async for event in events:
                    if isinstance(event, Placed):
                        pids.append(event.pid)
                    if isinstance(event, Failed):
                        raise self._failure(spec.model, errors.from_wire(event.error))
                    ready = isinstance(event, Ready)
                    yield event
        finally:
            if not ready:
                await asyncio.shield(self._abandon(plan, creating, pids))
        self._prestart()

    @staticmethod
    def _failure(alias: str, err: errors.ByzerError) -> errors.ByzerError:
        """Return the error of a deploy that failed, its log put where `logs` finds it."""
        from byzer_magic.runtime.cluster import discovery

        if log := err.details.pop("log", None):
            discovery.keep_log(alias, log)
            err.hint = f"{err.hint} What it wrote: logs --model {alias}".strip()
        return err

    async def _abandon(self, plan: Plan, creating: asyncio.Task[Any], pids: list[int]) -> None:
        """Take away what a deploy has left, also when it was interrupted while Ray was creating the actor."""
        from byzer_magic.runtime.cluster import deployments
        from byzer_magic.runtime.transport import protocol

        alias = plan.spec.model
        await asyncio.wait([creating])
        if creating.exception() is not None:  # then there is nothing to take away
            return
        with contextlib.suppress(errors.ByzerError, TimeoutError):  # it may not have come so far
            if (link := self._links.get(alias)) is not None and link.connected:
                pids += (await asyncio.wait_for(link.call("drain", protocol.DrainRequest(0)), DRAIN_SECONDS)).pids
        await deployments.remove(creating.result(), pids, alias, plan.id)
        await self._forget(alias)

    async def _make_way(self, spec: DeploySpec) -> None:
        if spec.model not in await self.aliases():
            return
        if not spec.replace:
            raise errors.NameTaken(
                f"{spec.model!r} is deployed already: {await self._describe(spec.model)}.",
                "Add --replace to replace it, or choose another --model.",
            )
        await self.undeploy(UndeploySpec(model=spec.model))

    async def _describe(self, alias: str) -> str:
        try:
            stat = await asyncio.wait_for(self.stat(alias), 3)
        except (errors.ByzerError, TimeoutError):
            return "it does not answer"
        if stat.trouble:
            return f"it could not be loaded ({stat.trouble})"
        return f"{stat.kind}, {len(stat.workers)} worker(s) x {stat.concurrency}, {stat.requests} requests so far"

    async def undeploy(self, spec: UndeploySpec) -> int:
        """Remove a deployment; return how many requests were cut off.

        Raises:
            NotDeployed: there is no such alias.
        """
        from byzer_magic.runtime.cluster import deployments
        from byzer_magic.runtime.transport import protocol

        link = await self._link(spec.model)
        actor = await asyncio.to_thread(deployments.actor_of, spec.model)
        result = protocol.DrainResult(0, [])
        try:
            grace = 0.0 if spec.force else spec.grace
            result = await asyncio.wait_for(link.call("drain", protocol.DrainRequest(grace)), grace + DRAIN_SECONDS)
        except (errors.ByzerError, TimeoutError):
            pass  # a pool that does not answer is killed all the same
        finally:
            await asyncio.shield(deployments.remove(actor, result.pids, spec.model))
            await self._forget(spec.model)
        return result.unfinished

    async def aliases(self) -> list[str]:
        """Return the aliases of all deployments."""
        from byzer_magic.runtime.cluster import deployments

        return await asyncio.to_thread(deployments.aliases)

    async def stat(self, alias: str) -> ModelStat:
        """Return the counters of one deployment.

        Raises:
            NotDeployed: there is no such alias.
        """
        stat: ModelStat = await (await self._link(alias)).call("stat")
        return stat

    async def stats(self) -> list[ModelStat]:
        """Return the counters of all deployments that answer, by alias."""
        asked = [asyncio.wait_for(self.stat(alias), 5) for alias in await self.aliases()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, ModelStat)]

    async def logs(self, alias: str, lines: int) -> list[str]:
        """Return the last lines that the deployment's processes wrote."""
        from byzer_magic.runtime.transport import protocol

        link = await self._link(alias)
        async with aclosing(link.stream("logs", protocol.LogsRequest(lines))) as items:  # type: ignore[type-var]  # a generator
            return [line async for line in items]

    def failed_log(self, alias: str) -> list[str]:
        """Return what the workers of an alias wrote whose last deploy failed on this machine, else nothing."""
        from byzer_magic.runtime.cluster import discovery

        return discovery.kept_log(alias)

    def runs(self, alias: str) -> bool:
        """Return whether something is deployed as `alias`, without connecting for it."""
        from byzer_magic.runtime.cluster import discovery

        return discovery.announced(alias) is not None or (self.connected and alias in self.run(self.aliases()))

    # ---- requests

    async def ask(self, alias: str, request: Request) -> AsyncIterator[Any]:
        """Yield the answer: first Dispatched (which worker), then the items of what the request is for.

        Raises:
            NotDeployed: there is no such alias.
            Unsupported: the model cannot do that; the hint names models that can.
            RequestError: no whole answer came; what was yielded stands.
        """
        link = await self._link(alias)
        try:
            async with aclosing(link.stream(method_for(request).value, request)) as items:  # type: ignore[type-var]  # a generator
                async for item in items:
                    yield item
        except errors.Unsupported as err:
            raise errors.Unsupported(err.message, await self._who_can(err.details["needs"])) from None

    async def _who_can(self, needs: list[str]) -> str:
        """Return the hint that names the deployments with all these capabilities."""
        await asyncio.to_thread(self.ensure)
        able = [stat.model for stat in await self.stats() if set(needs) <= set(stat.capabilities)]
        what = " and ".join(needs)
        return f"These can {what}: {', '.join(able)}." if able else f"Deploy a model that can {what} (see: presets)."

    async def capabilities(self, alias: str) -> frozenset[Capability]:
        """Return what the model can do (asked once per deployment)."""
        link = await self._link(alias)
        while link not in self._capabilities:
            stat: ModelStat = await link.call("stat")
            if stat.trouble:
                raise errors.NotDeployed(
                    f"{alias} could not be loaded: {stat.trouble}", f"See logs --model {alias}; then deploy it again."
                )
            if stat.capabilities:
                self._capabilities[link] = frozenset(map(Capability, stat.capabilities))
            else:  # it is loading
                await asyncio.sleep(LOOK_SECONDS)
        return self._capabilities[link]

    async def _link(self, alias: str) -> Link:
        link = self._links.get(alias)
        if link is not None and (link.connected or not self._address):  # without an address: a direct one
            return link
        from byzer_magic.runtime.cluster import deployments

        found = await asyncio.to_thread(deployments.link_to, alias, link)  # it may be gone, or another one by now
        if link is not None and found is not link:
            await link.close()
        self._links[alias] = found
        return found

    async def _forget(self, alias: str) -> None:
        if link := self._links.pop(alias, None):
            await link.close()
