"""A client that reads nothing, behind a real pool's socket: the pool stops for it, and goes on for others."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.transport import client, protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import HIGH_WATER_BYTES, Server
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request
from tests.endpoints import Running, Scripted, running
from tests.unit.gateway.test_bad_input import GOOD, send

PIECE = 20_000
KERNEL_BYTES = 16 * 1024 * 1024
"""What the sockets on the way may hold."""
ALL = 100_000_000


class Pooled(Scripted):
    """Deployments behind a pool's socket."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.produced = 0
        self.server = Server({"chat": self.chat}, path=folder / "p.sock", host="127.0.0.1", token="t")
        self.link = Link("m", self.find)

    async def find(self) -> protocol.Endpoint:
        return self.server.endpoint("")

    async def chat(self, request: ChatRequest) -> AsyncIterator[Any]:
        long = request.stream
        yield Dispatched(0, 0.0)
        for _number in range(ALL // PIECE if long else 1):
            self.produced += PIECE if long else 0
            yield ChatChunk("x" * PIECE)
            await asyncio.sleep(0)
        yield ChatChunk(finish="stop")

    async def ask(self, alias: str, request: Request, /) -> AsyncIterator[Any]:
        async with aclosing(self.link.stream("chat", request)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                yield item


def unread(endpoint: Running) -> socket.socket:
    """Return the connection of a client that has asked for a stream, and reads nothing."""
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect((host, int(port)))
    body = json.dumps({"model": "m", "stream": True, **GOOD["/v1/chat/completions"]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
    found.sendall(head.encode() + body)
    return found


def test_client_that_reads_nothing_holds_its_own_answer_only(tmp_path: Path) -> None:
    pooled = Pooled(tmp_path)
    LOOP.run(pooled.server.start(tcp=False))
    try:
        with running(pooled) as endpoint, unread(endpoint):
            before = -1
            while pooled.produced != before:
                before = pooled.produced
                time.sleep(0.3)
            most = client.HELD_BYTES + HIGH_WATER_BYTES + KERNEL_BYTES
            assert 0 < pooled.produced < most < ALL
            body = json.dumps({"model": "m", **GOOD["/v1/chat/completions"]}).encode()
            assert send(endpoint, "/v1/chat/completions", body)[0] == 200
            assert pooled.produced < most
    finally:
        LOOP.run(pooled.link.close())
        pooled.server.stop()
