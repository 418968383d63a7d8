"""Between nodes: only who has a certificate of the cluster is told anything, and nobody in between can read it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from byzer_magic import __version__, errors
from byzer_magic.runtime.transport import protocol, tcp, tls
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import ChatChunk, ChatRequest, Message
from tests.waiting import PATIENCE

HOST = "127.0.0.1"
TOKEN = "planted-token-71"
PROMPT = "planted-prompt-94"


class Node:
    """A server whose Unix socket is out of reach, as that of another machine is."""

    def __init__(self, folder: Path, authority: tls.Authority, host: str = HOST) -> None:
        self.prompts: list[Any] = []
        self._authority = authority
        self._certified_for = host
        self.server = Server(
            {"chat": self.chat}, path=folder / "pool.sock", host=HOST, token=TOKEN, identify=self.identity
        )

    async def identity(self, host: str) -> tls.Identity:
        assert host == HOST
        pair = tls.key_pair(self._certified_for)
        certified = tls.certify(self._authority, pair.request)
        return tls.Identity(certified.certificate, pair.key, certified.authority)

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        self.prompts.append(request.messages[0].content)
        yield ChatChunk("planted-answer-38")

    def endpoint(self, **changes: Any) -> protocol.Endpoint:
        return msgspec.structs.replace(self.server.endpoint("node"), path="", **changes)


@pytest.fixture
def authority() -> tls.Authority:
    return tls.new_authority()


@pytest.fixture
async def node(tmp_path: Path, authority: tls.Authority) -> AsyncIterator[Node]:
    node = Node(tmp_path, authority)
    await node.server.start(tcp=True)
    yield node
    node.server.stop()


async def ask(endpoint: protocol.Endpoint) -> list[ChatChunk]:
    async def find() -> protocol.Endpoint:
        return endpoint

    link = Link("m", find)
    try:
        return [chunk async for chunk in link.stream("chat", ChatRequest(messages=[Message("user", PROMPT)]))]
    finally:
        await link.close()


@asynccontextmanager
async def relay(port: int) -> AsyncIterator[tuple[int, bytearray]]:
    """Pass bytes on to a port, both ways; yields the port to connect to, and all bytes that have passed."""
    seen = bytearray()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            seen.extend(data)
            writer.write(data)
        writer.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(HOST, port)
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(pass_on, HOST, 0)
    try:
        yield server.sockets[0].getsockname()[1], seen
    finally:
        server.close()


async def test_nobody_between_two_nodes_reads_prompt_answer_or_token(node: Node) -> None:
    async with relay(node.endpoint().port) as (port, seen):
        assert [chunk.text for chunk in await ask(node.endpoint(port=port))] == ["planted-answer-38"]
    assert len(seen) > 1000
    for secret in (PROMPT, "planted-answer-38", TOKEN):
        assert secret.encode() not in seen


async def test_client_tells_nothing_to_a_server_of_another_authority(node: Node) -> None:
    stranger = tls.new_authority().certificate
    async with relay(node.endpoint().port) as (port, seen):
        with pytest.raises(errors.CannotConnect, match="no certificate of its cluster"):
            await asyncio.wait_for(ask(node.endpoint(port=port, authority=stranger)), PATIENCE)
    assert TOKEN.encode() not in seen
    assert not node.prompts


async def test_certificate_of_another_node_is_refused(tmp_path: Path, authority: tls.Authority) -> None:
    node = Node(tmp_path, authority, host="10.9.8.7")
    await node.server.start(tcp=True)
    try:
        with pytest.raises(errors.CannotConnect, match="no certificate of its cluster"):
            await asyncio.wait_for(ask(node.endpoint()), PATIENCE)
    finally:
        node.server.stop()


async def test_plain_text_is_refused_by_both_ends(node: Node) -> None:
    endpoint = node.endpoint()
    with pytest.raises((InvalidHandshake, OSError, EOFError)):
        await connect(
            f"ws://{HOST}:{endpoint.port}/", proxy=None, additional_headers={"Authorization": f"Bearer {TOKEN}"}
        )
    with pytest.raises(errors.CannotConnect, match="offers no TLS"):
        await ask(node.endpoint(authority=""))
    assert not node.prompts
    assert await ask(endpoint), "and it still answers"


async def test_server_opens_one_port_however_many_ask_for_it(tmp_path: Path, authority: tls.Authority) -> None:
    node = Node(tmp_path, authority)
    await node.server.start(tcp=False)
    try:
        assert node.endpoint().port == 0
        await asyncio.gather(*(node.server.listen_on_tcp() for _ in range(5)))
        assert len(node.server._servers) == 2
        assert await ask(node.endpoint())
    finally:
        node.server.stop()


async def test_both_ends_notice_that_the_other_machine_has_gone(node: Node) -> None:
    """The kernel asks for a sign of life on both: a process that is busy loading a model gives none by itself."""
    [listening] = node.server._servers[1].sockets
    own = await tcp.connected(HOST, node.endpoint().port, 5)
    try:
        for each in (own, listening):  # connections inherit it
            assert each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == tcp.ASK_SECONDS
            assert each.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == tcp.GONE_SECONDS * 1000
    finally:
        own.close()


async def test_another_version_is_named_before_anything_is_sent(node: Node) -> None:
    with pytest.raises(errors.CannotConnect, match=f"m runs byzer-magic 9.9.9 on {HOST}, this process has ") as caught:
        await ask(node.endpoint(version="9.9.9"))
    assert str(caught.value).count(__version__) == 1
    assert not node.prompts


def test_nothing_shows_a_private_key(authority: tls.Authority) -> None:
    pair = tls.key_pair("node-7.example")
    certified = tls.certify(authority, pair.request)
    shown = repr([authority, pair, certified, tls.Identity(certified.certificate, pair.key, certified.authority)])
    assert "PRIVATE" not in shown
    assert "PRIVATE" not in certified.certificate + certified.authority
    with pytest.raises(ValueError, match="PEM"):
        tls.certify(authority, "no request")
