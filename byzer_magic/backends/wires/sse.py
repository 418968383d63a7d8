"""Server-sent events, read from bytes: https://html.spec.whatwg.org/multipage/server-sent-events.html.

They are split on bytes: splitting decoded text, as SDKs do, also breaks at U+2028 inside a JSON string.
"""

from __future__ import annotations

from collections.abc import AsyncIterator


async def events(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
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
