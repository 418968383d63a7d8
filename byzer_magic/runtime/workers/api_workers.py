"""The workers of a SaaS deployment: slots of this process, which share one backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

from byzer_magic.backends.base import Backend
from byzer_magic.capabilities import Capability
from byzer_magic.plan import MAX_QUEUED, Plan
from byzer_magic.runtime.cluster.node import calm_garbage_collector
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.types import Item, Loading, Request


class ApiWorkers:
    """Opens the backend, and gives it to the workers; has the same methods as `EngineWorkers`."""

    def __init__(self, plan: Plan, health: Callable[[int, str], None]) -> None:
        self.capabilities: frozenset[Capability] = frozenset()
        self.pids: dict[int, int] = {}
        self._plan = plan
        self._health = health
        self._latest: Backend | None = None
        self._backends: dict[int, Backend] = {}

    async def add(self, indices: Iterable[int], note: Notify) -> None:
        """Let more workers take requests.

        Raises:
            ByzerError: the backend could not be opened.
        """
        if self._latest is None:
            self._latest = await self._open(note)
            calm_garbage_collector()
        for index in indices:
            self._backends[index] = self._latest
            self._health(index, "up")

    async def _open(self, note: Notify) -> Backend:
        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            note(Loading(stage, fraction=fraction, detail=detail))

        setup = self._plan.setup  # with connections also for workers that may be added
        setup = replace(setup, concurrency=max(setup.concurrency, MAX_QUEUED))
        backend: Backend = await self._plan.backend.open(setup, report)
        self.capabilities = backend.capabilities()
        return backend

    async def renew(self, index: int, note: Notify, *, first: bool) -> None:
        """Give a worker new connections: those that the first one of several has got.

        Raises:
            ByzerError: the backend could not be opened; the worker goes on with the old one.
        """
        old = self._backends[index]
        try:
            if first:
                self._latest = await self._open(note)
            self._backends[index] = self._latest or old
        finally:
            self._health(index, "up")
        await self._close_unused(old)

    async def drop(self, index: int) -> None:
        """End a worker."""
        if old := self._backends.pop(index, None):
            await self._close_unused(old)

    async def _close_unused(self, old: Backend) -> None:
        if old is not self._latest and old not in self._backends.values():
            await old.close()

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield a worker's answer."""
        return self._backends[index].ask(capability, request)

    def family(self) -> list[int]:
        """Return the processes that the workers have: none of their own."""
        return []

    async def log(self, _: int) -> list[str]:
        """Return what they wrote besides the pool: nothing."""
        return []

    async def close(self) -> None:
        """End all workers."""
        backends: list[Any] = [*self._backends.values(), self._latest]
        self._backends.clear()
        self._latest = None
        for backend in {id(each): each for each in backends if each is not None}.values():
            await backend.close()
