"""The events of a change, as an iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from byzer_magic import errors
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.types import Event


async def events_of(work: Callable[[Notify], Coroutine[Any, Any, None]]) -> AsyncIterator[Event]:
    """Run `work` and yield the events that it reports; closing the iterator cancels it."""
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    task = asyncio.create_task(work(events.put_nowait))
    task.add_done_callback(lambda _done: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, errors.ByzerError):
            await task
