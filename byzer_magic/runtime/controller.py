"""The controller: one actor per cluster that creates and removes deployments, so that faces need no Ray of their own.

It listens as pools do, and is found as they are. Requests do not pass through it: pools serve while it is down, and
when Ray has restarted it, it finds them by their names.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import ray

from byzer_magic import config, errors
from byzer_magic.commands.secrets import Secret
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster import (
    deployments,
    desired_state,
    discovery,
    placement,
    preload,
    prestart,
    replicas,
    spending,
)
from byzer_magic.runtime.cluster.authority import authority, identity_of_controller
from byzer_magic.runtime.cluster.node import attach_log, has_others, socket_folder
from byzer_magic.runtime.fleet import Fleet
from byzer_magic.runtime.fleet_file import LOCAL, FleetFile
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.making_room import Rooms
from byzer_magic.runtime.pools import Pools
from byzer_magic.runtime.room import Amount
from byzer_magic.runtime.transport import messages, plans, protocol
from byzer_magic.runtime.transport.server import Server
from byzer_magic.runtime.transport.tls import Certified, certify
from byzer_magic.types import Event, Failed, Loading, Placed, Ready

SPARE_SECONDS = 2.0
"""How long after a deploy, or after a face has connected, the spare process is started.

Until then, the CPUs are for the commands that follow, a deploy among them.
"""

log = get_logger("controller")


class Controller:
    """Creates, finds and removes the deployments of a cluster. Ray calls only `endpoint` and `certify`.

    Args:
        token: authorizes its clients; the same after a restart, so that they reconnect.
    """

    def __init__(self, token: Secret) -> None:
        self._node = ray.get_runtime_context().get_node_id()
        self._pools = Pools()
        self._deploying: dict[str, asyncio.Event] = {}
        """By the id of the plan: set when it is deployed, or when nothing is left of it."""
        self._spare = prestart.Spare()
        self._fleet = Fleet(FleetFile(LOCAL if preload.VARIABLE in os.environ else _address()))
        self._rooms = Rooms(self._pools.stats, self._fleet.specs, self._pools.put_to_sleep, self._pools.shrink, _free)
        self._tasks: set[asyncio.Task[None]] = set()
        attach_log(())
        self._server = Server(
            {
                "deploy": self._deploy,
                "update": self._update,
                "abandon": self._abandon,
                "remove": self._remove,
                "aliases": self._aliases,
                "fleet": self._fleet_view,
                "make_room": self._make_room,
                "locate": self._locate,
                "resources": self._resources,
                "prestart": self._prestart,
                "serve": self._serve,
                "serving": self._serving,
                "stop_serving": self._stop_serving,
            },
            path=socket_folder() / f"{discovery.CONTROLLER}.sock",
            host=ray.util.get_node_ip_address(),
            token=token.reveal(),
            identify=identity_of_controller,
        )
        self._started = asyncio.run_coroutine_threadsafe(self._start(), LOOP.start())

    def __repr__(self) -> str:
        return "Controller()"

    async def endpoint(self) -> protocol.Endpoint:
        """Return the address and token with which faces connect, from other nodes, too, where there are any."""
        await asyncio.wrap_future(self._started)
        if await asyncio.to_thread(has_others):
            await LOOP.adopt(self._server.listen_on_tcp())
        return self._server.endpoint(self._node)

    async def certify(self, request: str) -> Certified:
        """Return the certificate that another process of the cluster asks for, with which it listens on TCP."""
        return certify(await asyncio.to_thread(authority), request)

    async def _start(self) -> None:
        await asyncio.to_thread(self._remove_unfinished)
        missing = self._fleet.begin(await asyncio.to_thread(deployments.aliases)) if config.load().restore else []
        await self._server.start(tcp=False)
        discovery.announce_controller(socket_folder(), self._server.endpoint(self._node))
        self._spawn(self._fleet.restore(missing, self._restore))
        self._spawn(self._fleet.sync())

    async def _restore(self, plan: Plan, folder: str) -> None:
        async for _event in self._created(plan, folder):
            pass

    def _remove_unfinished(self) -> None:
        """Remove what this process was deploying when it was killed: nobody waits for it any longer."""
        for alias, plan_id in desired_state.unfinished():
            with suppress(errors.ByzerError):
                ray.kill(deployments.actor_of(alias), no_restart=True)
            placement.release(alias, plan_id)
            desired_state.finished(plan_id)

    # ---- deploying

    async def _deploy(self, request: messages.DeployRequest) -> AsyncIterator[Event]:
        """Create a deployment and yield its events; closing the iterator removes what there is of it.

        Raises:
            NameTaken: the alias is in use and the spec does not say `replace`.
            NoRoom: the cluster has too few CPUs or GPUs.
            ByzerError: the model could not be loaded.
        """
        plan = plans.to_plan(request)
        await self._fleet.settled(plan.spec.model)
        if await self._is_renewable(plan):
            try:
                async for event in self._update(request):
                    yield event
            except errors.NoRoom:  # both do not fit: the old one goes first
                yield Loading(_("not enough resources for both: removing the old deployment first"))
            else:
                return
        spent = await asyncio.to_thread(self._fleet.spent, plan.spec.model)
        replaced = await self._make_way(plan)
        if spent is not None:
            await asyncio.to_thread(spending.store, plan.id, spent)
        async with AsyncExitStack() as stack:
            async for waiting in self._room_for(plan, stack):
                yield waiting
            async for event in self._created(plan, request.folder, replaced=replaced):
                yield event
        if request.spare:
            self._spawn(self._renew_spare())

    async def _update(self, request: messages.DeployRequest) -> AsyncIterator[Event]:
        """Have a deployment serve another plan without a break, and yield events; the last one is Ready.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            NoRoom: the cluster has too little for the workers of both.
            ByzerError: the model could not be loaded; the deployment stays as it is.
        """
        plan = plans.to_plan(request)
        alias = plan.spec.model
        await self._fleet.settled(alias)
        link = await asyncio.to_thread(self._pools.link, alias)
        async with AsyncExitStack() as stack:
            async for waiting in self._room_for(plan, stack):
                yield waiting
            events = await stack.enter_async_context(aclosing(link.stream("update", request)))  # type: ignore[type-var]  # a generator
            async for event in events:
                if isinstance(event, Ready):
                    running = self._fleet.running(plan)
                    await asyncio.to_thread(self._fleet.keep, running, request.folder, event.capabilities)
                yield event

    async def _room_for(self, plan: Plan, stack: AsyncExitStack) -> AsyncIterator[Loading]:
        """Yield what a model waits for; it may be loaded until the stack is closed."""
        if not plan.backend.info.local:
            return
        events = await stack.enter_async_context(aclosing(self._rooms.enter(plan.spec.model, plan.located)))
        async for event in events:
            if not isinstance(event, Loading):
                return
            yield event

    async def _is_renewable(self, plan: Plan) -> bool:
        """Return whether a plan replaces a deployment that works, so that it can go on until the new one is up."""
        alias = plan.spec.model
        if not (plan.spec.replace or self._fleet.is_restored(alias)):
            return False
        if alias not in await asyncio.to_thread(deployments.aliases):
            return False
        stat = await self._pools.stat(alias)
        return stat is not None and not stat.error and bool(stat.capabilities)

    async def _created(self, plan: Plan, folder: str, *, replaced: bool = False) -> AsyncGenerator[Event, None]:
        alias = plan.spec.model
        settled = self._deploying[plan.id] = asyncio.Event()
        pids: list[int] = []
        ready = False
        creating = asyncio.create_task(asyncio.to_thread(self._create, plan))
        try:
            actor = await asyncio.shield(creating)
            link = self._pools.link(alias, actor)
            async with aclosing(link.stream("watch")) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    if isinstance(event, Placed):
                        pids.append(event.pid)
                    if isinstance(event, Failed):
                        raise _failure(event, replaced=replaced)
                    if isinstance(event, Ready):
                        ready = True
                        await asyncio.to_thread(self._fleet.keep, plan, folder, event.capabilities)
                        if routes := self._fleet.waiting_routes(alias):
                            self._spawn(self._fleet.restore(routes, self._restore))
                    yield event
        finally:
            await asyncio.shield(self._spawn(self._settle(plan, creating, pids, settled, ready=ready)))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _create(self, plan: Plan) -> Any:
        desired_state.deploying(plan)
        self._spare.taken()
        return deployments.create(plan)

    async def _settle(
        self, plan: Plan, creating: asyncio.Task[Any], pids: list[int], settled: asyncio.Event, *, ready: bool
    ) -> None:
        """End a deploy: keep the deployment that is ready, and remove what there is of one that is not."""
        try:
            await asyncio.wait([creating])
            if not ready and creating.exception() is None:
                await self._pools.take_down(plan.spec.model, creating.result(), 0.0, pids, plan.id)
        finally:
            await asyncio.to_thread(desired_state.finished, plan.id)
            self._deploying.pop(plan.id, None)
            settled.set()

    async def _abandon(self, request: messages.AbandonRequest) -> AsyncIterator[None]:
        if settled := self._deploying.get(request.id):
            await settled.wait()
        yield None

    async def _make_way(self, plan: Plan) -> bool:
        """Remove the deployment that a plan replaces; return whether there was one."""
        alias = plan.spec.model
        if alias not in await asyncio.to_thread(deployments.aliases):
            return False
        if not plan.spec.replace and not self._fleet.is_restored(alias):
            raise errors.NameTaken(
                _("{alias!r} is already deployed: {state}.", alias=alias, state=await self._pools.describe(alias)),
                _("Add --replace to replace it, or choose another --model."),
            )
        async for _count in self._remove(messages.RemoveRequest(alias, REPLACE_GRACE_SECONDS)):
            pass
        return True

    # ---- removing

    async def _remove(self, request: messages.RemoveRequest) -> AsyncIterator[int]:
        """Remove a deployment; yield how many requests were cancelled.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        await self._fleet.settled(request.alias)
        kept = await asyncio.to_thread(self._fleet.forget, request.alias)
        try:
            actor = await asyncio.to_thread(deployments.actor_of, request.alias)
        except errors.NotDeployed:
            if not kept:
                raise
            yield 0  # it was wanted, and did not run
            return
        yield await asyncio.shield(self._pools.take_down(request.alias, actor, request.grace))

    # ---- finding

    async def _aliases(self, _nothing: None) -> AsyncIterator[list[str]]:
        yield await asyncio.to_thread(deployments.aliases)

    async def _make_room(self, request: messages.RoomRequest) -> AsyncIterator[Loading | bool]:
        async with aclosing(self._rooms.enter(request.alias, request.spec, waits=request.waits)) as events:
            async for event in events:
                yield event

    async def _fleet_view(self, _nothing: None) -> AsyncIterator[messages.FleetView]:
        yield messages.FleetView(self._fleet.entries(), str(self._fleet.path), self._fleet.problem)

    async def _locate(self, request: messages.AliasRequest) -> AsyncIterator[protocol.Endpoint]:
        """Yield where a deployment's pool listens.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            WorkerLost: its process is being restarted.
        """
        await self._fleet.settled(request.alias)
        try:
            actor = await asyncio.to_thread(deployments.actor_of, request.alias)
        except errors.NotDeployed as err:
            raise self._fleet.why_not(request.alias) or err from None
        try:
            yield await deployments.endpoint_of(actor)
        except (ConnectionError, TimeoutError) as err:
            raise errors.WorkerLost(
                _("{name} does not respond.", name=request.alias),
                _("See %byzer stat, or deploy it again with --replace."),
            ) from err

    async def _resources(self, _nothing: None) -> AsyncIterator[messages.Resources]:
        yield messages.Resources(await asyncio.to_thread(placement.room))

    async def _serve(self, request: messages.ServeRequest) -> AsyncIterator[list[messages.Served]]:
        """Yield where the endpoint serves, once all its replicas do.

        Raises:
            ByzerError: see `replicas.start`.
        """
        yield await replicas.start(request)

    async def _serving(self, _nothing: None) -> AsyncIterator[list[messages.Served]]:
        yield await replicas.running()

    async def _stop_serving(self, request: messages.StopRequest) -> AsyncIterator[int]:
        yield await replicas.stop(request.grace)

    async def _prestart(self, _nothing: None) -> AsyncIterator[None]:
        self._spawn(self._renew_spare())
        yield None

    async def _renew_spare(self) -> None:
        """Have a process wait for the next deploy, unless that has come by now, which does the same in the end."""
        await asyncio.sleep(SPARE_SECONDS)
        if not self._deploying:
            await asyncio.to_thread(self._spare.renew)


def _failure(event: Failed, *, replaced: bool) -> errors.ByzerError:
    """Return the error of a deploy that failed."""
    err = errors.from_wire(event.error)
    if replaced:
        err.hint = join(
            err.hint, _("The deployment that it replaces had to end first: deploy that again to have it back.")
        )
    return err


REPLACE_GRACE_SECONDS = 30.0
"""How long a deployment that is replaced may go on with its requests in flight, as with `undeploy`."""


def _address() -> str:
    address: str = ray.get_runtime_context().gcs_address
    return address


def _free() -> Amount:
    """Return the free CPUs and GPUs; memory is unlimited here, and 0, for not known, where there are several nodes."""
    free = placement.room()
    alone = sum(bool(node["Alive"]) for node in ray.nodes()) == 1
    return Amount(cpus=free["CPU"][0], gpus=free["GPU"][0], memory=math.inf if alone else 0.0)
