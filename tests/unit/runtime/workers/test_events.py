"""The events of a change, and what closing their stream does."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from byzer_magic import errors
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.events import events_of
from byzer_magic.types import Loading


async def test_events_of_yields_what_the_work_reports() -> None:
    async def work(notify: Notify) -> None:
        notify(Loading("first"))
        await asyncio.sleep(0)
        notify(Loading("second"))

    assert [event async for event in events_of(work)] == [Loading("first"), Loading("second")]


async def test_events_of_raises_the_error_of_the_work_after_its_events() -> None:
    async def work(notify: Notify) -> None:
        notify(Loading("first"))
        raise errors.EngineFailed("no memory")

    seen = []
    with pytest.raises(errors.EngineFailed, match="no memory"):
        async for event in events_of(work):
            seen.append(event)  # noqa: PERF401 - the error comes after it
    assert seen == [Loading("first")]


async def test_closing_events_of_cancels_the_work() -> None:
    ended = asyncio.Event()

    async def work(notify: Notify) -> None:
        notify(Loading("first"))
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with aclosing(events_of(work)) as events:  # type: ignore[type-var]  # a generator
        assert await anext(events) == Loading("first")
    assert ended.is_set()
