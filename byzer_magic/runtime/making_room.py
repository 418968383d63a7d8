"""Room for one model after the other: where something is short, deployments that nobody asks sleep for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol

from byzer_magic import errors
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.log import get_logger
from byzer_magic.runtime import room
from byzer_magic.runtime.room import Amount, Awake
from byzer_magic.stat import ModelStat
from byzer_magic.types import Loading

LOOK_SECONDS = 0.5
"""How often it is looked whether there is room now."""
FREED_SECONDS = 3.0
"""How long the resources of a deployment that has fallen asleep may take to become free."""

log = get_logger("room")


class Sleep(Protocol):
    """Puts a deployment to sleep."""

    async def __call__(self, alias: str, why: Text, *, finish: bool) -> Any:
        """Say why; with `finish`, requests that run end first."""


class Rooms:
    """Lets models be loaded one at a time, each when there is room for it.

    Args:
        stats: returns the counters of all deployments.
        specs: returns what is deployed, by alias; only engines that may sleep, or have spare workers, make room.
        sleep: puts a deployment to sleep, and says why; with `finish` also one that has requests.
        shrink: reduces a deployment to a number of workers, and says why.
        resources: returns the free CPUs and GPUs of the cluster; memory is not limited where it has several nodes.
        clock: returns seconds, of any origin.
    """

    def __init__(
        self,
        stats: Callable[[], Awaitable[list[ModelStat]]],
        specs: Callable[[], Mapping[str, DeploySpec]],
        sleep: Sleep,
        shrink: Callable[[str, int, Text], Awaitable[Any]],
        resources: Callable[[], Amount],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stats = stats
        self._specs = specs
        self._sleep = sleep
        self._shrink = shrink
        self._resources = resources
        self._clock = clock
        self._loads: dict[str, tuple[float, float]] = {}
        """When models were loaded, and the seconds that it took."""
        self._turn = asyncio.Lock()

    async def enter(self, alias: str, spec: DeploySpec, *, waits: bool = True) -> AsyncGenerator[Loading | bool, None]:
        """Yield what a deployment waits for, then True: it may load its model until the iterator is closed.

        Where there cannot be enough room, it may load, too: what is then missing is what its error says.

        Args:
            alias: the deployment.
            spec: with the number of workers that are to load the model.
            waits: until those that are in use make room; for workers that are not needed by all means, it does not.

        Raises:
            NoRoom: it would have to wait, and does not.
        """
        if waits and not any(_gives(other) for name, other in self._specs().items() if name != alias):
            yield True  # nobody could make room for it
            await asyncio.Event().wait()
        if self._turn.locked():
            yield Loading(_("waiting for another model to load"))
        async with self._turn:
            needed = await asyncio.to_thread(room.amount, spec)
            giving: set[str] = set()
            while short := await self._short(needed):
                awake = await self._awake(alias, giving)
                steps = room.steps(short, awake, waits=waits)
                if steps is None and waits:
                    break
                if steps is None or not (steps.sleep or steps.shrink or waits):
                    raise _no_room(awake, short)
                if steps.shrink or any(one.busy for one in awake if one.alias in steps.sleep):
                    yield Loading(_waiting_for([*steps.sleep, *steps.shrink]))
                giving.update(steps.shrink)
                await self._make(steps, awake, alias)
                if steps.sleep or steps.shrink:
                    await self._freed(needed)
                else:
                    yield Loading(_waiting_for(_users(awake, short)))
                    await asyncio.sleep(LOOK_SECONDS)
            started = self._clock()
            try:
                yield True
                await asyncio.Event().wait()  # until the caller has loaded its model, and closes this
            finally:
                now = self._clock()
                self._loads[alias] = (now, now - started)

    async def _make(self, steps: room.Steps, awake: list[Awake], alias: str) -> None:
        why = _("made room for {alias}", alias=alias)
        busy = {one.alias for one in awake if one.busy}
        for other in steps.sleep:
            log.info("%s sleeps to make room for %s", other, alias)
            with suppress(errors.ByzerError):
                await self._sleep(other, why, finish=other in busy)
        for other in steps.shrink:
            log.info("%s gives up workers to make room for %s", other, alias)
            with suppress(errors.ByzerError):
                await self._shrink(other, self._specs()[other].scaling.base, why)

    async def _freed(self, needed: Amount) -> None:
        deadline = self._clock() + FREED_SECONDS
        while await self._short(needed) and self._clock() < deadline:  # noqa: ASYNC110 - Ray signals nothing
            await asyncio.sleep(LOOK_SECONDS / 5)

    async def _short(self, needed: Amount) -> Amount:
        free = await asyncio.to_thread(self._resources)
        if needed.memory and free.memory:
            awake = await self._takes()
            memory = await asyncio.to_thread(room.free_memory, awake.values())
            free = Amount(cpus=free.cpus, gpus=free.gpus, memory=memory)
        return needed.minus(free)

    async def _takes(self) -> dict[str, Amount]:
        """Return what the engines take that have their model loaded."""
        specs = self._specs()
        loaded = {stat.model: len(stat.workers) for stat in await self._stats() if not stat.is_asleep}
        found = {name: count for name, count in loaded.items() if name in specs and specs[name].model_path}
        return {name: await _amount(specs[name], count) for name, count in found.items()}

    async def _awake(self, alias: str, giving: Collection[str]) -> list[Awake]:
        """Return who may make room for a deployment; those in `giving` have been told to give up workers."""
        takes = await self._takes()
        specs, now = self._specs(), self._clock()
        found = []
        for stat in await self._stats():
            if stat.model not in takes or stat.model == alias or not _gives(specs[stat.model]):
                continue
            scaling = specs[stat.model].scaling
            beyond = max(0, len(stat.workers) - scaling.base) if scaling.auto else 0
            spare = await _amount(specs[stat.model], beyond)
            gives = stat.model in giving
            loaded, took = self._loads.get(stat.model, (-math.inf, 0.0))
            found.append(
                Awake(
                    alias=stat.model,
                    takes=takes[stat.model] if scaling.sleeps_after else room.NOTHING,
                    spare=room.NOTHING if gives else spare,
                    leaving=spare if gives else room.NOTHING,
                    unused=min((worker.idle_seconds for worker in stat.workers), default=0.0),
                    loaded=now - loaded,
                    took=took,
                    busy=bool(stat.busy or stat.queued),
                )
            )
        return found


def _waiting_for(aliases: list[str]) -> Text:
    return _("waiting for resources used by {aliases}", aliases=listed(aliases))


def _users(awake: list[Awake], short: Amount) -> list[str]:
    """Return who has what is short."""
    return sorted(one.alias for one in awake if (one.takes or one.spare).shares_with(short))


def _no_room(awake: list[Awake], short: Amount) -> errors.NoRoom:
    """Return the error for one more worker."""
    if users := _users(awake, short):
        return errors.NoRoom(_("There is no room for another worker beside {aliases}.", aliases=listed(users)))
    return errors.NoRoom(_("There is no room for another worker."))


def _gives(spec: DeploySpec) -> bool:
    """Return whether a deployment may make room for others: whether it may sleep, or may have spare workers."""
    return bool(spec.model_path) and bool(spec.scaling.sleeps_after or spec.scaling.auto)


async def _amount(spec: DeploySpec, workers: int) -> Amount:
    return await asyncio.to_thread(room.amount, replace(spec, num_workers=workers)) if workers else room.NOTHING
