"""Requests that wait are batched; each ends separately."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest

from byzer_magic.backends.local.transformers import batch as transformers_batch
from byzer_magic.backends.local.transformers.batch import Batches
from byzer_magic.errors import ProviderError
from tests.clock import simulated


class Row:
    """A request that counts to `count`."""

    def __init__(self, count: int) -> None:
        self.count, self.stopped, self.done = count, threading.Event(), False


def count(rows: Sequence[Row], emit: Callable[[Row, int | None], None], stopped: threading.Event) -> None:
    """Answer all rows step by step."""
    for number in range(1000):
        live = [row for row in rows if not row.done]
        if not live or stopped.wait(0.001):
            return
        for row in live:
            if row.count < 0:
                raise ValueError("negative")
            row.done = row.stopped.is_set() or number + 1 >= row.count
            emit(row, None if row.stopped.is_set() else number)


@pytest.fixture(autouse=True)
def _time_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time())
    monkeypatch.setattr(transformers_batch, "time", clock)


async def read(batches: Batches, row: Row, group: object = "") -> list[int]:
    return [item async for item in batches.run(row, group)]


@simulated
async def test_batches_join_waiting_requests() -> None:
    batches = Batches("test", count, 3)
    answers = await asyncio.gather(*(read(batches, Row(n), group) for n, group in ((2, "a"), (5, "b"), (4, "a"))))
    assert answers == [[0, 1], [0, 1, 2, 3, 4], [0, 1, 2, 3]]
    assert batches.sizes == [2, 1]
    await asyncio.gather(*(read(batches, Row(1)) for _ in range(7)))
    assert batches.sizes == [2, 1, 3, 3, 1], "no more than three at once"
    await batches.close()


@simulated
async def test_batches_wait_for_requests_that_arrive_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each renews the wait; 60 ms from the first to the last are more than the wait after one."""
    monkeypatch.setattr(transformers_batch, "JOIN_SECONDS", 0.05)
    monkeypatch.setattr(transformers_batch, "MOST_JOIN_SECONDS", 10.0)
    batches = Batches("test", count, 8)

    async def arriving(number: int) -> list[int]:
        await asyncio.sleep(number * 0.01)
        return await read(batches, Row(2))

    assert await asyncio.gather(*map(arriving, range(7))) == [[0, 1]] * 7
    assert batches.sizes == [7]
    await batches.close()


@simulated
async def test_batches_wait_for_a_request_that_is_being_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_batch, "MOST_JOIN_SECONDS", 10.0)
    batches = Batches("test", count, 2)

    async def prepared() -> list[int]:
        with batches.preparing():
            await asyncio.sleep(0.1)
        return await read(batches, Row(2))

    assert await asyncio.gather(read(batches, Row(2)), prepared()) == [[0, 1]] * 2
    assert batches.sizes == [2]
    await batches.close()


@simulated
async def test_batches_do_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers_batch, "MOST_JOIN_SECONDS", 0.05)
    batches = Batches("test", count, 100)
    with batches.preparing():  # it never comes
        assert await read(batches, Row(2)) == [0, 1]
    monkeypatch.setattr(transformers_batch, "JOIN_SECONDS", 100.0)
    full = Batches("test", count, 2)
    assert await asyncio.gather(read(full, Row(1)), read(full, Row(1))) == [[0], [0]], "a full batch starts at once"
    await batches.close()
    await full.close()


async def test_batches_continue_when_a_request_leaves() -> None:
    batches = Batches("test", count, 2)
    leaver = batches.run(Row(1000), "")
    stayer = asyncio.create_task(read(batches, Row(50)))
    async for number in leaver:
        if number == 3:
            break
    await leaver.aclose()
    assert not stayer.done()
    assert len(await stayer) == 50
    await batches.close()


async def test_batches_let_a_waiting_request_leave() -> None:
    batches = Batches("test", count, 1)
    first = asyncio.create_task(read(batches, Row(200)))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(read(batches, Row(1)))
    await asyncio.sleep(0.02)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert len(await first) == 200
    assert batches.sizes == [1]
    await batches.close()


async def test_batches_raise_a_failure_for_the_whole_batch_only() -> None:
    batches = Batches("test", count, 2)
    first, second = await asyncio.gather(
        read(batches, Row(100)), read(batches, Row(-1)), return_exceptions=True
    )  # fmt: skip
    assert isinstance(first, ProviderError)
    assert isinstance(second, ProviderError)
    assert "negative" in str(first)
    assert await read(batches, Row(2)) == [0, 1]
    await batches.close()


async def test_batches_close_ends_running_and_waiting_requests() -> None:
    batches = Batches("test", count, 1)
    running = batches.run(Row(900), "")
    assert await anext(running) == 0
    waiting = asyncio.create_task(read(batches, Row(900)))
    await asyncio.sleep(0)  # it is waiting now
    await batches.close()
    assert len([item async for item in running]) < 899
    assert await waiting == []
