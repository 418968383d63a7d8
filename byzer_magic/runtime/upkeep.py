"""Changing a deployment that runs: more workers or fewer, workers that rest, workers that begin anew."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.runtime import remembered, reserve, wire
from byzer_magic.runtime.crew import Note
from byzer_magic.runtime.gate import Gate
from byzer_magic.runtime.plan import Plan
from byzer_magic.types import Event, Item, Loading, Ready, Request


class Staff(Protocol):
    """The workers of a deployment, whatever they are: `Crew` or `Slots`."""

    abilities: frozenset[Capability]

    @property
    def pids(self) -> dict[int, int]:
        """Return the processes of those that have one."""
        ...

    async def add(self, indices: range, note: Note) -> None:
        """Bring up more workers."""

    async def renew(self, index: int, note: Note) -> None:
        """Let a worker begin anew."""

    async def drop(self, index: int) -> None:
        """End a worker."""

    async def close(self) -> None:
        """End all workers, also those that are still loading."""

    def ask(self, index: int, ability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield a worker's answer."""
        ...

    def family(self) -> list[int]:
        """Return the processes on this node that end with the workers."""
        ...

    def log(self, lines: int) -> list[str]:
        """Return the last lines that they wrote."""
        ...


class Upkeep:
    """Does one change after the other."""

    def __init__(self, plan: Plan, gate: Gate, staff: Staff) -> None:
        self.staff = staff
        self._plan = plan
        self._gate = gate
        self._count = plan.spec.num_workers
        self._one = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """Return how many workers the deployment shall have."""
        return self._count

    async def recall(self) -> None:
        """Take up what was wanted before the pool's process was restarted."""
        wanted: int | None = await asyncio.to_thread(remembered.workers, self._plan)
        self._count = wanted or self._count
        await self._reserve(self._count)

    async def _reserve(self, count: int) -> None:
        """See to it that Ray counts a pool's own workers; engines have actors, which it counts itself."""
        if not self._plan.backend.info.local:
            await reserve.for_more(self._plan, count - self._plan.spec.num_workers)

    async def scale(self, request: wire.ScaleRequest) -> AsyncIterator[Event]:
        """Have another number of workers; requests go on meanwhile. Leaving early keeps those that are up.

        Raises:
            NoRoom: there is too little for more workers.
            EngineFailed: a new worker could not load the model; those that could stay.
        """
        async with self._one:
            started = time.monotonic()
            before = self._count
            await self._reserve(request.workers)
            self._gate.resize(request.workers, "loading")
            self._count = request.workers
            try:
                if request.workers > before:
                    new = range(before, request.workers)
                    async for event in noted(lambda note: self.staff.add(new, note)):
                        yield event
                for index in range(request.workers, before):
                    self._retire(index)
            finally:
                await asyncio.shield(self._settle(min(before, request.workers)))
            yield Ready(time.monotonic() - started, self._count, sorted(self.staff.abilities))

    async def _settle(self, sure: int) -> None:
        """Keep the new workers that have come up, without gaps, and let the others go."""
        states = {worker.index: worker.health for worker in self._gate.snapshot({})}
        count = sure
        while count < self._count and states.get(count) in ("up", "drained"):
            count += 1
        for index in range(count, self._count):
            await self.staff.drop(index)
        if count != self._count:
            self._count = count
            self._gate.resize(count, "loading")
            await self._reserve(count)
        await asyncio.to_thread(remembered.remember, self._plan, count)

    def _retire(self, index: int) -> None:
        async def when_idle() -> None:
            await self._gate.idle(index, math.inf)
            if index >= self._count:  # it may be wanted again by now
                await self.staff.drop(index)

        task = asyncio.create_task(when_idle())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def drain(self, worker: int | None) -> int:
        """Send a worker, or all, no more requests; return how many it is still working on.

        Raises:
            CommandError: there is no such worker.
        """
        alias = self._plan.spec.model
        rests = errors.NotDeployed(
            f"{alias} is drained: it takes no requests.", f"restart --model {alias} lets it work again."
        )
        chosen = self._chosen(worker)
        for index in chosen:
            self._gate.drain(index, rests)
        return sum(self._gate.busy(index) for index in chosen)

    async def restart(self, request: wire.RestartRequest) -> AsyncIterator[Event]:
        """Let one worker after the other finish what it does and begin anew.

        Raises:
            CommandError: there is no such worker.
            EngineFailed: a worker could not load its model again.
        """
        async with self._one:
            started = time.monotonic()
            for index in self._chosen(request.worker):
                self._gate.undrain(index)
                self._gate.health(index, "loading")
                if busy := self._gate.busy(index):
                    yield Loading(f"waiting for {busy} request{'s'[: busy != 1]} in flight", index)
                await self._gate.idle(index, request.grace)
                async for event in noted(lambda note, index=index: self.staff.renew(index, note)):  # type: ignore[misc]
                    yield event
            yield Ready(time.monotonic() - started, self._count, sorted(self.staff.abilities))

    def _chosen(self, worker: int | None) -> list[int]:
        if worker is None:
            return list(range(self._count))
        if worker >= self._count:
            alias = self._plan.spec.model
            raise errors.CommandError(f"{alias} has no worker {worker}.", f"Its workers are 0 to {self._count - 1}.")
        return [worker]


async def noted(work: Callable[[Note], Coroutine[Any, Any, None]]) -> AsyncIterator[Event]:
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
