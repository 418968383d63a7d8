"""Deploying, asking and removing models: used by all faces.

Everything asynchronous is written once, as coroutines and async iterators of `Manager`; the faces run them with
`run` and `iterate`, which block, show Ctrl-C, and clean up.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from byzer_magic import config
from byzer_magic.capabilities import Capability
from byzer_magic.client import answering, deploying, follow, replaying
from byzer_magic.client.connection import Connection, Say
from byzer_magic.client.pricing import PRICES, Priced
from byzer_magic.client.reporter import Reporter, Silent
from byzer_magic.commands import env_file
from byzer_magic.commands.spec import DeploySpec, DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import Fleet, ModelStat, Sample
from byzer_magic.types import Event, Request

if TYPE_CHECKING:
    from byzer_magic.plan import Plan
    from byzer_magic.runtime.transport.messages import FleetView, ModelIdentity, Resources

T = TypeVar("T")

STAT_SECONDS = 5.0
"""How long a deployment may take to return its counters when all are asked."""


class Manager:
    """One face's access to the deployments of one cluster; cheap to create on a connection that exists.

    Args:
        settings: by default those of the user's file and environment.
        reporter: where progress is shown, by default nowhere.
        connection: shared with other managers; by default a new one.
    """

    def __init__(
        self,
        settings: config.Settings | None = None,
        reporter: Reporter | None = None,
        connection: Connection | None = None,
    ) -> None:
        self.settings = settings or config.load()
        self.reporter: Reporter = reporter or Silent()
        self._connection = connection or Connection()

    @property
    def connection(self) -> Connection:
        """Return the connection: to a tape where one is replayed."""
        return replaying.REPLAY.connection(self.settings) or self._connection

    def reporting_to(self, reporter: Reporter, settings: config.Settings) -> Manager:
        """Return a manager on the same connection for another face."""
        return Manager(settings, reporter, self._connection)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this manager to its end."""
        return LOOP.run(work)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over an async iterator of this manager; leaving the loop stops the work behind it."""
        return LOOP.iterate(items)

    # ---- the cluster

    @property
    def connected(self) -> bool:
        """Return whether this process is connected to a cluster."""
        return self.connection.connected

    def connect(self, address: str | None = None) -> str:
        """Connect to Ray; return the cluster's address.

        Args:
            address: ``auto``, ``local`` or ``host:port``; by default that of the settings.

        Raises:
            CannotConnect: no Ray responds at this address.
        """
        return self.connection.connect(address or self.settings.ray_address, self.settings, self.reporter.say)

    def ensure(self, address: str = "auto", say: Say | None = None) -> None:
        """Connect when this process is not connected yet, or when a given address must be checked.

        Args:
            address: ``auto``, ``local`` or ``host:port``.
            say: receives progress messages, in place of the reporter.

        Raises:
            CannotConnect: no Ray responds at this address.
        """
        self.connection.ensure(address, self.settings, say or self.reporter.say)

    def reach(self, alias: str, address: str = "auto") -> None:
        """Make sure that requests can reach `alias`: directly when it is on this machine, else by connecting to Ray.

        Raises:
            CannotConnect: no Ray is running, and none can be started.
        """
        self.connection.reach(alias, address, self.settings, self.reporter.say)

    def shutdown(self) -> bool:
        """Stop the local Ray; return whether there was one that byzer-magic had started."""
        return self.connection.shutdown(self.reporter.say)

    def room(self) -> dict[str, tuple[float, float]] | None:
        """Return the free and the total CPUs and GPUs of a Ray that runs; None where none runs."""
        from byzer_magic.runtime.cluster import address, this_machine

        target = address.resolve("auto", self.settings)
        if not self.connected and target.is_here and this_machine.current_cluster() is None:
            return None
        self.ensure()
        return self.run(self._resources())

    async def _resources(self) -> dict[str, tuple[float, float]]:
        found: Resources = await self.connection.control().call("resources")
        return found.amounts

    # ---- deploying

    def plan(
        self, spec: DeploySpec, variables: Mapping[str, Any] | None = None, typed: Mapping[str, str] | None = None
    ) -> Plan:
        """Check a spec without Ray: types, parameters, `${NAME}`, files, packages.

        Args:
            spec: what to deploy.
            variables: where `${NAME}` is looked up first, before the environment and `.env`.
            typed: secrets that the user has entered, by parameter name.

        Raises:
            ConfigError: something is unknown, missing or invalid; the message names it.
        """
        from byzer_magic.plan import resolve

        with env_file.lent() as environ:
            return resolve(spec, variables or {}, environ, typed)

    def update(self, plan: Plan) -> AsyncIterator[Event]:
        """Have a deployment serve another plan without a break, and yield events; the last one is Ready.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            NoRoom: the cluster has too little for the workers of both.
            DeployError: the model could not be loaded; the deployment stays as it is.
        """
        return deploying.deploying(self.connection, plan, "update", self.settings)

    def deploy(self, plan: Plan) -> AsyncIterator[Event]:
        """Create the deployment and yield its events; the last one is Ready.

        Leaving early (interrupt) or failing leaves nothing behind.

        Raises:
            NameTaken: the alias is in use and the spec does not say `replace`.
            NoRoom: the cluster has too few CPUs or GPUs.
            DeployError: the model could not be loaded; the message gives the reason.
            RequestError: the spec says `check`, and the model does not answer.
        """
        return deploying.deploying(self.connection, plan, "deploy", self.settings)

    async def spec(self, alias: str) -> DeploySpec:
        """Return a deployment as its user has typed it, secrets included.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        link = await self.connection.link(alias)
        found: DeploySpec = await link.call("spec")
        return found

    async def undeploy(self, spec: UndeploySpec) -> int:
        """Remove a deployment; return how many requests were cancelled.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        from byzer_magic.runtime.transport import messages

        request = messages.RemoveRequest(spec.model, 0.0 if spec.force else spec.grace)
        cancelled: int = await self.connection.control().call("remove", request)
        await self.connection.forget(spec.model)
        return cancelled

    async def fleet(self) -> FleetView:
        """Return the deployments that the cluster is to have, those that do not run included."""
        found: FleetView = await self.connection.control().call("fleet")
        return found

    async def sleep(self, alias: str) -> bool:
        """Unload the model of a deployment until the next request; return whether that was done.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        from byzer_magic.runtime.transport import messages

        link = await self.connection.link(alias)
        slept: bool = await link.call("sleep", messages.SleepRequest())
        return slept

    # ---- deployments that run

    def scale(self, spec: ScaleSpec) -> AsyncIterator[Event]:
        """Change the number of a deployment's workers and yield its events; the last one is Ready.

        Leaving early keeps the new workers that are up.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            NoRoom: the cluster has too little for more workers.
            EngineFailed: a new worker could not load the model.
        """
        from byzer_magic.runtime.transport import messages

        return self._change(spec.model, "scale", messages.ScaleRequest(spec.num_workers))

    def restart(self, spec: RestartSpec) -> AsyncIterator[Event]:
        """Restart a deployment's workers one after the other, or a single one, and yield events; the last one is Ready.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            CommandError: the deployment has no such worker.
            EngineFailed: a worker could not load its model again.
        """
        from byzer_magic.runtime.transport import messages

        return self._change(spec.model, "restart", messages.RestartRequest(spec.worker, spec.grace))

    async def _change(self, alias: str, method: str, request: Any) -> AsyncIterator[Event]:
        link = await self.connection.link(alias)
        async with aclosing(link.stream(method, request)) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event

    async def drain(self, spec: DrainSpec) -> int:
        """Stop sending requests to a deployment or one worker; return how many are still in flight there.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            CommandError: the deployment has no such worker.
        """
        from byzer_magic.runtime.transport import messages

        link = await self.connection.link(spec.model)
        running: int = await link.call("drain", messages.DrainRequest(spec.worker))
        return running

    async def aliases(self) -> list[str]:
        """Return the aliases of all deployments."""
        return await self.connection.aliases()

    async def names(self) -> list[str]:
        """Return the aliases of all deployments, without starting a Ray or waiting for one that has ended.

        Raises:
            CannotConnect: no Ray runs here.
        """
        return await self.connection.names()

    def runs(self, alias: str) -> bool:
        """Return whether something is deployed as `alias`, without connecting for it."""
        from byzer_magic.runtime.cluster import discovery

        return discovery.announced(alias) is not None or (self.connected and alias in self.run(self.aliases()))

    def follow(self, alias: str | None = None) -> AsyncIterator[Fleet]:
        """Yield all deployments, or one, whenever something changes (see `byzer_magic.client.follow.follow`)."""
        return follow.follow(self.connection, alias)

    async def stat(self, alias: str) -> ModelStat:
        """Return the counters of one deployment.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        alias, _adapter = await self.named(alias)
        stat: ModelStat = await (await self.connection.link(alias)).call("stat")
        return stat

    async def stats(self) -> list[ModelStat]:
        """Return the counters of all deployments that answer, by alias."""
        asked = [asyncio.wait_for(self.stat(alias), STAT_SECONDS) for alias in await self.aliases()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [answer for answer in answers if isinstance(answer, ModelStat)]

    async def history(self, alias: str) -> list[Sample]:
        """Return a sample for each of the last seconds, ten minutes at most.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        return await self._all(alias, "history")

    async def logs(self, alias: str, lines: int) -> list[str]:
        """Return the last lines that the deployment's processes wrote.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        from byzer_magic.runtime.transport import messages

        return await self._all(alias, "logs", messages.LogsRequest(lines))

    async def _all(self, alias: str, method: str, *request: Any) -> list[Any]:
        link = await self.connection.link(alias)
        async with aclosing(link.stream(method, *request)) as items:  # type: ignore[type-var]  # a generator
            return [item async for item in items]

    def failed_log(self, alias: str) -> list[str]:
        """Return the log of an alias whose last deploy on this machine failed, else an empty list."""
        from byzer_magic.runtime.cluster import discovery

        return discovery.kept_log(alias)

    # ---- requests

    async def named(self, name: str) -> tuple[str, str]:
        """Return the alias and the LoRA adapter that a name stands for: ``alias``, or ``alias:adapter``."""
        return await self.connection.named(name)

    def ask(self, alias: str, request: Request) -> AsyncIterator[Any]:
        """Yield the response: Waiting while it is queued, Dispatched (which worker), then the capability's chunks.

        At the end comes Complete, when it has been answered by a deployment.

        After a colon, the alias may be followed by the LoRA adapter that is to answer. The request has the id on which
        its caller works (`request_ids`), or a new one; errors have it in `details`.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            Unsupported: the model lacks the capability; the hint names models that have it.
            RequestError: the response is incomplete; the chunks yielded so far are valid.
            CommandError: both the name and the request choose an adapter.
        """
        return answering.answered(self, alias, request)

    async def identity(self, alias: str, since: float | None = None) -> ModelIdentity | None:
        """Return which model a deployment is; None where its pool is of a version that does not say that.

        The digest of a route is that of its deployments, as far as they are there.

        Args:
            alias: the deployment.
            since: a time of `time.monotonic`; by default, it may be as it was a second ago.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        return await self.connection.identity(alias, since)

    async def price(self, alias: str) -> Priced:
        """Return what the tokens of a deployment cost; of a route, those of its dearest model.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        return await PRICES.of(self.connection, (await self.named(alias))[0])

    def warn(self, text: str) -> None:
        """Show what is wrong, where progress is shown; a script, which shows none, has a Python warning."""
        if isinstance(self.reporter, Silent):
            warnings.warn(text, RuntimeWarning, stacklevel=3)
        self.reporter.say(text)

    def learnt(self, alias: str) -> set[str]:
        """Return what requests have shown about a deployment, to be added to; empty again once it is replaced."""
        return self.connection.learnt(alias)

    async def capabilities(self, alias: str) -> frozenset[Capability]:
        """Return the capabilities of a deployment; wait while it is loading.

        Raises:
            NotDeployed: nothing is deployed as this alias, or its model could not be loaded.
        """
        alias, _adapter = await self.named(alias)
        return await self.connection.capabilities(alias)
