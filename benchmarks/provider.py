"""The smallest provider with the OpenAI chat completions API, so that a benchmark measures its clients and not it.

    python benchmarks/provider.py        # prints its port, serves until its stdin ends

The prompt selects the response: ``wait:50`` answers after 50 ms; ``tokens:100@50`` has 100 tokens, 50 a second when
it is streamed; ``words:100@50`` is the same, or without streaming one response that comes as late. A streamed token is
the time it was sent at, in ns of CLOCK_MONOTONIC, which all processes here share.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import cast

KNOBS = re.compile(rb"(?:wait:(\d+))|(?:tokens:(\d+)@(\d+))|(?:words:(\d+)@(\d+))")
STREAMED = re.compile(rb'"stream": ?true')
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD = b'{"id":"chatcmpl-1","object":"chat.completion%s","created":1,"model":"tiny",'
EVENT = b"data: " + HEAD % b".chunk" + b'"choices":[{"index":0,"delta":{%s},"logprobs":null,"finish_reason":%s}]%s}\n\n'
COMPLETE = HEAD % b"" + (
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"Hello from the provider.","refusal":null},'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'
)
HEADERS = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
REPLY = HEADERS % (len(COMPLETE), COMPLETE)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = b',"usage":{"prompt_tokens":7,"completion_tokens":%d,"total_tokens":0}'


def chunk(data: bytes) -> bytes:
    """Return a piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Client(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if found and len(body) >= (int(length[1]) if length else 0):
            self._received = b""
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        knobs = KNOBS.search(body)
        wait, tokens, rate, words, pace = (int(text or 0) for text in knobs.groups()) if knobs else (0,) * 5
        if words and not STREAMED.search(body):
            text = b"%d " % time.monotonic_ns() * words
            reply = COMPLETE.replace(b"Hello from the provider.", text)
            self._loop.call_later(words / pace, self._transport.write, HEADERS % (len(reply), reply))
        elif count := tokens or words:
            self._transport.write(STREAM + chunk(EVENT % (b'"role":"assistant","content":""', b"null", b"")))
            self._token(self._loop.time(), 0, count, rate or pace)
        elif wait:
            self._loop.call_later(wait / 1000, self._transport.write, REPLY)
        else:
            self._transport.write(REPLY)

    def _token(self, started: float, number: int, count: int, rate: int) -> None:
        """Send token `number` and plan the next one: at its own time, however late this one was."""
        if self._transport.is_closing():
            return
        if number < count:
            self._transport.write(chunk(EVENT % (b'"content":"%d "' % time.monotonic_ns(), b"null", b"")))
            self._loop.call_at(started + (number + 1) / rate, self._token, started, number + 1, count, rate)
        else:
            end = chunk(EVENT % (b"", b'"stop"', USAGE % count)) + chunk(b"data: [DONE]\n\n")
            self._transport.write(end + b"0\r\n\r\n")


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Client, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)  # ends with the parent process


if __name__ == "__main__":
    try:  # takes less of the cores that are shared with what is measured
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(main())
