"""What has happened to a deployment so far, for whoever asks while it goes on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

from byzer_magic.types import Event, Failed, Loading, Ready


class EventLog:
    """Numbered events, oldest first; of the Loading events of one worker and stage, only the latest."""

    def __init__(self) -> None:
        self._events: dict[Any, tuple[int, Event]] = {}
        self._numbers = itertools.count(1)
        self._added = asyncio.Event()

    def add(self, event: Event) -> None:
        """Add an event, and wake those who follow."""
        number = next(self._numbers)
        key = (event.worker, event.stage) if isinstance(event, Loading) else number
        self._events.pop(key, None)
        self._events[key] = (number, event)
        self._added.set()

    @property
    def loading(self) -> Loading | None:
        """Return what was loaded last."""
        found = [event for _number, event in self._events.values() if isinstance(event, Loading)]
        return found[-1] if found else None

    async def follow(self) -> AsyncIterator[Event]:
        """Yield all events, past ones first, until the deployment is ready or has failed."""
        seen = 0
        while True:
            self._added.clear()
            for number, event in [new for new in self._events.values() if new[0] > seen]:
                seen = number
                yield event
                if isinstance(event, Ready | Failed):
                    return
            await self._added.wait()
