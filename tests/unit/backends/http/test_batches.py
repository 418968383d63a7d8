"""Many texts in requests of a few, when one fails or nobody wants the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import batches
from byzer_magic.backends.http.batches import in_order
from tests.clock import simulated


class Work:
    """Batches that last until they are let go."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.started: list[int] = []
        self.cancelled: set[int] = set()
        self.go = asyncio.Event()

    async def __call__(self, start: int, items: Sequence[str]) -> str:
        self.running.add(start)
        self.started.append(start)
        assert len(self.running) <= batches.AT_ONCE
        try:
            await self.go.wait()
            return "".join(items)
        except asyncio.CancelledError:
            self.cancelled.add(start)
            raise
        finally:
            self.running.discard(start)


@simulated
async def test_in_order_of_no_items_yields_nothing() -> None:
    assert [item async for item in in_order([], 3, Work())] == []


@simulated
async def test_in_order_last_batch_is_shorter() -> None:
    work = Work()
    work.go.set()
    assert [item async for item in in_order("abcdefghij", 4, work)] == ["abcd", "efgh", "ij"]


@simulated
async def test_in_order_limits_requests_at_once() -> None:
    work = Work()
    items = in_order("abcdefghij", 1, work)
    first = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0.01)
    assert work.started == list(range(batches.AT_ONCE))
    work.go.set()
    assert await first == "a"
    assert [item async for item in items] == list("bcdefghij")


@simulated
async def test_in_order_closing_cancels_the_rest() -> None:
    work = Work()
    work.go.set()
    items = in_order("abcdefghij", 1, work)
    await anext(items)
    work.go.clear()
    assert await anext(items) == "b"
    await asyncio.sleep(0.01)
    assert work.running == {batches.AT_ONCE}
    await items.aclose()
    assert (work.running, work.cancelled) == (set(), {batches.AT_ONCE})
    assert len(asyncio.all_tasks()) == 1


@simulated
async def test_in_order_cancelling_cancels_all() -> None:
    work = Work()
    waiting = asyncio.ensure_future(anext(in_order("abcdefghij", 1, work)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert work.cancelled == set(range(batches.AT_ONCE))
    assert len(asyncio.all_tasks()) == 1


@simulated
async def test_in_order_yields_batches_before_an_error() -> None:
    async def work(start: int, _: Sequence[str]) -> int:
        if start == 2:
            raise ValueError("third")
        return start

    found: list[int] = []
    with pytest.raises(ValueError, match="third"):
        async for item in in_order("abcdef", 1, work):
            found.append(item)  # noqa: PERF401 - what came before the error counts
    assert found == [0, 1]


@simulated
async def test_in_order_runs_batches_together() -> None:
    running, most = 0, 0

    async def work(start: int, items: Sequence[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if start == 0 else 0.001)
        running -= 1
        return [start, *items]

    found = [batch async for batch in in_order(list(range(25)), 3, work)]
    assert [batch[0] for batch in found] == list(range(0, 25, 3))
    assert [item for batch in found for item in batch[1:]] == list(range(25))
    assert most == batches.AT_ONCE


@simulated
async def test_in_order_error_cancels_the_others() -> None:
    cancelled = 0

    async def work(start: int, _: Sequence[int]) -> None:
        nonlocal cancelled
        if start == 0:
            await asyncio.sleep(0.01)
            raise errors.BadRequest("no")
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    with pytest.raises(errors.BadRequest):
        [item async for item in in_order(list(range(10)), 1, work)]
    assert cancelled == batches.AT_ONCE - 1
