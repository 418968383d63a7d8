"""One background event loop per process, and the bridge from synchronous code to it.

Notebooks and scripts are synchronous, the data plane is not. All coroutines of the package run on this one loop;
`run` and `iterate` turn Ctrl-C into a cancellation of what is running.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, TypeVar

from byzer_magic.errors import DeadlineExceeded, RequestError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.runtime import forks

log = get_logger("loop")

T = TypeVar("T")

STOP_SECONDS = 5.0
"""How long an interrupted call may take to clean up; after that it continues on its own."""


def _log_failure(future: Future[None]) -> None:
    if not future.cancelled() and (err := future.exception()) is not None:
        log.error("A task that nothing awaits has failed", exc_info=err)


class Waiter:
    """A thread that waits for what runs on the loop; it may be asked to do something itself, such as read a line."""

    def __init__(self) -> None:
        self.arrived: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._calls: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False

    async def serve(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine for which this thread waits."""
        _WAITER.set(self)  # the task has a context of its own, which the tasks that it makes copy
        return await work

    async def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread that waits.

        Raises:
            NobodyWaits: it has gone.
        """
        done: Future[T] = Future()

        def run() -> None:
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(work())
                except Exception as err:  # noqa: BLE001 - raised where it is awaited
                    done.set_exception(err)

        with self._lock:
            if self._closed:
                raise NobodyWaits
            self._calls.add(done)
            self.arrived.put(("call", run))
        try:
            return await asyncio.wrap_future(done)
        finally:
            self._calls.discard(done)

    def close(self) -> None:
        """Note that the thread does not wait any longer."""
        with self._lock:
            self._closed = True
            for done in [*self._calls]:
                done.cancel()


class NobodyWaits(Exception):
    """No thread waits for what runs: it was started by asyncio, or in the background."""


_WAITER: ContextVar[Waiter | None] = ContextVar("byzer_waiter", default=None)


async def in_waiting_thread(work: Callable[[], T]) -> T:
    """Do something in the thread that waits for this task: in a notebook's cell, its main thread.

    Raises:
        NobodyWaits: no thread does.

    Example:
        >>> async def where():
        ...     return await in_waiting_thread(threading.current_thread)
        >>> LOOP.run(where()) is threading.current_thread()
        True
    """
    if (waiter := _WAITER.get()) is None:
        raise NobodyWaits
    return await waiter.call(work)


class Loop:
    """An event loop on a daemon thread; a forked child gets its own.

    Example:
        >>> loop = Loop()
        >>> async def add(a, b):
        ...     return a + b
        >>> loop.run(add(1, 2))
        3
        >>> async def count(n):
        ...     for i in range(n):
        ...         yield i
        >>> list(loop.iterate(count(3)))
        [0, 1, 2]
    """

    def __init__(self) -> None:
        self._stopped()
        forks.register(self)

    def _stopped(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._spawned: set[Future[None]] = set()
        """What runs without anyone waiting; asyncio itself holds its tasks only weakly."""

    def forked(self) -> None:
        """Leave the parent's loop, which no thread runs here, to the parent; the next use starts a new one."""
        loop = self._loop
        forks.keep(loop, self._spawned)
        self._stopped()
        if (selector := getattr(loop, "_selector", None)) is not None:  # shared: a change here would be one there
            forks.drop([selector.fileno()])

    def start(self, *, fast: bool = False) -> asyncio.AbstractEventLoop:
        """Return the running loop, starting it when needed.

        Args:
            fast: use uvloop, for processes that carry many requests and are never forked.
        """
        with self._lock:
            if self._loop is None:
                self._loop = _uvloop() if fast else asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="byzer-loop", daemon=True).start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; what it does `in_waiting_thread` runs here.

        Raises:
            KeyboardInterrupt: after the coroutine was cancelled and has cleaned up.
        """
        ended = threading.Event()
        waiter = Waiter()
        future = asyncio.run_coroutine_threadsafe(_signal_end(waiter.serve(work), ended), self.start())
        future.add_done_callback(lambda _done: waiter.arrived.put(("end", None)))
        try:
            while (entry := waiter.arrived.get())[0] == "call":
                entry[1]()
            return future.result()
        except BaseException:  # an interrupt too cancels what runs
            if not future.done():
                future.cancel()
                ended.wait(STOP_SECONDS)
            raise
        finally:
            waiter.close()

    def spawn(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Start a coroutine from any thread without waiting for it; an exception goes to the log."""
        future = asyncio.run_coroutine_threadsafe(work, self.start())
        self._spawned.add(future)
        future.add_done_callback(self._spawned.discard)
        future.add_done_callback(_log_failure)
        return future

    async def adopt(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine on this loop from another loop; cancellation is passed on."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.start()))

    async def adopt_iterate(self, items: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield from an async iterator that runs on this loop, to a caller on another loop; closing is passed on."""
        home = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        put = lambda entry: home.call_soon_threadsafe(arrived.put_nowait, entry)  # noqa: E731 - two words long
        pump = asyncio.run_coroutine_threadsafe(_pump(items, put), self.start())
        try:
            while (entry := await arrived.get())[0] != "end":
                if entry[0] == "error":
                    raise entry[1]
                yield entry[1]
        finally:
            pump.cancel()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield from an async iterator; leaving early (break, error, interrupt) closes it first.

        Raises:
            RequestError: it was started by the process from which this one was forked.
        """
        process = forks.generation()
        waiter = Waiter()
        arrived = waiter.arrived
        pump = asyncio.run_coroutine_threadsafe(waiter.serve(_pump(items, arrived.put)), self.start())
        ended = False
        try:
            while True:
                if forks.generation() != process:  # what fills the queue runs in the parent only
                    raise RequestError(
                        _("This response belongs to the parent of this process."),
                        _("Send the request again: a forked process does not share responses with its parent."),
                    )
                what, value = arrived.get()
                if what == "item":
                    yield value
                    continue
                if what == "call":
                    value()
                    continue
                ended = what == "end"
                if ended:
                    return
                raise value
        finally:
            waiter.close()
            if not ended and forks.generation() == process:
                pump.cancel()
                _wait_for_end(arrived)


def _uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _wait_for_end(arrived: queue.SimpleQueue[tuple[str, Any]]) -> None:
    try:
        while arrived.get(timeout=STOP_SECONDS)[0] in ("item", "call"):
            pass
    except queue.Empty:
        pass


async def _signal_end(work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await work
    finally:
        ended.set()


async def _pump(items: AsyncIterator[Any], put: Callable[[tuple[str, Any]], object]) -> None:
    try:
        async with aclosing(items) as open_items:  # type: ignore[type-var]  # async generators all
            async for item in open_items:
                put(("item", item))
    except Exception as err:  # noqa: BLE001 - raised again where it is iterated
        put(("error", err))
    finally:
        put(("end", None))


async def with_deadline(items: AsyncIterator[T], seconds: float) -> AsyncGenerator[T, None]:
    """Pass items on.

    Raises:
        DeadlineExceeded: the next item took longer than `seconds`.
    """
    async with aclosing(items) as open_items:  # type: ignore[type-var]  # async generators all
        while True:
            try:
                item = await asyncio.wait_for(anext(open_items), seconds)
            except StopAsyncIteration:
                return
            except TimeoutError as err:
                raise DeadlineExceeded(
                    _("No progress for {seconds:g} s.", seconds=seconds), _("See %byzer logs.")
                ) from err
            yield item


LOOP = Loop()
"""The process's loop."""
