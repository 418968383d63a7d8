"""Changing a deployment that runs: more workers or fewer, workers that rest, workers that begin anew."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Protocol

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.plan import Plan
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import desired_state, placement
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.types import Event, Item, Loading, Ready, Request

CUT_SECONDS = 5.0
"""How long requests that are cut may take to let go of their worker."""


class Workers(Protocol):
    """The workers of a deployment, whatever they are: `EngineWorkers` or `ApiWorkers`."""

    capabilities: frozenset[Capability]

    @property
    def pids(self) -> dict[int, int]:
        """Return the processes of those that have one."""
        ...

    async def add(self, indices: Collection[int], note: Notify) -> None:
        """Bring up more workers."""

    async def renew(self, index: int, note: Notify, *, first: bool) -> None:
        """Let a worker begin anew; it is the first one of several, or not."""

    async def drop(self, index: int) -> None:
        """End a worker."""

    async def close(self) -> None:
        """End all workers, also those that are still loading."""

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield a worker's answer."""
        ...

    def family(self) -> list[int]:
        """Return the processes on this node that end with the workers."""
        ...

    async def log(self, lines: int) -> list[str]:
        """Return the last lines that they wrote."""
        ...


class Lifecycle:
    """Does one change after the other."""

    def __init__(self, plan: Plan, admission: Admission, workers: Workers) -> None:
        self.workers = workers
        self._plan = plan
        self._admission = admission
        self._indices = list(range(plan.spec.num_workers))
        """The indices of those that the deployment shall have."""
        self._reserved = 0
        """For how many workers more is reserved than the pool's actor was made with."""
        self._one = asyncio.Lock()
        self._retiring: dict[int, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """Return how many workers the deployment shall have."""
        return len(self._indices)

    async def open(self, note: Notify) -> None:
        """Bring up the workers: those that were deployed, or what was wanted before the pool's process was restarted.

        Raises:
            EngineFailed: a model could not be loaded.
            ByzerError: a backend could not be opened, or Ray has no room any more.
        """
        async with self._one:
            wanted: desired_state.DesiredState = await asyncio.to_thread(desired_state.load, self._plan)
            await self._reserve(wanted.workers)
            self._indices = list(range(wanted.workers))
            self._admission.resize(self._indices, "loading")
            for index in wanted.drained:
                self._admission.drain(index, self._drained_error())
            await self.workers.add(self._indices, note)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other change is going on.

        Raises:
            NotDeployed: there is no model that could be changed.
        """
        async with self._one:
            if why := self._admission.broken:
                raise why
            yield

    def _waiting(self) -> list[Event]:
        return [Loading("waiting until another change has ended")] if self._one.locked() else []

    # ---- more workers and fewer

    async def scale(self, request: protocol.ScaleRequest) -> AsyncIterator[Event]:
        """Have another number of workers; requests go on meanwhile. Leaving early keeps those that are up.

        Raises:
            NoRoom: there is too little for more workers.
            EngineFailed: a new worker could not load the model; those that could stay.
        """
        for event in self._waiting():
            yield event
        async with self._turn():
            started = time.monotonic()
            stay, go = self._indices[: request.workers], self._indices[request.workers :]
            new = self._unused(request.workers - len(stay))
            await self._make_room(request.workers)
            self._indices = sorted([*stay, *new])
            self._admission.resize(self._indices, "loading")
            for index in go:
                self._retire(index)
            try:
                if new:
                    async with aclosing(events_of(lambda note: self.workers.add(new, note))) as events:  # type: ignore[type-var]  # a generator
                        async for event in events:
                            yield event
            finally:
                await asyncio.shield(self._settle(new))
            yield self._ready(started)

    def _unused(self, count: int) -> list[int]:
        """Return indices for new workers; those that are still finishing what they do keep theirs."""
        used = {*self._indices, *self._retiring}
        return list(itertools.islice((index for index in itertools.count() if index not in used), max(0, count)))

    async def _make_room(self, count: int) -> None:
        """See to it that there is room for so many workers; engines have actors, which Ray counts itself.

        Raises:
            NoRoom: there is not.
        """
        spec, more = self._plan.spec, count - self.count
        await self._reserve(count)
        if self._plan.backend.info.local and more > 0:
            asked = (more * spec.cpus_per_worker, more * spec.gpus_per_worker)
            await asyncio.to_thread(placement.check_room, f"{more} more of {spec.model}", *asked)

    async def _reserve(self, count: int) -> None:
        """See to it that Ray counts a pool's own workers."""
        extra = 0 if self._plan.backend.info.local else max(0, count - self._plan.spec.num_workers)
        if extra != self._reserved:
            await placement.for_more(self._plan, extra, self._reserved)
            self._reserved = extra

    async def _settle(self, new: list[int]) -> None:
        """Keep the new workers that have come up, and let the others go."""
        for index in [index for index in new if self._admission.state(index) == "loading"]:
            self._indices.remove(index)
            self._admission.resize(self._indices, "loading")
            await self.workers.drop(index)
        await self._reserve(self.count)
        await self._remember()

    def _retire(self, index: int) -> None:
        async def when_idle() -> None:
            await self._admission.idle(index, math.inf)
            await self.workers.drop(index)
            del self._retiring[index]

        self._retiring[index] = asyncio.create_task(when_idle())

    async def _remember(self) -> None:
        drained = [place for place, index in enumerate(self._indices) if index in self._admission.drained]
        await asyncio.to_thread(desired_state.save, self._plan, desired_state.DesiredState(self.count, drained))

    def _ready(self, started: float) -> Ready:
        return Ready(time.monotonic() - started, self.count, sorted(self.workers.capabilities))

    # ---- drain and restart

    async def drain(self, request: protocol.DrainRequest) -> AsyncIterator[int]:
        """Send a worker, or all, no more requests; yield how many it is still working on.

        Raises:
            CommandError: there is no such worker.
        """
        chosen = self._chosen(request.worker)
        for index in chosen:
            self._admission.drain(index, self._drained_error())
        await self._remember()
        yield sum(self._admission.busy(index) for index in chosen)

    def _drained_error(self) -> errors.NotDeployed:
        alias = self._plan.spec.model
        return errors.NotDeployed(
            f"{alias} is drained: it takes no requests.", f"restart --model {alias} lets it work again."
        )

    async def restart(self, request: protocol.RestartRequest) -> AsyncIterator[Event]:
        """Let one worker after the other finish what it does and begin anew, which ends a drain.

        Leaving early leaves the workers as they are whose turn has not come; one that is loading goes on with that.

        Raises:
            CommandError: there is no such worker.
            EngineFailed: a worker could not load its model again.
        """
        for event in self._waiting():
            yield event
        async with self._turn():
            started = time.monotonic()
            chosen = self._chosen(request.worker)
            for index in chosen:
                async with aclosing(self._renewed(index, request.grace, first=index == chosen[0])) as events:  # type: ignore[type-var]  # a generator
                    async for event in events:
                        yield event
            yield self._ready(started)

    async def _renewed(self, index: int, grace: float, *, first: bool) -> AsyncIterator[Event]:
        before = self._admission.state(index)
        self._admission.health(index, "loading")
        waited = False
        try:
            if busy := self._admission.busy(index):
                yield Loading(f"waiting for {busy} request{'s'[: busy != 1]} in flight", index)
            if not await self._admission.idle(index, grace):
                self._admission.cut(index, self._cut_short(index, grace))
                await self._admission.idle(index, CUT_SECONDS)
            waited = True
        finally:
            if not waited and before:  # whoever wanted it has gone
                self._admission.health(index, "up" if before == "drained" else before)
        async with aclosing(events_of(lambda note: self.workers.renew(index, note, first=first))) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event
        self._admission.undrain(index)
        await self._remember()

    def _cut_short(self, index: int, grace: float) -> errors.WorkerLost:
        alias = self._plan.spec.model
        return errors.WorkerLost(
            f"{alias} worker {index} was restarted; this request had not finished within {grace:g} s.",
            "What had arrived is kept; send the prompt again. A longer --grace lets more requests finish.",
        )

    def _chosen(self, worker: int | None) -> list[int]:
        if worker is None:
            return list(self._indices)
        if worker not in self._indices:
            alias = self._plan.spec.model
            known = ", ".join(map(str, self._indices))
            if self._indices == list(range(self.count)):
                known = f"0 to {self.count - 1}"
            raise errors.CommandError(f"{alias} has no worker {worker}.", f"Its workers: {known}.")
        return [worker]


async def events_of(work: Callable[[Notify], Coroutine[Any, Any, None]]) -> AsyncIterator[Event]:
    """Yield what `work` notes while it runs; leaving early stops it."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.create_task(work(events.put_nowait))
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, errors.ByzerError):
            await task
