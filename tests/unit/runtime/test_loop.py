"""The bridge from ordinary code to the background event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import AsyncIterator

import pytest

from byzer_magic.runtime.loop import Loop, NobodyWaits, in_waiting_thread
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def loop() -> Loop:
    return Loop()


class Counter:
    """An async iterator that counts for ever and notes when it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    async def items(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(0.001)
        finally:
            self.closed.set()


def test_run_returns_the_value(loop: Loop) -> None:
    async def work() -> int:
        return 7

    assert loop.run(work()) == 7


def test_run_raises_the_error_of_the_coroutine(loop: Loop) -> None:
    async def work() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(work())


def test_iterate_returns_at_once_when_the_iterator_has_ended(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1

    waits: list[object] = []
    monkeypatch.setattr("byzer_magic.runtime.loop._wait_for_end", waits.append)
    for _ in range(300):
        assert list(loop.iterate(items())) == [1]
    assert waits == []


def test_iterate_closes_the_iterator_when_left_early(loop: Loop) -> None:
    counter = Counter()
    for number in loop.iterate(counter.items()):
        if number == 3:
            break
    time.sleep(0)  # the generator is closed by reference count, at once
    assert counter.closed.wait(PATIENCE)


def test_iterate_raises_an_error_after_the_items_before_it(loop: Loop) -> None:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    seen = []
    with pytest.raises(ValueError, match="broken"):
        for number in loop.iterate(items()):
            seen.append(number)  # noqa: PERF402 - the items before the error must be kept
    assert seen == [1]


async def test_adopt_iterate_works_from_another_loop(loop: Loop) -> None:
    counter = Counter()
    items = loop.adopt_iterate(counter.items())
    assert [await anext(items) for _ in range(3)] == [0, 1, 2]
    await items.aclose()  # type: ignore[attr-defined]  # an async generator
    assert await asyncio.to_thread(counter.closed.wait, PATIENCE)


async def test_adopt_passes_cancellation_on(loop: Loop) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    working = asyncio.ensure_future(loop.adopt(work()))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await asyncio.to_thread(cancelled.wait, PATIENCE)


def test_loop_spawn_logs_an_exception(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("no such field")

    logged = threading.Event()
    with caplog.at_level("ERROR", logger="byzer_magic"):
        future = loop.spawn(fail())
        future.add_done_callback(lambda _: logged.set())  # after the callback that logs
        assert logged.wait(PATIENCE)
    assert "no such field" in caplog.text


def test_loop_spawn_keeps_a_coroutine_that_nobody_else_holds(loop: Loop) -> None:
    waiting = threading.Event()
    ended = threading.Event()
    wakes: list[weakref.ref[asyncio.Event]] = []

    async def wait() -> None:
        wake = asyncio.Event()
        wakes.append(weakref.ref(wake))
        asyncio.get_running_loop().call_soon(waiting.set)  # after this coroutine has begun to wait
        await wake.wait()
        ended.set()

    loop.spawn(wait())
    assert waiting.wait(PATIENCE)
    gc.collect()
    kept = wakes[0]()
    assert kept is not None
    loop.start().call_soon_threadsafe(kept.set)
    assert ended.wait(PATIENCE)


def test_thread_that_waits_is_asked_by_what_runs_for_it(loop: Loop) -> None:
    here = threading.current_thread()

    async def where() -> threading.Thread:
        return await in_waiting_thread(threading.current_thread)

    async def items() -> AsyncIterator[threading.Thread]:
        yield await where()
        for found in await asyncio.gather(where(), where()):
            yield found

    assert loop.run(where()) is here
    assert list(loop.iterate(items())) == [here] * 3

    async def fails() -> None:
        await in_waiting_thread(lambda: int("x"))

    with pytest.raises(ValueError, match="invalid literal"):
        loop.run(fails())


def test_interrupt_of_what_the_waiting_thread_does_ends_the_work(loop: Loop) -> None:
    ended = threading.Event()

    def interrupted() -> None:
        raise KeyboardInterrupt

    async def work() -> None:
        try:
            await in_waiting_thread(interrupted)
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        loop.run(work())
    assert ended.wait(PATIENCE)


def test_nobody_is_asked_in_the_background_or_after_the_thread_has_gone(loop: Loop) -> None:
    tasks: list[asyncio.Task[None]] = []
    gone = asyncio.Event()
    found: list[type[BaseException]] = []

    async def later() -> None:
        await gone.wait()
        try:
            await in_waiting_thread(threading.current_thread)
        except NobodyWaits as err:
            found.append(type(err))

    async def begin() -> None:
        tasks.append(asyncio.create_task(later()))

    async def end() -> None:
        gone.set()
        await tasks[0]

    loop.run(begin())
    loop.run(end())
    loop.spawn(later()).result(PATIENCE)
    assert found == [NobodyWaits] * 2
