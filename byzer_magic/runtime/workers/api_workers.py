"""The workers of an API deployment: slots in the pool's process that share one backend, or one for each key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from byzer_magic.backends.base import Backend
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import MAX_QUEUED
from byzer_magic.plan import Plan
from byzer_magic.runtime.garbage import tune_collector
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.keyed import Keyed, open_each
from byzer_magic.stat import ArmStat, KeyStat
from byzer_magic.types import Item, Loading, Request


class ApiWorkers:
    """API workers, with the interface of `group.Workers`.

    Args:
        plan: the deployment.
        health: called with a worker's index and its new health.
    """

    def __init__(self, plan: Plan, health: Callable[[int, str], None]) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self.arms: Sequence[ArmStat] = ()
        self.pids: dict[int, int] = {}
        self.nodes: dict[int, str] = {}
        self._plan = plan
        self._health = health
        self._latest: Backend | Keyed | None = None
        self._backends: dict[int, Backend | Keyed] = {}

    @property
    def keys(self) -> list[KeyStat]:
        """Return the counters of the provider's keys, where there are several."""
        return self._latest.stats() if isinstance(self._latest, Keyed) else []

    async def add(self, indices: Iterable[int], notify: Notify) -> None:
        """Add workers, opening the backend first where none is open.

        Raises:
            ByzerError: the backend could not be opened.
        """
        if self._latest is None:
            self._latest = await self._open(notify)
            tune_collector()
        for index in indices:
            self._backends[index] = self._latest
            self._health(index, "up")

    async def _open(self, notify: Notify) -> Backend | Keyed:
        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            notify(Loading(stage, fraction=fraction, detail=detail))

        self._plan.setup.network.adopt()  # for SDKs that read the environment; the process is the deployment's own
        setup = self._plan.setup  # with enough connections for workers that `scale` may add
        setup = replace(setup, concurrency=max(setup.concurrency, MAX_QUEUED))
        backend = await open_each(self._plan.backend, setup, report)
        self.capabilities = backend.capabilities()
        return backend

    async def restart(self, index: int, notify: Notify, *, first: bool) -> None:
        """Restart a worker: give it a newly opened backend, which all workers of one `restart` share.

        Args:
            index: the worker.
            notify: receives the events.
            first: whether it is the first worker of this restart, which opens the backend.

        Raises:
            ByzerError: the backend could not be opened; the worker keeps the old one.
        """
        old = self._backends[index]
        try:
            if first:
                self._latest = await self._open(notify)
            self._backends[index] = self._latest or old
        finally:
            self._health(index, "up")
        await self._close_unused(old)

    async def remove(self, index: int) -> None:
        """Remove a worker."""
        if old := self._backends.pop(index, None):
            await self._close_unused(old)

    async def _close_unused(self, old: Backend | Keyed) -> None:
        if old is not self._latest and old not in self._backends.values():
            await old.close()

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield the items of a worker's response."""
        return self._backends[index].ask(capability, request)

    def all_pids(self) -> list[int]:
        """Return the workers' own processes: there are none."""
        return []

    async def log(self, _: int) -> list[str]:
        """Return the lines in logs of their own: there are none, they log in the pool's process."""
        return []

    async def close(self) -> None:
        """Remove all workers and close their backends."""
        backends: list[Any] = [*self._backends.values(), self._latest]
        self._backends.clear()
        self._latest = None
        for backend in {id(each): each for each in backends if each is not None}.values():
            await backend.close()
