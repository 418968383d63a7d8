"""A server in the test's own process that answers every request with what the test says, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

HEAD_BYTES = 64 * 1024


@dataclass
class Script:
    """What the server answers, and what it has received."""

    answer: Callable[[str], list[bytes]]
    """Returns the pieces of the response to a request line, status line included; they are sent one by one."""
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    """Request line, headers (names in lower case) and body of each request."""
    url: str = ""


def response(body: bytes, content_type: str = "application/json", status: int = 200, **headers: str) -> list[bytes]:
    """Return a response in one piece.

    Example:
        >>> response(b"{}", location="/v1")[0].splitlines()[1]
        b'content-type: application/json'
    """
    named = {"content-type": content_type, "content-length": str(len(body)), "connection": "close", **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items() if value)
    return [f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body]


def cut_off(body: bytes, content_type: str = "text/event-stream") -> list[bytes]:
    """Return a response whose connection breaks after `body`: its last chunk never comes."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head.encode() + f"{len(body):x}\r\n".encode() + body + b"\r\n"]


@asynccontextmanager
async def scripted(answer: Callable[[str], list[bytes]]) -> AsyncIterator[Script]:
    """Serve on loopback while the block lasts."""
    script = Script(answer)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            serving.add(task)
        try:
            await exchange(reader, writer)
        finally:  # a socket that the loop has not closed when it ends itself would be a warning in another test
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = await reader.readexactly(int(headers.get("content-length") or 0))
            script.received.append((head[0], headers, body))
            for piece in script.answer(head[0]):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=HEAD_BYTES)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield script
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
