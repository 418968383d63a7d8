"""Gathering a chat's response: several deltas in one message where a client shows none of them as it comes.

A message on the socket costs the pool and the client 20 to 30 us each, per delta; a response of 100 tokens that is
sent in few pieces costs a client a tenth (benchmarks/gather.py).
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from byzer_magic.errors import ByzerError
from byzer_magic.types import ChatChunk, ChatRequest, Item, Request

HOLD_SECONDS = 0.25
"""How long deltas are held: what a user who interrupts a response may lose of it, and how old its progress may be."""


class Gathering:
    """The response to one request; deltas are held only for a chat that is not streamed to the user."""

    def __init__(self, request: Request) -> None:
        self._holds = isinstance(request, ChatRequest) and not request.stream
        self._held: list[ChatChunk] = []

    def items(self, response: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """Pass a response on; where deltas are held, the first at once: it ends the time to first token."""
        return self._gathered(response) if self._holds else response

    async def _gathered(self, response: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
        passed = float("-inf")
        async with aclosing(response) as items:  # type: ignore[type-var]  # async generators all
            try:
                async for item in items:
                    if not isinstance(item, ChatChunk):
                        yield item
                        continue
                    self._held.append(item)
                    if (now := time.monotonic()) - passed >= HOLD_SECONDS:
                        passed = now
                        for chunk in self.rest():
                            yield chunk
            except ByzerError:
                for chunk in self.rest():
                    yield chunk
                raise
        for chunk in self.rest():
            yield chunk

    def rest(self) -> list[ChatChunk]:
        """Return what is held, joined, and hold it no longer."""
        held, self._held = self._held, []
        return joined(held)


def joined(chunks: list[ChatChunk]) -> list[ChatChunk]:
    """Return chunks with as many as possible in one; those with further fields, such as log probabilities, stay.

    Example:
        >>> [chunk.text for chunk in joined([ChatChunk("Hel"), ChatChunk("lo"), ChatChunk("!", extra={"id": "1"})])]
        ['Hello', '!']
    """
    found: list[ChatChunk] = []
    run: list[ChatChunk] = []
    for chunk in chunks:
        if chunk.extra:
            found += [*_one(run), chunk]
            run = []
        else:
            run.append(chunk)
    return [*found, *_one(run)]


def _one(run: list[ChatChunk]) -> list[ChatChunk]:
    if len(run) < 2:
        return run
    return [
        ChatChunk(
            text="".join(chunk.text for chunk in run),
            reasoning="".join(chunk.reasoning for chunk in run),
            finish=next((chunk.finish for chunk in reversed(run) if chunk.finish), None),
            usage=next((chunk.usage for chunk in reversed(run) if chunk.usage), None),
            tool_calls=[call for chunk in run for call in chunk.tool_calls or []] or None,
        )
    ]
