"""Bodies as they arrive: decompressed in small pieces, and read up to a limit by their kind.

One rule for all clients: ours reads with it, the SDKs of OpenAI and Anthropic by a hook of their HTTP library. What a
server sends can then neither fill the memory (1 MB of gzip may be 1 GB of text) nor keep the event loop for itself.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from byzer_magic.backends.http.errors import Unreadable
from byzer_magic.i18n import lazy_gettext as _

if TYPE_CHECKING:
    import aiohttp

MIB = 2**20
ENCODINGS = "gzip, deflate"
"""What is asked for as Accept-Encoding: the two that the standard library reads piece by piece."""
PIECE_BYTES = 32 * 1024
"""Longest piece of a body: other requests have their turn between two pieces."""
TURN_SECONDS = 0.02
"""How long a body is read, where more of it is there already, before others have their turn."""
MEMBERS = 1000
"""Parts of one gzip body; some servers compress each of the blocks that they send by itself."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of a body is read."""

    size: int
    """Bytes, both as they arrive and decompressed."""
    seconds: float | None = None
    """For bodies of which a part is enough: what has not come by then is not waited for, and none is too long."""


STREAM = Limit(256 * MIB)
"""Events and lines, all of one response together; a million tokens have less than that."""
BODY = Limit(64 * MIB)
"""JSON in one piece; 256 embeddings have some 20 MB."""
ANSWER = Limit(32 * MIB)
"""A chat's answer in one piece."""
IMAGES = Limit(128 * MIB)
AUDIO = Limit(256 * MIB)
ERROR = Limit(1 * MIB, seconds=10.0)
"""What comes with a status of 300 or more."""
_BY_PATH = {
    "completions": STREAM,
    "messages": STREAM,
    "generations": IMAGES,
    "edits": IMAGES,
    "speech": AUDIO,
}
"""Limits by the last part of a request's path, for SDKs."""


def limit_of(status: int, path: str) -> Limit:
    """Return how much of a response is read.

    Example:
        >>> limit_of(200, "/v1/chat/completions") is STREAM, limit_of(500, "/v1/embeddings") is ERROR
        (True, True)
    """
    return ERROR if status >= 300 else _BY_PATH.get(path.rstrip("/").rpartition("/")[2], BODY)


class Turns:
    """Leaves the event loop to others from time to time, in a loop over what is there already."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_SECONDS

    async def take(self) -> None:
        """Let others have their turn, if this one has taken long enough."""
        if time.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + TURN_SECONDS


async def pieces(blocks: AsyncIterable[bytes], encoding: str, limit: Limit) -> AsyncGenerator[bytes, None]:
    """Yield a body decompressed.

    Args:
        blocks: the body as it arrives, in blocks of any size.
        encoding: the response's Content-Encoding.
        limit: how much of it is read.

    Raises:
        Unreadable: it is too long, or is compressed in a way that was not asked for, or wrongly.
    """
    decompressed, turns = _decompressor(encoding), Turns()
    arrived = size = 0
    async for block in blocks if limit.seconds is None else _in_time(blocks, limit.seconds):
        arrived += len(block)
        for piece in decompressed(block):
            size += len(piece)
            if size > limit.size and limit.seconds is None:
                raise too_long(limit)
            yield piece
            if size >= limit.size and limit.seconds is not None:
                return
            await turns.take()
        if arrived > limit.size:  # compressed, it may be long without being anything
            if limit.seconds is not None:
                return
            raise too_long(limit)


async def _in_time(blocks: AsyncIterable[bytes], seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield blocks for so long."""
    until, rest = asyncio.get_running_loop().time() + seconds, aiter(blocks)
    while True:
        try:
            async with asyncio.timeout_at(until):
                block = await anext(rest)
        except (StopAsyncIteration, TimeoutError):
            return
        yield block


def blocks(response: aiohttp.ClientResponse, limit: Limit) -> AsyncGenerator[bytes, None]:
    """Return the body of a response of a session with `auto_decompress=False`, see `pieces`."""
    return pieces(response.content.iter_any(), response.headers.get("Content-Encoding", ""), limit)


async def read(response: aiohttp.ClientResponse, limit: Limit = BODY) -> bytes:
    """Return the body of a response, see `pieces`.

    Raises:
        Unreadable: it is too long, or cannot be decompressed.
    """
    async with aclosing(blocks(response, limit)) as body:
        return b"".join([piece async for piece in body])[: limit.size]


def bounded(http: Any) -> Callable[[Any], Awaitable[None]]:
    """Return an event hook for the clients of httpx or its successor, with which SDKs read bodies like `pieces`.

    Args:
        http: that library.
    """

    class Body(http.AsyncByteStream):  # type: ignore[misc]  # of a library that is found at run time
        def __init__(self, arriving: Any, encoding: str, limit: Limit) -> None:
            self._arriving = arriving
            self._pieces = pieces(arriving, encoding, limit)

        def __aiter__(self) -> AsyncIterator[bytes]:
            return self._pieces

        async def aclose(self) -> None:
            await self._pieces.aclose()
            await self._arriving.aclose()

    async def bound(response: Any) -> None:
        encoding = response.headers.pop("content-encoding", "")
        limit = limit_of(response.status_code, response.request.url.path)
        response.stream = Body(response.stream, encoding, limit)
        response.encoding = "utf-8"  # a server's own choice may be one that decompresses, or takes very long

    return bound


def too_long(limit: Limit) -> Unreadable:
    """Return the error for a body that is longer than its limit."""
    return Unreadable(_("it is longer than {size} MiB", size=limit.size // MIB))


def _decompressor(encoding: str) -> Callable[[bytes], Iterator[bytes]]:
    encoding = encoding.strip().lower()
    if encoding in ("", "identity", "none"):
        return _cut
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Inflated(is_gzip="gzip" in encoding).add
    raise Unreadable(_("it is compressed by {encoding!r}, which was not asked for", encoding=encoding[:64]))


def _cut(block: bytes) -> Iterator[bytes]:
    if len(block) <= PIECE_BYTES:
        yield block
        return
    for start in range(0, len(block), PIECE_BYTES):
        yield block[start : start + PIECE_BYTES]


class _Inflated:
    """Decompresses gzip, of any number of parts, and deflate, with or without the header of zlib."""

    def __init__(self, *, is_gzip: bool) -> None:
        self._is_gzip = is_gzip
        self._members = 0
        self._decoder: Any = None

    def add(self, block: bytes) -> Iterator[bytes]:
        """Yield what a block adds, in small pieces."""
        try:
            while block:
                if self._decoder is None or (self._is_gzip and self._decoder.eof):
                    self._begin(block)
                if self._decoder.eof:
                    return  # whatever follows the end
                if piece := self._decoder.decompress(block, PIECE_BYTES):
                    yield piece
                block = self._decoder.unused_data if self._decoder.eof else self._decoder.unconsumed_tail
        except zlib.error:
            raise Unreadable(_("its compression is damaged")) from None

    def _begin(self, block: bytes) -> None:
        self._members += 1
        if self._members > MEMBERS:
            raise Unreadable(_("its compression is damaged"))
        has_header = block[0] & 0x0F == zlib.DEFLATED
        wbits = zlib.MAX_WBITS + 16 if self._is_gzip else zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
        self._decoder = zlib.decompressobj(wbits)
