"""Opening backends as a deploy does, and asking them: helpers of the provider and engine tests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.backends.base import Backend, Setup, typed_params
from byzer_magic.types import ChatChunk, ChatRequest, Message


def setup_of(kind: type[Backend], params: Mapping[str, str], **more: Any) -> Setup:
    """Return the setup that a deploy would make of these `--infer_params`, checked."""
    setup = Setup(model="alias", params=typed_params(kind.info, params, {}), **more)
    kind.check(setup)
    return setup


async def opened(kind: str, params: Mapping[str, str], **more: Any) -> Any:
    """Return an open backend."""
    backend = registry.find(*kind.split("@"))
    return await backend.open(setup_of(backend, params, **more), lambda *_: None)


def ask(text: str, *, stream: bool = True, timeout: float | None = None, **options: Any) -> ChatRequest:
    """Return a request of one user message."""
    return ChatRequest(messages=[Message("user", text)], options=options, stream=stream, timeout=timeout)


async def collect(backend: Any, request: ChatRequest) -> list[ChatChunk]:
    """Return all chunks of an answer."""
    return [chunk async for chunk in backend.chat(request)]


def text_of(chunks: list[ChatChunk]) -> str:
    """Return the text of an answer."""
    return "".join(chunk.text for chunk in chunks)


async def closing_stops_it(backend: Any, request: ChatRequest) -> None:
    """Leave an answer after its first words, and see that the model has stopped within a second."""
    async with aclosing(backend.chat(request)) as chunks:
        async for chunk in chunks:
            if chunk.text:
                break
        started = time.monotonic()
    took = time.monotonic() - started
    print(f"stopped after {took * 1000:.0f} ms")
    assert took < 1
