"""Room for one model after the other: where something is short, deployments that nobody asks sleep for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

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


class Rooms:
    """Lets models be loaded one at a time, each when there is room for it.

    Args:
        stats: returns the counters of all deployments.
        specs: returns what is deployed, by alias; only engines with an idle time are put to sleep.
        sleep: puts a deployment to sleep, and says why.
        resources: returns the free CPUs and GPUs of the cluster; memory is not limited where it has several nodes.
        clock: returns seconds, of any origin.
    """

    def __init__(
        self,
        stats: Callable[[], Awaitable[list[ModelStat]]],
        specs: Callable[[], Mapping[str, DeploySpec]],
        sleep: Callable[[str, Text], Awaitable[Any]],
        resources: Callable[[], Amount],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stats = stats
        self._specs = specs
        self._sleep = sleep
        self._resources = resources
        self._clock = clock
        self._stays: dict[str, float] = {}
        """Until when models stay that were loaded."""
        self._turn = asyncio.Lock()

    async def enter(self, alias: str, spec: DeploySpec) -> AsyncGenerator[Loading | bool, None]:
        """Yield what a deployment waits for, then True: it may load its model until the iterator is closed.

        Where there cannot be enough room, it may load, too: what is then missing is what its error says.
        """
        if not any(other.idle for name, other in self._specs().items() if name != alias):
            yield True  # nobody could sleep for it
            await asyncio.Event().wait()
        if self._turn.locked():
            yield Loading(_("waiting for another model to load"))
        async with self._turn:
            needed = await asyncio.to_thread(room.amount, spec)
            while short := await self._short(needed):
                awake = await self._awake(alias)
                chosen = room.to_sleep(short, awake)
                if chosen is None:
                    break
                for other in chosen:
                    log.info("%s sleeps to make room for %s", other, alias)
                    with suppress(errors.ByzerError):
                        await self._sleep(other, _("made room for {alias}", alias=alias))
                if chosen:
                    await self._freed(needed)
                else:
                    names = sorted(one.alias for one in awake if one.takes.shares_with(short))
                    yield Loading(_("waiting for resources used by {aliases}", aliases=listed(names)))
                    await asyncio.sleep(LOOK_SECONDS)
            started = self._clock()
            try:
                yield True
                await asyncio.Event().wait()  # until the caller has loaded its model, and closes this
            finally:
                now = self._clock()
                self._stays[alias] = now + max(room.AWAKE_SECONDS, now - started)

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
        loaded = [stat.model for stat in await self._stats() if not stat.is_asleep]
        found = [name for name in loaded if name in specs and specs[name].model_path]
        return {name: await asyncio.to_thread(room.amount, specs[name]) for name in found}

    async def _awake(self, alias: str) -> list[Awake]:
        takes = await self._takes()
        specs, now = self._specs(), self._clock()
        return [
            Awake(
                alias=stat.model,
                takes=takes[stat.model],
                unused=min((worker.idle_seconds for worker in stat.workers), default=0.0),
                stays=self._stays.get(stat.model, now) - now,
                busy=bool(stat.busy or stat.queued),
            )
            for stat in await self._stats()
            if stat.model in takes and stat.model != alias and specs[stat.model].idle
        ]
