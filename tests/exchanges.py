"""An exchange with a model that only plays back: what arrives is given, an error among it is raised."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from byzer_magic.client.converse import Exchange
from byzer_magic.types import Dispatched, Request


class Scripted:
    """Answers any request with the same items."""

    def __init__(self, *items: Any) -> None:
        self._items = items

    async def ask(self, _alias: str, _request: Request, /) -> AsyncIterator[Any]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


def exchange(request: Request, *items: Any, alias: str = "m", worker: int = 1, queued: float = 0.5) -> Exchange:
    """Return an exchange that a worker answers with these items."""
    return Exchange(Scripted(Dispatched(worker, queued), *items), alias, request)


def interrupt(_item: object) -> None:
    """Simulate Ctrl-C."""
    raise KeyboardInterrupt
