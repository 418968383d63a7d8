"""Several answers to one call: asked at the same time, and given in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from byzer_magic.gateway.calls import Call
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatChunk, ChatRequest

WAITING = 256
"""Chunks that may wait for their client, of all answers together: a slow one slows the deployments down."""


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
    arrived: asyncio.Queue[tuple[int, ChatChunk] | BaseException | None] = asyncio.Queue(WAITING)

    async def pump(index: int, request: ChatRequest) -> None:
        try:
            async with aclosing(call.items(model, request)) as items:  # type: ignore[type-var]  # a generator
                async for chunk in items:
                    await arrived.put((index, chunk))
        except Exception as err:  # noqa: BLE001 - raised again where the answers are read
            await arrived.put(err)
        else:
            await arrived.put(None)

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
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
