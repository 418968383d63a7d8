"""Opening backends as a deploy does, and asking them: helpers of the provider and engine tests."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.backends import network, registry
from byzer_magic.backends.base import Backend, Setup, typed_params
from byzer_magic.errors import ByzerError
from byzer_magic.types import AudioChunk, ChatChunk, ChatRequest, Message, SpeakRequest

T = TypeVar("T")
FREE_TURNS = 20
"""Turns of the event loop per item at least, while an engine computes in a thread."""


def setup_of(
    kind: type[Backend], params: Mapping[str, str], environ: Mapping[str, str] | None = None, **more: Any
) -> Setup:
    """Return the setup that a deploy would make of these `--infer_params`, checked."""
    typed = typed_params(kind.info, params, {})
    found = network.Network() if kind.info.local else network.of(typed, environ or {})
    setup = Setup(model="alias", params=typed, network=found, **more)
    kind.check(setup)
    return setup


async def opened(kind: str, params: Mapping[str, str], **more: Any) -> Any:
    """Return an open backend."""
    backend = registry.find(*kind.split("@"))
    return await backend.open(setup_of(backend, params, **more), lambda *_: None)


def ask(text: str, *, timeout: float | None = None, **options: Any) -> ChatRequest:
    """Return a request of one user message."""
    return ChatRequest(messages=[Message("user", text)], options=options, timeout=timeout)


async def refuse_streams(backend: Any) -> None:
    """Have the server refuse to stream: from then on the backend asks it for complete responses."""
    while True:
        with suppress(errors.DeadlineExceeded):  # of a backend whose deadline is near, on a busy machine
            [chunk] = await collect(backend, ask("streams:no hi"))
            assert chunk.text == "Echo: hi"
            return


async def collect(backend: Any, request: ChatRequest) -> list[ChatChunk]:
    """Return all chunks of an answer."""
    return [chunk async for chunk in backend.chat(request)]


def text_of(chunks: list[ChatChunk]) -> str:
    """Return the text of an answer."""
    return "".join(chunk.text for chunk in chunks)


async def speak(backend: Any, text: str, **options: Any) -> list[AudioChunk]:
    """Return all chunks of a text's audio."""
    return [chunk async for chunk in backend.speak(SpeakRequest(text=text, options=options))]


async def audio_of(backend: Any, text: str, **options: Any) -> bytes:
    """Return a text's audio."""
    return b"".join(chunk.data for chunk in await speak(backend, text, **options))


async def failure(backend: Any, text: str, **options: Any) -> ByzerError:
    """Return the error that a chat ends with."""
    return await _error_of(collect(backend, ask(text, **options)))


async def speak_failure(backend: Any, text: str, **options: Any) -> ByzerError:
    """Return the error that speaking a text ends with."""
    return await _error_of(speak(backend, text, **options))


async def _error_of(work: Coroutine[Any, Any, Any]) -> ByzerError:
    """Return the error that a request ends with; it must survive both ways out of the process."""
    with pytest.raises(ByzerError) as caught:
        await work
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None, "the chain behind an error may quote the key"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    again = errors.from_wire(msgspec.msgpack.decode(msgspec.msgpack.encode(errors.to_wire(error))))
    assert (type(again), again.details) == (type(error), error.details)
    assert "\n" not in error.message
    assert error.hint
    return error


async def until_error(items: AsyncIterator[T]) -> tuple[list[T], ByzerError]:
    """Return what a response yields before its error, and that error."""
    seen: list[T] = []
    try:
        async for item in items:
            seen.append(item)  # noqa: PERF401 - the list must keep what came before the error
    except ByzerError as err:
        return seen, err
    raise AssertionError("the response is complete")


async def closing_stops_it(backend: Any, request: ChatRequest) -> None:
    """Leave a long answer after 20 pieces, and see that the model stops sooner than it generates as many again."""
    seen, started = 0, time.process_time()  # others may use the CPU meanwhile
    async with aclosing(backend.chat(request)) as chunks:
        async for chunk in chunks:
            assert not chunk.finish, "it is longer"
            seen += bool(chunk.text)
            if seen == 20:
                break
        left = time.process_time()
    took = time.process_time() - left
    print(f"stopped after {took * 1000:.0f} ms; 20 pieces took {(left - started) * 1000:.0f} ms")
    assert took < left - started


async def turns_per_item(items: AsyncIterator[Any]) -> float:
    """Return how often the event loop turned for each item of an answer, while the engine made it.

    A loop that an engine holds up turns a few times per item; a free one some hundred times, however busy the machine
    is, since the other processes take as much from the engine as from the loop.
    """
    turns, task = 0, asyncio.create_task(_count(items))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    count = await task
    print(f"{turns} turns of the loop, {count} items")
    return turns / count


async def _count(items: AsyncIterator[Any]) -> int:
    return sum([1 async for _ in items])
