"""Several answers to one call: asked at the same time, and given in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from byzer_magic.gateway.calls import Call
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatChunk, ChatRequest, Usage


async def results(call: Call, model: str, requests: Sequence[ChatRequest]) -> list[ChatResult]:
    """Return the results of all requests; where one fails, the others are cancelled.

    Raises:
        Problem: there is no such model.
        ByzerError: one could not be answered.
    """
    if len(requests) == 1:
        return [await call.result(model, requests[0])]
    tasks = [asyncio.create_task(call.result(model, request)) for request in requests]
    try:
        found: list[ChatResult] = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    call.usage = total([result.usage for result in found])
    return found


async def chunks(call: Call, model: str, requests: Sequence[ChatRequest]) -> AsyncIterator[tuple[int, ChatChunk]]:
    """Yield the chunks of all answers as they come, each with the index of its request.

    Raises:
        Problem: there is no such model.
        ByzerError: one could not be answered.
    """
    if len(requests) > 1:
        source = _merged(call, model, requests)
        async with aclosing(source) as pairs:  # type: ignore[type-var]  # a generator
            async for pair in pairs:
                yield pair
        return
    async with aclosing(call.items(model, requests[0])) as items:  # type: ignore[type-var]  # a generator
        async for chunk in items:
            yield 0, chunk


async def _merged(call: Call, model: str, requests: Sequence[ChatRequest]) -> AsyncIterator[tuple[int, ChatChunk]]:
    arrived: asyncio.Queue[tuple[int, ChatChunk] | BaseException | None] = asyncio.Queue()
    counts: list[Usage | None] = [None] * len(requests)

    async def pump(index: int, request: ChatRequest) -> None:
        try:
            async with aclosing(call.items(model, request)) as items:  # type: ignore[type-var]  # a generator
                async for chunk in items:
                    counts[index] = chunk.usage or counts[index]
                    arrived.put_nowait((index, chunk))
        except Exception as err:  # noqa: BLE001 - raised again where the answers are read
            arrived.put_nowait(err)
        else:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(pump(index, request)) for index, request in enumerate(requests)]
    try:
        left = len(tasks)
        while left:
            entry = await arrived.get()
            if isinstance(entry, BaseException):
                raise entry
            if entry is None:
                left -= 1
            else:
                yield entry
    finally:
        call.usage = total(counts)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def total(counts: Sequence[Usage | None]) -> Usage | None:
    """Return the sum of token counts; None where none is known.

    Example:
        >>> total([Usage(1, 2), None, Usage(3, 4)]).total_tokens
        10
        >>> total([None]) is None
        True
    """
    known: list[Any] = [usage for usage in counts if usage is not None]
    return sum(known[1:], known[0]) if known else None
