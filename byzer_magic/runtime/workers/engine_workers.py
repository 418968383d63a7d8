"""The engine workers of one deployment: brought up side by side, brought back when they die, ended one by one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.log import get_logger, redact
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster import logs, placement
from byzer_magic.runtime.cluster.node import family
from byzer_magic.runtime.workers.engine import Engine, EngineWorker
from byzer_magic.types import Event, Item, Loading, Request

LOG_LINES = 200
"""How much of its log a failed load leaves behind."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Between two attempts to bring a worker back: the first and the longest pause, each twice the one before."""
STALL_SECONDS = 1800.0
"""A load that reports nothing new for so long, not even another number of megabytes, is given up."""

Notify = Callable[[Event], None]
"""Told of how a load goes."""

log = get_logger("engine_workers")


def loads_at_once() -> int:
    """Return how many workers may load their model side by side: more would only fight for disk and cores."""
    return max(2, (os.cpu_count() or 1) // 4)


class EngineWorkers:
    """Starts, watches and ends the workers; tells the pool by `health` (up, down)."""

    def __init__(self, plan: Plan, health: Callable[[int, str], None]) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self._workers: dict[int, EngineWorker] = {}
        self._plan = plan
        self._health = health
        self._turns = asyncio.Semaphore(loads_at_once())
        self._keeping: dict[int, asyncio.Task[None]] = {}
        self._failed: list[logs.ProcessId] = []
        """Processes of workers that were given up, for their logs."""
        self._closing = False

    async def add(self, indices: Iterable[int], note: Notify) -> None:
        """Load the model in new workers, each of which is `up` as soon as it is ready.

        Raises:
            EngineFailed: one of them could not; the log's last lines are in `details["log"]`.
            NoRoom: no node has room for a worker.
        """
        spec = self._plan.spec
        added = [index for index in indices if index not in self._workers]
        for index in added:
            options = await self._options(index)
            actor = ray.remote(Engine).options(**options).remote(self._plan, index)
            self._workers[index] = EngineWorker(f"{spec.model} worker {index}", actor)
        loading = [asyncio.create_task(self._bring_up(index, note)) for index in added]
        try:
            await asyncio.gather(*loading)
        except errors.ByzerError as err:
            if not self._closing:
                self._failed = [home for index in added for home in self._workers[index].processes]
                err.details["log"] = await self.log(LOG_LINES)
            raise
        finally:
            for task in loading:
                task.cancel()

    async def renew(self, index: int, note: Notify, *, first: bool) -> None:
        """Give a worker a new process; it gets one also when nobody waits for that any more.

        Raises:
            EngineFailed: it could not load the model again; it is tried until it works.
        """
        if task := self._keeping.pop(index, None):
            task.cancel()
        self._health(index, "loading")
        renewal = asyncio.create_task(self._renew(index, self._workers[index], note))
        renewal.add_done_callback(lambda done: done.cancelled() or done.exception())  # somebody has looked
        self._keeping[index] = renewal
        await asyncio.shield(renewal)

    async def _renew(self, index: int, worker: EngineWorker, note: Notify) -> None:
        try:
            await worker.renew()
            await self._bring_up(index, note)
        except errors.ByzerError:
            self._keep(index, worker, lost=True)
            raise

    async def drop(self, index: int) -> None:
        """End a worker."""
        if task := self._keeping.pop(index, None):
            task.cancel()
        if worker := self._workers.pop(index, None):
            await worker.close()
            await asyncio.to_thread(placement.give_back, self._plan, index)

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield a worker's answer."""
        return self._workers[index].ask(capability, request)

    async def _options(self, index: int) -> dict[str, Any]:
        """Return how Ray shall place a worker: several GPUs of one worker are reserved together, on one node."""
        spec = self._plan.spec
        options: dict[str, Any] = {
            "num_cpus": spec.cpus_per_worker, "num_gpus": spec.gpus_per_worker,
            "max_restarts": -1, "max_task_retries": 0,
        }  # fmt: skip
        if spec.gpus_per_worker <= 1:
            return options
        return options | {"scheduling_strategy": await placement.one_node(self._plan, index)}

    async def _bring_up(self, index: int, note: Notify) -> None:
        worker = self._workers[index]
        if self._turns.locked():
            note(Loading("waiting for its turn to load", index))
        async with self._turns:
            try:
                async for event in with_stall_timeout(worker.bring_up(), STALL_SECONDS):
                    if isinstance(event, Loading):
                        note(Loading(event.stage, index, event.fraction, event.detail))
                    else:
                        self.capabilities = frozenset(map(Capability, event.capabilities))
            except errors.WorkerLost as err:
                if self._closing:
                    raise errors.NotDeployed(f"{self._plan.spec.model} was undeployed while it loaded.") from err
                why = f" Ray says: {worker.ray_error}" if worker.ray_error else ""
                raise errors.EngineFailed(
                    f"{self._plan.spec.model} worker {index} died while it loaded the model.{why}",
                    "Mostly the system has run out of memory: %byzer doctor shows what is free and needed.",
                ) from err
        self._health(index, "up")
        self._keep(index, worker)

    def _keep(self, index: int, worker: EngineWorker, *, lost: bool = False) -> None:
        self._keeping[index] = asyncio.create_task(self._keep_up(index, worker, lost=lost))

    async def _keep_up(self, index: int, worker: EngineWorker, *, lost: bool) -> None:
        """Whenever the engine's process dies, take it out of rotation and bring it back."""
        while not self._closing:
            if not lost:
                await worker.lost()
            lost = False
            self._health(index, "down")
            log.warning("worker %s died; Ray restarts it", index)
            if await self._back(index, worker):
                self._health(index, "up")

    async def _back(self, index: int, worker: EngineWorker) -> bool:
        pause = FIRST_PAUSE_SECONDS
        while not self._closing:
            try:
                async with self._turns:
                    async for _ in with_stall_timeout(worker.bring_up(), STALL_SECONDS):
                        pass
            except Exception:  # whatever it is: nobody else brings the worker back
                log.exception("worker %s did not come back; the next attempt is in %.0f s", index, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return True
        return False

    @property
    def pids(self) -> dict[int, int]:
        """Return the workers' processes."""
        return {index: worker.pid for index, worker in self._workers.items() if worker.pid}

    def family(self) -> list[int]:
        """Return the processes of the workers on this node, and all that they have started."""
        processes = [worker.processes[-1] for worker in self._workers.values() if worker.processes]
        return [pid for home in processes if home.node == logs.here() for pid in family(home.pid)]

    async def log(self, lines: int) -> list[str]:
        """Return the last lines that each worker wrote, those that have died first, without secrets."""
        processes = [*self._failed, *(home for worker in self._workers.values() for home in worker.processes)]
        return [redact(line, self._plan.hidden) for line in await logs.tails(processes, lines)]

    async def close(self) -> None:
        """Kill every worker, also those that are still loading."""
        self._closing = True
        for index in list(self._workers):
            await self.drop(index)


async def with_stall_timeout(events: AsyncIterator[Any], seconds: float) -> AsyncGenerator[Any, None]:
    """Pass events on.

    Raises:
        EngineFailed: for so many seconds there was none that differs from the one before.
    """
    last = None
    try:
        async with asyncio.timeout(seconds) as patience, aclosing(events) as items:  # type: ignore[type-var]  # a generator
            async for event in items:
                if event != last:
                    patience.reschedule(asyncio.get_running_loop().time() + seconds)
                last = event
                yield event
    except TimeoutError as err:
        raise errors.EngineFailed(
            f"The load has made no progress for {seconds / 60:.0f} minutes.", "See what its engine wrote."
        ) from err
