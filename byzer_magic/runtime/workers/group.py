"""The workers that serve a deployment: those of its plan, and those of an earlier one that finish their requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any, Protocol

from byzer_magic.capabilities import Capability
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.stat import ArmStat, KeyStat
from byzer_magic.types import Request


class Workers(Protocol):
    """The workers of a deployment: `EngineWorkers` or `ApiWorkers`."""

    capabilities: frozenset[Capability]

    @property
    def arms(self) -> Sequence[ArmStat]:
        """Return the counters of the deployments to which the workers send requests, if any."""
        ...

    @property
    def pids(self) -> dict[int, int]:
        """Return the process ids of the workers that have a process of their own, by index."""
        ...

    @property
    def keys(self) -> Sequence[KeyStat]:
        """Return the counters of the provider's keys, where there are several."""
        ...

    @property
    def nodes(self) -> dict[int, str]:
        """Return the addresses of the nodes of these processes, by index."""
        ...

    async def add(self, indices: Collection[int], notify: Notify) -> None:
        """Start more workers."""

    async def restart(self, index: int, notify: Notify, *, first: bool) -> None:
        """Restart a worker; `first` marks the first one of this restart."""

    async def remove(self, index: int) -> None:
        """Remove a worker."""

    async def close(self) -> None:
        """Remove all workers, including those that are still loading."""

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Any]:
        """Yield the items of a worker's response."""
        ...

    def all_pids(self) -> list[int]:
        """Return the ids of the processes on this node that end with the workers."""
        ...

    async def log(self, lines: int) -> list[str]:
        """Return the last lines of the workers' own logs."""
        ...


class Held:
    """Keeps the health of workers that do not serve yet, and passes it on from `release` on.

    Args:
        health: called with a worker's index and its health.
    """

    def __init__(self, health: Callable[[int, str], None]) -> None:
        self._health = health
        self._states: dict[int, str] | None = {}

    def __call__(self, index: int, state: str) -> None:
        """Take a worker's health."""
        if self._states is None:
            self._health(index, state)
        else:
            self._states[index] = state

    def release(self) -> None:
        """Pass on what was kept, and all that comes."""
        states, self._states = self._states or {}, None
        for index, state in states.items():
            self._health(index, state)


class WorkerGroup:
    """All workers of a deployment, by index.

    Args:
        current: those of its plan.
    """

    def __init__(self, current: Workers) -> None:
        self.current = current
        self._leaving: dict[int, Workers] = {}

    def take_over(self, workers: Workers, old: Collection[int]) -> None:
        """Make others the current workers; those at the indices in `old` leave, once they are idle."""
        self._leaving |= dict.fromkeys(old, self.current)
        self.current = workers

    async def remove(self, index: int) -> None:
        """Remove a worker, and the last one of an earlier plan with all that they shared."""
        workers = self._of(index)
        await workers.remove(index)
        if self._leaving.pop(index, None) is not None and workers not in self._everyone:
            await workers.close()

    def ask(self, index: int, capability: Capability, request: Request) -> AsyncIterator[Any]:
        """Yield the items of a worker's response."""
        return self._of(index).ask(index, capability, request)

    @property
    def pids(self) -> dict[int, int]:
        """Return the process ids of the workers that have a process of their own, by index."""
        return {index: pid for workers in self._everyone for index, pid in workers.pids.items()}

    @property
    def nodes(self) -> dict[int, str]:
        """Return the addresses of the nodes of these processes, by index."""
        return {index: node for workers in self._everyone for index, node in workers.nodes.items()}

    def all_pids(self) -> list[int]:
        """Return the ids of the processes on this node that end with the workers."""
        return [pid for workers in self._everyone for pid in workers.all_pids()]

    async def log(self, lines: int) -> list[str]:
        """Return the last lines of the workers' own logs."""
        return [line for workers in self._everyone for line in await workers.log(lines)]

    async def close(self) -> None:
        """Remove all workers."""
        for workers in self._everyone:
            await workers.close()

    def _of(self, index: int) -> Workers:
        return self._leaving.get(index, self.current)

    @property
    def _everyone(self) -> list[Workers]:
        return list(dict.fromkeys([self.current, *self._leaving.values()]))
