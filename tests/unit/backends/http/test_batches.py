"""Many texts in requests of a few, when one fails or nobody wants the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from byzer_magic.backends.http import batches
from byzer_magic.backends.http.batches import in_order


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


async def test_of_nothing_comes_nothing() -> None:
    assert [item async for item in in_order([], 3, Work())] == []


async def test_the_last_batch_has_what_is_left() -> None:
    work = Work()
    work.go.set()
    assert [item async for item in in_order("abcdefghij", 4, work)] == ["abcd", "efgh", "ij"]


async def test_no_more_than_a_few_are_started_before_the_first_is_there() -> None:
    work = Work()
    items = in_order("abcdefghij", 1, work)
    first = asyncio.ensure_future(anext(items))
    await asyncio.sleep(0.01)
    assert work.started == list(range(batches.AT_ONCE))
    work.go.set()
    assert await first == "a"
    assert [item async for item in items] == list("bcdefghij")


async def test_closing_after_an_item_ends_the_rest() -> None:
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


async def test_a_cancel_while_it_waits_ends_all() -> None:
    work = Work()
    waiting = asyncio.ensure_future(anext(in_order("abcdefghij", 1, work)))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert work.cancelled == set(range(batches.AT_ONCE))
    assert len(asyncio.all_tasks()) == 1


async def test_what_came_before_a_failure_is_had() -> None:
    async def work(start: int, _: Sequence[str]) -> int:
        if start == 2:
            raise ValueError("third")
        return start

    found: list[int] = []
    with pytest.raises(ValueError, match="third"):
        async for item in in_order("abcdef", 1, work):
            found.append(item)  # noqa: PERF401 - what came before the error counts
    assert found == [0, 1]
