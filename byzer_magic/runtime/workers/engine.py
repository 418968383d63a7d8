"""An engine worker: the actor, a process with one model, and the pool's proxy of it."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.backends.base import Backend, Report
from byzer_magic.backends.engine import devices
from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster.authority import identity
from byzer_magic.runtime.cluster.leftovers import use_scratch
from byzer_magic.runtime.cluster.logs import ProcessId, here
from byzer_magic.runtime.cluster.node import attach_log, has_others, socket_folder
from byzer_magic.runtime.garbage import relax_collector
from byzer_magic.runtime.gather import Gathering
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.transport import messages, protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.runtime.workers import model_files
from byzer_magic.runtime.workers.reaper import Reaper
from byzer_magic.types import Item, Loading, Request

KEPT_PROCESSES = 3
"""Of a worker that was restarted many times, the logs of this many latest processes are shown."""
EJECT_SECONDS = 5.0
"""How long the connection of a killed process may take to end."""
START_SECONDS = 60.0
"""How long Ray may take to start an engine's process."""


class Engine:
    """The actor of one worker. Ray calls only `endpoint`; all other calls arrive over the socket."""

    def __init__(self, plan: Plan, index: int) -> None:
        devices.hide(plan.setup)  # before anything looks for them
        self._plan = plan
        self._backend: Backend | None = None
        attach_log(plan.hidden)
        self._reaper = Reaper(use_scratch())
        self._server = Server(
            {
                "open": self._open,
                **{capability.value: functools.partial(self._ask, capability) for capability in TABLE},
            },
            path=socket_folder() / f"{plan.id}-{index}.sock",
            host=ray.util.get_node_ip_address(),
            token=plan.token.reveal(),
            hidden=plan.hidden,
            identify=identity,
        )
        self._started = asyncio.run_coroutine_threadsafe(self._server.start(tcp=False), LOOP.start())

    def __repr__(self) -> str:
        return f"Engine({self._plan.spec.model})"

    async def endpoint(self) -> protocol.Endpoint:
        """Return the address and token with which the pool connects, from another node, too, where there is one."""
        await asyncio.wrap_future(self._started)
        if await asyncio.to_thread(has_others):
            await LOOP.adopt(self._server.listen_on_tcp())
        return self._server.endpoint(here())

    async def _open(self, _nothing: None) -> AsyncIterator[Loading | messages.Opened]:
        """Load the model, reporting progress; the last item is Opened."""
        if self._backend is not None:  # only the connection was lost: the model is loaded
            yield self._opened(self._backend)
            return
        stages: asyncio.Queue[Loading | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            loop.call_soon_threadsafe(stages.put_nowait, Loading(stage, fraction=fraction, detail=detail))

        work = asyncio.create_task(self._loaded(report))
        work.add_done_callback(lambda _done: stages.put_nowait(None))
        try:
            while (stage := await stages.get()) is not None:
                self._reaper.note_shared_memory()  # also while it loads: it may be killed at any time
                yield stage
            self._backend = await work
            self._reaper.note_shared_memory()
        finally:
            work.cancel()
        yield self._opened(self._backend)

    async def _loaded(self, report: Report) -> Backend:
        setup = await model_files.on_this_node(self._plan, report)
        relax_collector()
        return await self._plan.backend.open(setup, report)

    def _opened(self, backend: Backend) -> messages.Opened:
        return messages.Opened(sorted(backend.capabilities()), here(), os.getpid())

    async def _ask(self, capability: Capability, request: Request) -> AsyncIterator[Item]:
        if self._backend is None:
            raise errors.WorkerLost(
                _("{alias} is still loading.", alias=self._plan.spec.model), _("Try again in a moment.")
            )
        async with aclosing(Gathering(request).items(self._backend.ask(capability, request))) as items:  # type: ignore[type-var]  # async generators all
            async for item in items:
                yield item


class EngineWorker:
    """The pool's proxy of one engine: sends it requests, and follows its process through restarts.

    Args:
        name: how errors name the worker.
        actor: the Ray actor.
    """

    def __init__(self, name: str, actor: Any) -> None:
        self.processes: list[ProcessId] = []
        """Its processes, oldest first; the last one is running."""
        self.ray_error = ""
        """Ray's latest error when the worker's process was looked up and there was none."""
        self.host = ""
        """The address of its node, once it is known."""
        self._name = name
        self._actor = actor
        self._link = Link(name, self._find)

    async def _find(self) -> protocol.Endpoint:
        try:
            endpoint: protocol.Endpoint = await asyncio.wait_for(self._actor.endpoint.remote(), START_SECONDS)
        except TimeoutError as err:  # Ray itself would wait for free resources without a limit
            raise errors.NoRoom(
                _("{name}: Ray did not start it within {seconds:g} s.", name=self._name, seconds=START_SECONDS),
                _(
                    "`doctor` shows what is free, and `list` what is running: undeploy something, or request less "
                    "per worker."
                ),
            ) from err
        except ray.exceptions.RayError as err:  # the process has died, or is being restarted
            self.ray_error = str(err).strip().splitlines()[-1]
            raise ConnectionError(self.ray_error) from err
        self._runs_in(ProcessId(endpoint.node, endpoint.pid))
        self.host = endpoint.host
        return endpoint

    def _runs_in(self, process: ProcessId) -> None:
        if [process] != self.processes[-1:]:
            self.processes = [*self.processes, process][-KEPT_PROCESSES:]

    @property
    def pid(self) -> int:
        """Return the id of its process, or 0 while it has none."""
        return self.processes[-1].pid if self.processes else 0

    async def load(self) -> AsyncIterator[Loading | messages.Opened]:
        """Load the model in the current process: yield Loading events, then Opened."""
        async with aclosing(self._link.stream("open")) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                if isinstance(event, messages.Opened):  # the same socket after a restart: `_find` was not called
                    self._runs_in(ProcessId(event.node, event.pid))
                yield event

    async def lost(self) -> None:
        """Wait until the engine's process has died."""
        await self._link.lost()

    @property
    def received(self) -> int:
        """Return how many messages the process has sent."""
        return self._link.received

    @property
    def owes(self) -> bool:
        """Return whether a request waits for an item."""
        return self._link.owes

    async def ping(self) -> None:
        """Wait until the process' event loop answers."""
        await self._link.ping()

    async def eject(self, why: errors.RequestError) -> None:
        """Kill a process that hangs; its requests raise `why`, and Ray starts a new one."""
        self._link.lost_because = why
        self._kill()
        try:
            await asyncio.wait_for(self._link.lost(), EJECT_SECONDS)
        except TimeoutError:  # on another node, which may be gone as well
            self._link.abort()
            await self._link.lost()

    def _kill(self) -> None:
        """Kill the process in such a way that it need not take part in it, where it is on this node."""
        ray.kill(self._actor, no_restart=False)
        if self.processes and self.processes[-1].node == here():
            with suppress(ProcessLookupError):
                os.kill(self.processes[-1].pid, signal.SIGKILL)

    def ask(self, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield the items of the response."""
        return self._link.stream(capability.value, request)

    async def restart(self) -> None:
        """Kill the process; Ray starts a new one."""
        self._kill()
        await self._link.lost()

    async def close(self) -> None:
        """Kill the process for good; the reaper ends what it has started."""
        ray.kill(self._actor, no_restart=True)
        await self._link.close()
