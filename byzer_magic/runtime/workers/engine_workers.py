"""The engine workers of one deployment: started concurrently, restarted when they die, removed one by one."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.log import get_logger, redact
from byzer_magic.plan import Plan
from byzer_magic.runtime.cluster import logs, placement
from byzer_magic.runtime.cluster.node import descendants
from byzer_magic.runtime.workers import pulse
from byzer_magic.runtime.workers.engine import Engine, EngineWorker
from byzer_magic.stat import ArmStat, KeyStat
from byzer_magic.types import Event, Item, Loading, Request

LOG_LINES = 200
"""Lines of its log that are kept of a load that failed."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""Exponential backoff between two attempts to restart a worker: the first and the longest pause."""
STALL_SECONDS = 1800.0
"""A load that reports no progress for this long, not even another number of megabytes, is aborted."""

Notify = Callable[[Event], None]
"""Receives the events of a load."""

log = get_logger("engine_workers")


def loads_at_once(gpus: float = 0) -> int:
    """Return how many workers may load their models concurrently: more would compete for disk and cores.

    Args:
        gpus: what each reserves; those that share a GPU measure what is free of it, so they load one by one.
    """
    return 1 if 0 < gpus < 1 else max(2, (os.cpu_count() or 1) // 4)


class EngineWorkers:
    """Engine workers, with the interface of `group.Workers`.

    Args:
        plan: the deployment.
        health: called with a worker's index and its new health.
    """

    keys: tuple[KeyStat, ...] = ()

    def __init__(self, plan: Plan, health: Callable[[int, str], None]) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self.arms: Sequence[ArmStat] = ()
        self._workers: dict[int, EngineWorker] = {}
        self._plan = plan
        self._health = health
        self._load_slots = asyncio.Semaphore(loads_at_once(plan.spec.gpus_per_worker))
        self._supervisors: dict[int, asyncio.Task[None]] = {}
        self._failed: list[logs.ProcessId] = []
        """Processes of workers that could not be started, for their logs."""
        self._closing = False

    async def add(self, indices: Iterable[int], notify: Notify) -> None:
        """Start workers and load the model in each; a worker is `up` as soon as it is ready.

        Raises:
            EngineFailed: one of them could not load it; `details["log"]` has the last lines of the log.
            NoRoom: no node has the resources for a worker.
        """
        spec = self._plan.spec
        added = [index for index in indices if index not in self._workers]
        for index in added if spec.gpus_per_worker > 1 else ():  # what a pool that was killed had reserved for it
            await asyncio.to_thread(placement.release_worker, self._plan, index)
        places = await asyncio.to_thread(placement.nodes_for, spec, len(added), self._taken()) if added else []
        for index, node in zip(added, places, strict=True):
            options = await self._options(index, node)
            actor = ray.remote(Engine).options(**options).remote(self._plan, index)
            self._workers[index] = EngineWorker(_("{alias} worker {index}", alias=spec.model, index=index), actor)
        loading = [asyncio.create_task(self._load(index, notify)) for index in added]
        try:
            await asyncio.gather(*loading)
        except errors.ByzerError as err:
            if not self._closing:
                self._failed = [process for index in added for process in self._workers[index].processes]
                err.details["log"] = await self.log(LOG_LINES)
            raise
        finally:
            for task in loading:
                task.cancel()

    async def restart(self, index: int, notify: Notify, *, first: bool) -> None:
        """Restart a worker's process; that continues when the caller is cancelled.

        Args:
            index: the worker.
            notify: receives the events.
            first: not used here; see `ApiWorkers.restart`.

        Raises:
            EngineFailed: it could not load the model again; further attempts follow until one succeeds.
        """
        if task := self._supervisors.pop(index, None):
            task.cancel()
        self._health(index, "loading")
        restarting = asyncio.create_task(self._restart(index, self._workers[index], notify))
        restarting.add_done_callback(lambda done: done.cancelled() or done.exception())  # marks it as retrieved
        self._supervisors[index] = restarting
        await asyncio.shield(restarting)

    async def _restart(self, index: int, worker: EngineWorker, notify: Notify) -> None:
        try:
            await worker.restart()
            await self._load(index, notify)
        except errors.ByzerError:
            self._start_supervisor(index, worker, lost=True)
            raise

    async def remove(self, index: int) -> None:
        """Remove a worker: kill its process and free its resources."""
        if task := self._supervisors.pop(index, None):
            task.cancel()
        if worker := self._workers.pop(index, None):
            await worker.close()
            await asyncio.to_thread(placement.release_worker, self._plan, index)

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield the items of a worker's response."""
        return self._workers[index].ask(capability, request)

    def _taken(self) -> Counter[str]:
        """Return how many workers each node has, by its id."""
        return Counter(worker.processes[-1].node for worker in self._workers.values() if worker.processes)

    async def _options(self, index: int, node: str) -> dict[str, Any]:
        """Return the options of a worker's actor; several GPUs of one worker are reserved together, on one node.

        Args:
            index: the worker.
            node: the id of the node to prefer, so that the worker moves when that is lost; empty for any.
        """
        spec = self._plan.spec
        options: dict[str, Any] = {
            "num_cpus": spec.cpus_per_worker, "num_gpus": spec.gpus_per_worker,
            "max_restarts": -1, "max_task_retries": 0,
        }  # fmt: skip
        if spec.gpus_per_worker > 1:
            return options | {"scheduling_strategy": await placement.reserve_on_one_node(self._plan, index, node)}
        if node:
            return options | {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}
        return options

    async def _load(self, index: int, notify: Notify) -> None:
        worker = self._workers[index]
        if self._load_slots.locked():
            notify(Loading(_("waiting for other workers to load"), index))
        async with self._load_slots:
            try:
                async for event in with_stall_timeout(worker.load(), STALL_SECONDS):
                    if isinstance(event, Loading):
                        notify(Loading(event.stage, index, event.fraction, event.detail))
                    else:
                        self.capabilities = frozenset(map(Capability, event.capabilities))
            except errors.WorkerLost as err:
                if self._closing:
                    raise errors.NotDeployed(
                        _("{alias} was undeployed while it was loading.", alias=self._plan.spec.model)
                    ) from err
                raise self._died(index, worker) from err
        self._health(index, "up")
        self._start_supervisor(index, worker)

    def _died(self, index: int, worker: EngineWorker) -> errors.EngineFailed:
        alias = self._plan.spec.model
        died = _("{alias} worker {index} died while it was loading the model.", alias=alias, index=index)
        why = _("Ray reports: {error}", error=worker.ray_error) if worker.ray_error else ""
        hint = _("The usual cause is too little memory: %byzer doctor shows what is free and what is needed.")
        return errors.EngineFailed(join(died, why), hint)

    def _start_supervisor(self, index: int, worker: EngineWorker, *, lost: bool = False) -> None:
        self._supervisors[index] = asyncio.create_task(self._supervise(index, worker, lost=lost))

    async def _supervise(self, index: int, worker: EngineWorker, *, lost: bool) -> None:
        """Whenever the engine's process dies or hangs, take the worker out of rotation until it is restarted."""
        while not self._closing:
            health = "down" if lost else await self._ended(index, worker)
            lost = False
            self._health(index, health)
            log.warning("worker %s died; Ray restarts it", index)
            if await self._reload(index, worker):
                self._health(index, "up")

    async def _ended(self, index: int, worker: EngineWorker) -> str:
        """Wait until a worker's process has died, or hangs and was killed; return its health."""
        spec = self._plan.spec
        name = _("{alias} worker {index}", alias=spec.model, index=index)
        lost = asyncio.create_task(worker.lost())
        hung = asyncio.create_task(pulse.hung(worker, pulse.Pulse(name, spec.silence), on_gpu=spec.gpus_per_worker > 0))
        try:
            await asyncio.wait([lost, hung], return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                return "down"
            self._health(index, "hung")
            log.error("%s", hung.result().message)
            await worker.eject(hung.result())
            return "hung"
        finally:
            lost.cancel()
            hung.cancel()

    async def _reload(self, index: int, worker: EngineWorker) -> bool:
        pause = FIRST_PAUSE_SECONDS
        while not self._closing:
            try:
                async with self._load_slots:
                    async for _event in with_stall_timeout(worker.load(), STALL_SECONDS):
                        pass
            except Exception:  # no other code restarts the worker, so every error leads to another attempt
                log.exception("worker %s could not be restarted; the next attempt is in %.0f s", index, pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return True
        return False

    @property
    def pids(self) -> dict[int, int]:
        """Return the ids of the workers' processes, by index."""
        return {index: worker.pid for index, worker in self._workers.items() if worker.pid}

    @property
    def nodes(self) -> dict[int, str]:
        """Return the addresses of the nodes that the workers run on, by index."""
        return {index: worker.host for index, worker in self._workers.items() if worker.host}

    def all_pids(self) -> list[int]:
        """Return the ids of the workers' processes on this node, and of those that they have started."""
        processes = [worker.processes[-1] for worker in self._workers.values() if worker.processes]
        return [pid for process in processes if process.node == logs.here() for pid in descendants(process.pid)]

    async def log(self, lines: int) -> list[str]:
        """Return the last lines of each worker's log, without secrets; workers that failed come first."""
        processes = [*self._failed, *(process for worker in self._workers.values() for process in worker.processes)]
        return [redact(line, self._plan.hidden) for line in await logs.tails(processes, lines)]

    async def close(self) -> None:
        """Remove all workers, including those that are still loading."""
        self._closing = True
        for index in list(self._workers):
            await self.remove(index)


async def with_stall_timeout(events: AsyncIterator[Any], seconds: float) -> AsyncGenerator[Any, None]:
    """Pass events on.

    Raises:
        EngineFailed: for `seconds` no event came that differs from the one before.
    """
    last = None
    try:
        async with asyncio.timeout(seconds) as stall, aclosing(events) as items:  # type: ignore[type-var]  # a generator
            async for event in items:
                if event != last:
                    stall.reschedule(asyncio.get_running_loop().time() + seconds)
                last = event
                yield event
    except TimeoutError as err:
        raise errors.EngineFailed(
            _("Loading made no progress for {minutes:.0f} minutes.", minutes=seconds / 60),
            _("See the engine's output."),
        ) from err
