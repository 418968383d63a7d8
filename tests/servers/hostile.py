"""A provider that tries to fill or to block whoever asks it: the first part of a request's path is the attack.

    python tests/servers/hostile.py --port 8000

Below `/chosen`, a request names the attack itself, `attack:gzip`; any other gets a proper answer of OpenAI's API.
`GET /health` answers, whatever else goes on. What is endless ends when the client leaves.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

KB, MB = 1000, 1_000_000
SLOW_SECONDS = 0.1
"""Between two bytes of a body that drips."""


def head(status: int = 200, kind: str = "application/json", **headers: str) -> bytes:
    named = {"content-type": kind, "connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode()


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def inflating(piece: bytes, wbits: int) -> Iterator[bytes]:
    """Yield what decompresses to `piece` again and again, without end."""
    packer = zlib.compressobj(9, wbits=wbits)
    while True:
        yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)


@cache
def packed(data: bytes, times: int, wbits: int = 31) -> bytes:
    packer = zlib.compressobj(1, wbits=wbits)
    return b"".join([packer.compress(data) for _ in range(times)]) + packer.flush()


def attack(name: str, path: str) -> Iterator[bytes]:  # noqa: C901 - a table, with code
    """Yield the response to a request, piece by piece."""
    events = "text/event-stream"
    tiny = b'data: {"x":1}\n\n' * 4000
    match name:
        case "endless":
            yield head() + b'{"a": "'
            yield from endless(b"x" * 64 * KB)
        case "endless-line":
            yield head(kind=events) + b"data: "
            yield from endless(b"x" * 64 * KB)
        case "endless-events":
            yield head(kind=events)
            yield from endless(tiny)
        case "endless-comments":
            yield head(kind=events)
            yield from endless(b":\n" * 32 * KB)
        case "endless-lines":
            yield head(kind="application/x-ndjson")
            yield from endless(b"{}\n" * 20 * KB)
        case "chunks":
            yield head(transfer_encoding="chunked")
            yield b"1\r\nx\r\n" * 500 * KB + b"0\r\n\r\n"  # of one byte each
        case "gzip":
            bomb = packed(b"a b " * 250 * KB, 200)  # 200 MB
            yield head(content_encoding="gzip", content_length=str(len(bomb))) + bomb
        case "gzip-events":
            yield head(kind=events, content_encoding="gzip")
            yield from inflating(tiny * 20, 31)
        case "deflate-events":
            yield head(kind=events, content_encoding="deflate")
            yield from inflating(tiny * 20, -15)
        case "gzip-of-nothing":
            yield head(content_encoding="gzip")
            yield zlib.compressobj(9, wbits=31).flush(zlib.Z_SYNC_FLUSH)
            yield from endless(b"\x00\x00\x00\xff\xff" * 13 * KB)  # blocks that are empty
        case "gzip-twice":
            yield head(content_encoding="gzip, gzip") + packed(packed(b"a" * MB, 100), 1)
        case "gzip-members":
            yield head(content_encoding="gzip")
            yield from endless(packed(b"", 1) * 3000)
        case "brotli":
            yield head(content_encoding="br") + b"\x00" * KB
        case "garbled":
            yield head(content_encoding="gzip") + b"not gzip at all"
        case "headers":
            yield b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * MB + b"\r\n\r\n{}"
        case "many-headers":
            yield b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(100 * KB)) + b"\r\n{}"
        case "deep":
            yield head() + b'{"a": ' + b"[" * 100 * KB + b"]" * 100 * KB + b"}"
        case "deep-error":
            yield head(400) + b'{"error": ' * 100 * KB
        case "keys":
            yield head() + b"{" + b"".join([b'"key%d":1,' % n for n in range(MB)]) + b'"end":1}'
        case "lists":
            yield head() + b'{"data": [' + b"[]," * 5 * MB + b"0]}"
        case "digits":
            yield head() + b'{"choices": [], "code": ' + b"1" * MB + b"}"
        case "digits-error":
            yield head(400) + b'{"error": {"message": "too many digits", "code": ' + b"1" * MB + b"}}"
        case "word":
            yield head(422) + b'{"detail": [{"msg": "not an image", "input": "' + b"iVBORw0KGgo" * 90 * KB + b'"}]}'
        case "bare-word":
            yield head(500, "text/plain") + b"x" * MB
        case "endless-error":
            yield head(500, "text/plain") + b"it is full "
            yield from endless(b"of words " * 7 * KB)
        case "gzip-error":
            yield head(500, "text/plain", content_encoding="gzip") + packed(b"it is full of words " * 50 * KB, 50)
        case "charset":
            yield head(500, "text/plain; charset=zlib") + packed(b"a b " * 250 * KB, 50, 15)
        case "slow-error":
            yield head(503, "text/plain") + b"it is full"
            yield from endless(b"")
        case "redirects":
            yield head(307, location=path)
        case _:
            raise ValueError(name)


def harmless(name: str) -> list[bytes]:
    """Return a proper response, where the name is not that of an attack."""
    answer = b'data: {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}\n\n'
    ready = {"health": head() + b"{}", "chosen": head(kind="text/event-stream") + answer + b"data: [DONE]\n\n"}
    return [ready[name]] if name in ready else []


ATTACKS = (
    "endless", "endless-line", "endless-events", "endless-comments", "endless-lines", "chunks", "gzip",
    "gzip-events", "deflate-events", "gzip-of-nothing", "gzip-twice", "gzip-members", "brotli", "garbled", "headers",
    "many-headers", "deep", "deep-error", "keys", "lists", "digits", "digits-error", "word", "bare-word",
    "endless-error", "gzip-error", "charset", "slow-error", "redirects",
)  # fmt: skip


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer one request."""
    with suppress(ConnectionError, asyncio.IncompleteReadError):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        sizes = [line.partition(":")[2] for line in lines if line.lower().startswith("content-length:")]
        body = await reader.readexactly(int(sizes[0]) if sizes else 0)
        path = lines[0].split()[1]
        name = path.split("/")[1]
        if name == "chosen":
            wanted = re.search(rb"attack:([a-z-]+)", body)
            name = wanted[1].decode() if wanted else name
        for piece in harmless(name) or attack(name, path):
            writer.write(piece or b".")
            await writer.drain()
            if not piece:
                await asyncio.sleep(SLOW_SECONDS)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def main(port: int) -> None:
    """Serve on loopback until the process is ended."""
    async with await asyncio.start_server(serve, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="")
    asyncio.run(main(parser.parse_args().port))
