"""Follow deployments while a live panel shows them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Protocol

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.stat import Fleet, Followed, ModelStat, merged

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link

SHORTEST_SECONDS = 0.25
"""Shortest time between two updates."""
LONGEST_SECONDS = 2.0
"""An update comes at least this often, so that ages are right."""
NAMES_SECONDS = 1.0
"""How often the list of deployments is asked for."""
ASK_SECONDS = 5.0
"""How long Ray may take to return it."""
RETRY_SECONDS = 0.5
"""Pause before a deployment whose connection was lost is followed again."""


class Deployments(Protocol):
    """Where deployments are found: a connection."""

    async def names(self) -> list[str]:
        """Return the aliases of all deployments."""
        ...

    async def open_link(self, alias: str) -> Link:
        """Return a new link to one, which the caller closes."""
        ...


async def follow(deployments: Deployments, alias: str | None) -> AsyncIterator[Fleet]:
    """Yield the deployments, or the one that is named, whenever something has changed; it never ends on its own.

    A new deployment is added and one that was undeployed is removed; one that does not answer keeps its last counters.
    """
    watch = _Watch(deployments, alias)
    listing = asyncio.create_task(watch.list_names())
    try:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(watch.news.wait(), LONGEST_SECONDS)
            watch.news.clear()
            yield Fleet(dict(sorted(watch.models.items())), watch.error)
            await asyncio.sleep(SHORTEST_SECONDS)
    finally:
        listing.cancel()
        watch.close()


class _Watch:
    """The deployments that are followed, each by its own task."""

    def __init__(self, deployments: Deployments, alias: str | None) -> None:
        self.models: dict[str, Followed] = {}
        self.error = ""
        self.news = asyncio.Event()
        self._deployments = deployments
        self._alias = alias
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def list_names(self) -> None:
        first = True
        asking: asyncio.Task[list[str]] | None = None
        while True:
            asking = asking or asyncio.create_task(self._deployments.names())
            await asyncio.wait({asking}, timeout=ASK_SECONDS)
            if not asking.done():  # asking again and again would use up the threads that wait
                self._report(_("Ray does not respond."))
                continue
            asked, asking = asking, None
            try:
                found = asked.result()
            except errors.ByzerError as err:
                self._report(err.message)
            else:
                self._expect({name for name in found if self._alias in (None, name)})
                if first and not self._tasks:  # an empty list is an update, too
                    self.news.set()
                first = False
            await asyncio.sleep(NAMES_SECONDS)

    def _report(self, error: str) -> None:
        if error != self.error:
            self.error = error
            self.news.set()

    def _expect(self, names: set[str]) -> None:
        for name in names - set(self._tasks):
            self._tasks[name] = asyncio.create_task(self._follow(name))
        for name in set(self._tasks) - names:
            self._tasks.pop(name).cancel()
            self.models.pop(name, None)
            self.news.set()
        missing = self._alias and not names
        self._report(_("No model is deployed as {alias!r}.", alias=self._alias) if missing else "")

    async def _follow(self, name: str) -> None:
        """Follow one deployment, again and again: its pool may be restarted."""
        while True:
            with suppress(errors.ByzerError):
                link = await self._deployments.open_link(name)
                try:
                    await self._take(name, link)
                finally:
                    await link.close()
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, name: str, link: Link) -> None:
        before: ModelStat | None = None
        seen = time.monotonic()
        async with aclosing(link.stream("follow")) as deltas:  # type: ignore[type-var]  # a generator
            async for news in deltas:
                now = time.monotonic()
                before = merged(before, news, now - seen)
                seen = now
                self.models[name] = Followed(before, seen)
                self.news.set()

    def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
