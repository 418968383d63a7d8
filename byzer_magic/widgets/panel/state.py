"""The state of a live panel: the deployments, and the last ten minutes of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from byzer_magic.client import serving
from byzer_magic.client.manager import Manager
from byzer_magic.errors import ByzerError
from byzer_magic.rendering.deployments import table
from byzer_magic.rendering.deployments.cells import STALE_SECONDS
from byzer_magic.rendering.deployments.history import History
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import Fleet, ModelStat

REFILL_SECONDS = 10.0
"""How often the history of an opened deployment is fetched: only that has the time to first token, second by second."""
ENDPOINT_SECONDS = 10.0
"""How often the cluster is asked whether it serves the deployments over HTTP."""
FETCHES = 4
"""Histories that are fetched at the same time."""


class PanelState:
    """The state of one panel; used on the background loop."""

    def __init__(self, manager: Manager) -> None:
        self.fleet = Fleet({})
        self.opened: set[str] = set()
        """Deployments whose workers are shown."""
        self._manager = manager
        self._histories: dict[str, History] = {}
        self._fetching = asyncio.Semaphore(FETCHES)
        self._tasks: set[Future[None]] = set()
        self._refilled = 0.0
        self._endpoint = ""
        """Where the cluster serves the deployments over HTTP."""
        self._asked = 0.0

    def take(self, found: Fleet) -> None:
        """Take the current deployments; fetch the history of a new one in the background."""
        self.fleet = found
        at = time.time()
        for alias in self._histories.keys() - found.models.keys():
            del self._histories[alias]
        for alias, followed in found.models.items():
            if alias not in self._histories:
                self._histories[alias] = History()
                self._fetch(alias)
            if time.monotonic() - followed.seen < STALE_SECONDS:  # of the time since then nothing is known
                self._histories[alias].add(followed.stat, at)
        if self._manager.connected and at - self._asked > ENDPOINT_SECONDS:
            self._asked = at
            self.spawn(self._find_endpoint())
        if self.opened and at - self._refilled > REFILL_SECONDS:
            self._refilled = at
            for alias in self.opened & found.models.keys():
                self._fetch(alias)

    def open(self, alias: str, *, wanted: bool) -> None:
        """Show a deployment's workers and history, or hide them."""
        (self.opened.add if wanted else self.opened.discard)(alias)
        self._refilled = 0.0

    def forget(self) -> None:
        """Start again after a pause, of which nothing is known."""
        self._histories.clear()

    @property
    def stats(self) -> list[ModelStat]:
        """Return the deployments by alias."""
        return [followed.stat for _, followed in sorted(self.fleet.models.items())]

    def view(self) -> table.View:
        """Return the panel at this moment."""
        return table.view(self.fleet, self._histories, self.opened, (time.time(), time.monotonic()), self._endpoint)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in the background; it ends with the panel."""
        task = LOOP.spawn(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """End the background tasks."""
        for task in list(self._tasks):  # a cancelled one leaves the set
            task.cancel()

    def _fetch(self, alias: str) -> None:
        stale = time.monotonic() - self.fleet.models[alias].seen > STALE_SECONDS
        if not stale and not self.fleet.error:  # asking where no Ray answers would start one
            self.spawn(self._fill(alias))

    async def _find_endpoint(self) -> None:
        with suppress(ByzerError, TimeoutError):
            found = await asyncio.wait_for(serving.running(self._manager), ENDPOINT_SECONDS)
            self._endpoint = serving.shown(found)

    async def _fill(self, alias: str) -> None:
        async with self._fetching:
            try:
                await asyncio.to_thread(self._manager.reach, alias)
                samples = await self._manager.history(alias)
            except (ByzerError, TimeoutError):
                return  # continue with the samples counted here
        if alias in self._histories:
            self._histories[alias].fill(samples)
