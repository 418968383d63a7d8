"""Changes of a running deployment: scale, drain and restart its workers."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from byzer_magic.errors import NoRoom
from byzer_magic.i18n import lazy_gettext as _, lazy_ngettext
from byzer_magic.plan import Plan
from byzer_magic.routing.outages import UP
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import desired_state, placement
from byzer_magic.runtime.transport import messages
from byzer_magic.runtime.workers import reasons
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.events import events_of
from byzer_magic.runtime.workers.group import WorkerGroup, Workers
from byzer_magic.types import Event, Loading, Ready

CANCEL_SECONDS = 5.0
"""How long cancelled requests may take to free their slots."""
FINISH_SECONDS = 1.0
"""How often it is looked for workers that have come up while all are to finish their requests."""


class Lifecycle:
    """Applies changes to the workers, one after the other.

    Args:
        plan: the deployment.
        admission: its admission control.
        workers: its workers.
        created: the plan with whose resources Ray has created the pool's actor, where that is another one.
    """

    def __init__(self, plan: Plan, admission: Admission, workers: Workers, created: Plan | None = None) -> None:
        self.group = WorkerGroup(workers)
        self._plan = plan
        self._created = created or plan
        self._admission = admission
        self._indices = list(range(plan.spec.num_workers))
        """The workers that the deployment is to have."""
        self._reserved: list[dict[str, float]] = []
        """What is reserved beyond the resources of the pool's actor: the needs of a worker each, by resource."""
        self.waking: Callable[[Notify], Coroutine[Any, Any, None]] = self.wake
        """How a command wakes the workers; a sleeper makes room for them first."""
        self._changing = asyncio.Lock()
        self._retiring: dict[int, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """Return the number of workers that the deployment is to have."""
        return len(self._indices)

    async def open(self, notify: Notify) -> None:
        """Start the workers in their desired state: as deployed, or as last changed when Ray has restarted the pool.

        Raises:
            EngineFailed: a model could not be loaded.
            ByzerError: a backend could not be opened, or the cluster lacks the resources.
        """
        async with self._changing:
            wanted: desired_state.DesiredState = await asyncio.to_thread(desired_state.load, self._plan)
            await self._reserve(wanted.workers)
            self._indices = list(range(wanted.workers))
            asleep = self._plan.starts_asleep
            self._admission.resize(self._indices, "asleep" if asleep else "loading")
            for index in self._indices if asleep else ():  # those with which the table began
                self._admission.health(index, "asleep")
            for index in wanted.drained:
                self._admission.drain(index, reasons.drained(self._plan.spec.model))
            if not asleep:
                await self.group.current.add(self._indices, notify)

    # ---- another plan

    async def renew(
        self, plan: Plan, workers: Workers, prove: Callable[[list[int]], Awaitable[None]], adopt: Callable[[], None],
        notify: Notify,
    ) -> None:  # fmt: skip
        """Replace all workers by those of another plan, once all of these are up; the old ones finish their requests.

        Args:
            plan: the other plan, of the same alias.
            workers: its workers, none of which has been added; their health counts once `adopt` was called.
            prove: checks them, by their indices, once they are up.
            adopt: called when they take over.
            notify: receives the events.

        Raises:
            ByzerError: they do not come up; nothing has changed.
        """
        async with self._turn():
            old = self._indices
            new = self._unused(self._count_of(plan))
            await self._check_room(len(new), plan)
            try:
                extra = self._extra(plan, len(new))
                if placement.exceeds(extra, self._reserved):  # what the old ones hold, they still need
                    await self._reserve_extra(plan, extra)
                await workers.add(new, notify)
                await prove(new)
            except BaseException:  # a cancelled update, too
                await asyncio.shield(asyncio.create_task(self._undo(workers)))
                raise
            self.group.take_over(workers, old)
            self._plan, self._indices = plan, new
            self._admission.use(plan)
            self._admission.resize(new, "loading", plan.spec.worker_concurrency)
            adopt()
            for index in old:
                self._retire(index)
            await asyncio.shield(asyncio.create_task(self._keep(plan)))

    def _count_of(self, plan: Plan) -> int:
        """Return the number of workers for another plan: those there are, where it scales and does not say it anew."""
        limits, number = plan.spec.scaling, plan.spec.num_workers
        return limits.within(self.count) if limits.auto and number == self._plan.spec.num_workers else number

    async def _undo(self, workers: Workers) -> None:
        await workers.close()
        await self._free_extra()

    async def _keep(self, plan: Plan) -> None:
        await self._free_extra()
        await self._save()
        await asyncio.to_thread(desired_state.keep_plan, plan)

    # ---- sleep

    @property
    def is_asleep(self) -> bool:
        """Return whether no worker has a model loaded, so that a request has to wake them first."""
        return bool(self._indices) and all(self._admission.state(index) == "asleep" for index in self._indices)

    @property
    def is_changing(self) -> bool:
        """Return whether a change is in progress."""
        return self._changing.locked()

    async def sleep(self, *, finish: bool = False) -> bool:
        """Unload the model of all workers and free their resources; return whether that was done.

        Args:
            finish: let requests that run finish first, while those in the queue wait for the next load; without it,
                nothing happens while there are any.

        Raises:
            NotDeployed: the model could not be loaded, or is being undeployed.
        """
        async with self._turn():
            if self.is_asleep or (not finish and (self._admission.running or self._admission.queued)):
                return False
            await self._finish()
            for index in self._indices:  # at once: a request that comes while they end is queued, and wakes them
                self._admission.health(index, "asleep")
            for index in self._indices:
                await self.group.remove(index)
            if (limits := self._plan.spec.scaling).auto and self.count > limits.base:
                self._indices = self._indices[: limits.base]  # so many are enough for the first request
                self._admission.resize(self._indices, "asleep")
            await self._save()
            return True

    async def _finish(self) -> None:
        """Dispatch no more requests until those that run have ended."""
        held: set[int] = set()
        try:
            while (busy := [index for index in self._indices if self._admission.busy(index)]) or self._retiring:
                up = [index for index in self._indices if self._admission.state(index) in UP]
                for index in up:  # also one that has come up meanwhile
                    self._admission.health(index, "drained")
                held.update(up)
                if busy:
                    await self._admission.idle(busy[0], FINISH_SECONDS)
                else:
                    await asyncio.wait(list(self._retiring.values()), timeout=FINISH_SECONDS)
        except BaseException:  # cancelled
            for index in held:
                if self._admission.state(index) == "drained":
                    self._admission.health(index, "up")
            raise

    async def wake(self, notify: Notify) -> None:
        """Load the model again in all workers; queued requests go on as soon as the first of them is up.

        Raises:
            NotDeployed: the deployment is being undeployed.
            EngineFailed: a model could not be loaded; all workers are asleep again.
            NoRoom: the cluster lacks the resources; so are they.
        """
        async with self._turn():
            if not self.is_asleep:
                return
            for index in self._indices:
                self._admission.health(index, "loading")
            try:
                await self._check_room(self.count)
                await self.group.current.add(self._indices, notify)
            except BaseException:  # whatever ends it, cancelling included
                for index in self._indices:
                    self._admission.health(index, "asleep")
                    await self.group.remove(index)
                raise
            await self._save()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other change is in progress.

        Raises:
            NotDeployed: the model could not be loaded, or is being undeployed.
        """
        async with self._changing:
            if why := self._admission.broken:
                raise why
            yield

    def _waiting(self) -> list[Event]:
        return [Loading(_("waiting for another change to finish"))] if self._changing.locked() else []

    # ---- scale

    async def scale(self, request: messages.ScaleRequest) -> AsyncIterator[Event]:
        """Change the number of workers while requests continue. Closing the iterator keeps new workers that are up.

        Raises:
            NoRoom: the cluster lacks the resources for more workers.
            EngineFailed: a new worker could not load the model; those that could are kept.
        """
        for event in self._waiting():
            yield event
        async with self._turn():
            started = time.monotonic()
            stay, go = self._indices[: request.workers], self._indices[request.workers :]
            new = self._unused(request.workers - len(stay))
            if self.is_asleep:
                self._indices = sorted([*stay, *new])
                self._admission.resize(self._indices, "asleep")
                await self._save()
                yield self._ready(started)
                return
            await self._reserve_or_check(request.workers)
            self._indices = sorted([*stay, *new])
            self._admission.resize(self._indices, "loading")
            for index in go:
                self._retire(index)
            try:
                if new:
                    async with aclosing(events_of(lambda notify: self.group.current.add(new, notify))) as events:  # type: ignore[type-var]  # a generator
                        async for event in events:
                            yield event
            finally:
                await asyncio.shield(self._settle(new))
            yield self._ready(started)

    def _unused(self, count: int) -> list[int]:
        """Return indices for new workers; workers that are finishing their last requests still use theirs."""
        used = {*self._indices, *self._retiring}
        return list(itertools.islice((index for index in itertools.count() if index not in used), max(0, count)))

    async def _reserve_or_check(self, count: int) -> None:
        """Reserve the resources of `count` workers; for engines only check, since Ray reserves those of their actors.

        Raises:
            NoRoom: the cluster lacks them.
        """
        await self._reserve(count)
        await self._check_room(count - self.count)

    async def _check_room(self, more: int, plan: Plan | None = None) -> None:
        spec = (plan or self._plan).spec
        if (plan or self._plan).backend.info.local and more > 0:
            needed = (more * spec.cpus_per_worker, more * spec.gpus_per_worker)
            await asyncio.to_thread(placement.check_resources, placement.more_workers(spec.model, more), *needed)
            await asyncio.to_thread(placement.nodes_for, spec, more)

    async def _reserve(self, count: int) -> None:
        """Reserve the resources of API workers beyond those with which the pool's actor was created."""
        await self._reserve_extra(self._plan, self._extra(self._plan, count))

    def _extra(self, plan: Plan, count: int) -> list[dict[str, float]]:
        if plan.backend.info.local:
            return []
        created = None if self._created.backend.info.local else self._created.spec
        return placement.extra_needs(plan.spec, count, created)

    async def _reserve_extra(self, plan: Plan, extra: list[dict[str, float]]) -> None:
        if extra != self._reserved:
            await placement.reserve_extra(plan, extra, self._reserved)
            self._reserved = extra

    async def _free_extra(self) -> None:
        """Reserve no more than the workers there are need; where Ray cannot place that anew, all of it stays."""
        with suppress(NoRoom):
            await self._reserve(self.count)

    async def _settle(self, new: list[int]) -> None:
        """Keep the new workers that are up, and remove those that are not."""
        for index in [index for index in new if self._admission.state(index) == "loading"]:
            self._indices.remove(index)
            self._admission.resize(self._indices, "loading")
            await self.group.remove(index)
        await self._reserve(self.count)
        await self._save()

    def _retire(self, index: int) -> None:
        async def when_idle() -> None:
            await self._admission.idle(index, math.inf)
            await self.group.remove(index)
            del self._retiring[index]

        self._retiring[index] = asyncio.create_task(when_idle())

    async def _save(self) -> None:
        drained = [place for place, index in enumerate(self._indices) if index in self._admission.drained]
        can = sorted(self.group.current.capabilities or self._plan.capabilities) if self.is_asleep else []
        await asyncio.to_thread(desired_state.save, self._plan, desired_state.DesiredState(self.count, drained, can))

    def _ready(self, started: float) -> Ready:
        return Ready(time.monotonic() - started, self.count, sorted(self.group.current.capabilities))

    # ---- drain and restart

    async def drain(self, request: messages.DrainRequest) -> AsyncIterator[int]:
        """Dispatch no more requests to one worker or all; yield the number of requests in flight there.

        Raises:
            CommandError: the deployment has no such worker.
        """
        chosen = self._chosen(request.worker)
        for index in chosen:
            self._admission.drain(index, reasons.drained(self._plan.spec.model))
        await self._save()
        yield sum(self._admission.busy(index) for index in chosen)

    async def restart(self, request: messages.RestartRequest) -> AsyncIterator[Event]:
        """Restart one worker after the other, each when its requests have finished; this also ends a drain.

        Closing the iterator leaves the remaining workers as they are; one that is loading continues.

        Raises:
            CommandError: the deployment has no such worker.
            EngineFailed: a worker could not load its model again.
        """
        for event in self._waiting():
            yield event
        if self.is_asleep:
            async with aclosing(events_of(self.waking)) as events:  # type: ignore[type-var]  # a generator
                async for event in events:
                    yield event
            yield self._ready(time.monotonic())
            return
        async with self._turn():
            started = time.monotonic()
            chosen = self._chosen(request.worker)
            for index in chosen:
                async with aclosing(self._restarted(index, request.grace, first=index == chosen[0])) as events:  # type: ignore[type-var]  # a generator
                    async for event in events:
                        yield event
            yield self._ready(started)

    async def _restarted(self, index: int, grace: float, *, first: bool) -> AsyncIterator[Event]:
        before = self._admission.state(index)
        self._admission.health(index, "loading")
        waited = False
        try:
            if busy := self._admission.busy(index):
                yield Loading(
                    lazy_ngettext(
                        "waiting for {count} request in flight", "waiting for {count} requests in flight", count=busy
                    ),
                    index,
                )
            if not await self._admission.idle(index, grace):
                self._admission.cancel(index, reasons.restarted(self._plan.spec.model, index, grace))
                await self._admission.idle(index, CANCEL_SECONDS)
            waited = True
        finally:
            if not waited and before:  # the client has cancelled the restart
                self._admission.health(index, "up" if before == "drained" else before)
        async with aclosing(events_of(lambda notify: self.group.current.restart(index, notify, first=first))) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event
        self._admission.undrain(index)
        await self._save()

    def _chosen(self, worker: int | None) -> list[int]:
        if worker is None:
            return list(self._indices)
        if worker not in self._indices:
            raise reasons.no_such_worker(self._plan.spec.model, worker, self._indices)
        return [worker]
