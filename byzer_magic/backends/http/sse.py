"""Server-sent events, read from bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

They are split on bytes: splitting decoded text, as SDKs do, also breaks at U+2028 inside a JSON string.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

DRAIN_SECONDS = 0.2
"""How long the end of a body may come after the end of an answer before its connection is given up."""


async def drain(rest: AsyncIterator[bytes], *failures: type[BaseException]) -> None:
    """Read what comes after the end of an answer: only then can its connection serve the next request.

    The answer is complete, so none of `failures`, which the transport may raise, makes it less.
    """
    with contextlib.suppress(TimeoutError, *failures):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in rest:
                pass


async def events(blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the data of each server-sent event (one line of data each, as every provider sends them).

    Comments, `id:` and `retry:` lines are dropped. The data of an `event: error` comes as ``{"error": data}``
    unless it says so itself. A last line without its line end is data too.
    """
    rest = b""
    failed = False
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                data = line[5:].strip()
                yield b'{"error":' + data + b"}" if failed and not data.startswith(b'{"error"') else data
            elif line.startswith(b"event:"):
                failed = line[6:].strip() == b"error"
    if rest.startswith(b"data:"):
        yield rest[5:].strip()
