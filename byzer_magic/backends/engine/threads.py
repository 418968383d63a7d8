"""Run models that block in threads: requests take turns, and the event loop stays responsive."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from byzer_magic.errors import ByzerError, ProviderError
from byzer_magic.i18n import lazy_gettext as _

OUT_OF_MEMORY = (
    "out of memory", "outofmemory", "out of device memory", "outofdevicememory", "allocate memory", "bad_alloc",
    "memoryerror", "no available memory", "failed to allocate", "unable to allocate", "alloc_failed",
    "less than desired gpu memory", "less than desired cpu memory", "kv cache is needed",
)  # fmt: skip
"""Words in the messages of torch, llama.cpp, CTranslate2, ONNX Runtime and vLLM when memory is short, in lower case."""

Emit = Callable[[Any], None]
"""Passes an item to the waiting request; may be called from any thread."""
Work = Callable[[Emit, threading.Event], None]
"""Processes one request: emits its items, returns soon after the event is set, raises its errors."""


class Turns:
    """Runs the work of requests, `at_once` at a time; further ones wait for their turn.

    `engine` is its name in errors.
    """

    def __init__(self, engine: str, at_once: int = 1) -> None:
        self._engine = engine
        self._free = asyncio.Semaphore(at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix=engine)
        self._running: set[threading.Event] = set()

    @property
    def running(self) -> int:
        """Return the number of running requests."""
        return len(self._running)

    async def run(self, work: Work) -> AsyncGenerator[Any, None]:
        """Yield what `work` emits; closing the iterator stops it, and returns when the model is free again.

        Raises:
            ByzerError: as `work` raised it.
            ProviderError: another exception was raised.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        stopped = threading.Event()
        end = object()

        def emit(item: Any) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, item)

        def turn() -> None:
            try:
                work(emit, stopped)
            finally:
                emit(end)

        async with self._free:
            self._running.add(stopped)
            thread = loop.run_in_executor(self._threads, turn)
            try:
                while (item := await queue.get()) is not end:
                    yield item
                await self._ended(thread)
            finally:
                stopped.set()
                try:
                    await _until_done(thread)
                finally:
                    self._running.discard(stopped)

    async def _ended(self, thread: asyncio.Future[None]) -> None:
        try:
            await thread
        except ByzerError:
            raise
        except Exception as err:  # the engine's code may raise anything
            raise _failure(self._engine, err) from err

    async def close(self) -> None:
        """Stop what runs and wait for its end."""
        for stopped in self._running:
            stopped.set()
        await asyncio.to_thread(self._threads.shutdown)


def out_of_memory(err: BaseException) -> bool:
    """Return whether an engine's error is about too little memory, of the computer or of a GPU."""
    text = f"{type(err).__name__} {err}".lower()
    return any(word in text for word in OUT_OF_MEMORY)


def _failure(engine: str, err: Exception) -> ProviderError:
    text = " ".join(str(err).split()) or type(err).__name__
    if out_of_memory(err):
        hint = _("Shorten the conversation, lower max_tokens, or lower --worker_concurrency.")
        return ProviderError(_("{engine} ran out of memory: {text}", engine=engine, text=text[:300]), hint)
    return ProviderError(_("{engine} failed: {text}", engine=engine, text=text[:300]), _("See %byzer logs."))


async def _until_done(thread: asyncio.Future[None]) -> None:
    """Wait for a thread even if the task is cancelled; then raise the cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not thread.done():
        try:
            await asyncio.wait([thread])
        except asyncio.CancelledError as err:
            cancelled = err
    thread.exception()  # marks it as retrieved: asyncio would log it
    if cancelled:
        raise cancelled
