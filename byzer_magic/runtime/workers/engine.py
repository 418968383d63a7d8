"""A local worker: one process with one model, and the pool's view of it."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.backends.base import Backend
from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster.logs import ProcessId, here
from byzer_magic.runtime.cluster.node import attach_log, socket_folder
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.runtime.workers.reaper import Reaper
from byzer_magic.types import Item, Loading, Request

KEPT_PROCESSES = 3
"""Of a worker that died again and again, so many processes' logs are shown."""
START_SECONDS = 60.0
"""How long Ray may take to give an engine its process."""


class Engine:
    """The actor of one worker. Ray calls only `endpoint`; the pool calls the rest over the socket."""

    def __init__(self, plan: Plan, index: int) -> None:
        self._plan = plan
        self._backend: Backend | None = None
        attach_log(plan.hidden)
        self._reaper = Reaper()
        self._server = Server(
            {
                "open": self._open,
                **{capability.value: functools.partial(self._ask, capability) for capability in TABLE},
            },
            path=socket_folder() / f"{plan.id}-{index}.sock",
            host=ray.util.get_node_ip_address(),
            token=plan.token.reveal(),
            hidden=plan.hidden,
        )
        self._started = asyncio.run_coroutine_threadsafe(self._server.start(tcp=len(ray.nodes()) > 1), LOOP.start())

    def __repr__(self) -> str:
        return f"Engine({self._plan.spec.model})"

    async def endpoint(self) -> protocol.Endpoint:
        """Return where the pool connects."""
        await asyncio.wrap_future(self._started)
        return self._server.endpoint(here())

    async def _open(self, _: None) -> AsyncIterator[Loading | protocol.Opened]:
        """Load the model, telling how far it is; the last item is Opened."""
        if self._backend is not None:  # the connection was lost, not the process
            yield self._opened(self._backend)
            return
        stages: asyncio.Queue[Loading | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            loop.call_soon_threadsafe(stages.put_nowait, Loading(stage, fraction=fraction, detail=detail))

        work = asyncio.create_task(self._plan.backend.open(self._plan.setup, report))
        work.add_done_callback(lambda _: stages.put_nowait(None))
        try:
            while (stage := await stages.get()) is not None:
                self._reaper.note_shared_memory()  # also while it loads: it may be interrupted
                yield stage
            self._backend = await work
            self._reaper.note_shared_memory()
        finally:
            work.cancel()
        yield self._opened(self._backend)

    def _opened(self, backend: Backend) -> protocol.Opened:
        return protocol.Opened(sorted(backend.capabilities()), here(), os.getpid())

    async def _ask(self, capability: Capability, request: Request) -> AsyncIterator[Item]:
        if self._backend is None:
            raise errors.WorkerLost(f"{self._plan.spec.model} is still loading.", "Try again in a moment.")
        async with aclosing(self._backend.ask(capability, request)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                yield item


class EngineWorker:
    """One engine as the pool sees it: a worker to send requests to, and its comings and goings."""

    def __init__(self, name: str, actor: Any) -> None:
        self.processes: list[ProcessId] = []
        """Its processes, one after the other; the last is the one that runs."""
        self.ray_error = ""
        """What Ray said when it was last asked for this worker and had none."""
        self._name = name
        self._actor = actor
        self._link = Link(name, self._find)

    async def _find(self) -> protocol.Endpoint:
        try:
            endpoint: protocol.Endpoint = await asyncio.wait_for(self._actor.endpoint.remote(), START_SECONDS)
        except TimeoutError as err:  # Ray waits for room, as long as it takes
            raise errors.NoRoom(
                f"{self._name}: Ray has found no place for it within {START_SECONDS:g} s.",
                "`doctor` and `list` show what is free and what runs: undeploy something, or ask for less per worker.",
            ) from err
        except ray.exceptions.RayError as err:  # between a death and Ray noticing, or while it restarts
            self.ray_error = str(err).strip().splitlines()[-1]
            raise ConnectionError(self.ray_error) from err
        self._runs_in(ProcessId(endpoint.node, endpoint.pid))
        return endpoint

    def _runs_in(self, home: ProcessId) -> None:
        if [home] != self.processes[-1:]:
            self.processes = [*self.processes, home][-KEPT_PROCESSES:]

    @property
    def pid(self) -> int:
        """Return its process, or 0 while it has none."""
        return self.processes[-1].pid if self.processes else 0

    async def bring_up(self) -> AsyncIterator[Loading | protocol.Opened]:
        """Load the model in the (new) process: yields Loading, at last Opened."""
        async with aclosing(self._link.stream("open")) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                if isinstance(event, protocol.Opened):  # a restarted one listens where the last one did
                    self._runs_in(ProcessId(event.node, event.pid))
                yield event

    async def lost(self) -> None:
        """Return when the engine's process has died."""
        await self._link.lost()

    def ask(self, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield the answer's items."""
        return self._link.stream(capability.value, request)

    async def renew(self) -> None:
        """Kill the process, and let Ray start another."""
        ray.kill(self._actor, no_restart=False)
        await self._link.lost()

    async def close(self) -> None:
        """Kill the process, and with it what it has started; Ray does not restart it."""
        ray.kill(self._actor, no_restart=True)
        await self._link.close()
