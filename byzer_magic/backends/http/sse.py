"""Server-sent events, read from bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

Not with httpx-sse or an SDK's reader: they split decoded text, which also breaks at U+2028 inside a JSON string.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

DRAIN_SECONDS = 0.2
"""How long the end of a body may come after the end of a response before its connection is given up."""


NOT_STREAMED = ("application/json", "text/html")
"""Content types of servers that answer a streaming request with one body, or that are not an API at all."""


async def drain(rest: AsyncIterator[bytes], *exceptions: type[BaseException]) -> None:
    """Read what comes after the end of a response: only then can its connection serve the next request.

    Args:
        rest: what is left of the body.
        exceptions: what the transport may raise; ignored, since the response is complete.
    """
    with contextlib.suppress(TimeoutError, *exceptions):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in rest:
                pass


async def events(blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    r"""Yield the data of each server-sent event (one line of data each, as every provider sends them).

    Comments, `id:` and `retry:` lines are dropped. The data of an `event: error` comes as ``{"error": data}``
    unless it already is such an object. A last line without its line end is data, too.

    Args:
        blocks: the body, in blocks of any size.

    Example:
        >>> async def body():
        ...     yield b'data: {"text": '
        ...     yield b'"Hi"}\n\ndata: [DONE]\n\n'
        >>> async def read():
        ...     return [data async for data in events(body())]
        >>> asyncio.run(read())
        [b'{"text": "Hi"}', b'[DONE]']
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
