"""Both ends of a Unix socket refuse another user: neither a right token nor a right path is enough."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import InvalidHandshake

from byzer_magic import errors
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.connecting import connect_to
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import ChatChunk, ChatRequest, Message
from tests.users import ALICE, BOB, as_user, needs_root, open_folder
from tests.waiting import PATIENCE

pytestmark = needs_root

TOKEN = "the-token-of-the-pool"
HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: pool\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may write, as no folder of ours is."""
    with open_folder() as folder:
        yield folder


def status_of(path: Path) -> str:
    """Return what a server answers to a client that knows the token."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        client.connect(str(path))
        client.sendall(HANDSHAKE.encode())
        return client.recv(4096).decode().partition("\r\n")[0].split()[1]


def test_server_refuses_another_user_who_knows_the_token(folder: Path) -> None:
    async def chat(_: ChatRequest) -> AsyncIterator[ChatChunk]:
        yield ChatChunk("hi")

    def answers(uid: int) -> dict[int, str]:
        """Return what the server of a user answers to each user."""
        path = folder / f"{uid}.sock"
        (heard, tell), (hear, stop) = os.pipe(), os.pipe()

        def serve() -> None:
            async def main() -> None:
                server = Server({"chat": chat}, path=path, host="127.0.0.1", token=TOKEN)
                await server.start(tcp=False)
                path.chmod(0o777)
                ended = asyncio.Event()
                asyncio.get_running_loop().add_reader(hear, ended.set)
                os.write(tell, b"up")
                await ended.wait()

            asyncio.run(main())

        serving = threading.Thread(target=as_user, args=(uid, serve))
        serving.start()
        try:
            assert select.select([heard], [], [], 30)[0], "it has started"
            return {client: as_user(client, lambda: status_of(path)) for client in (0, ALICE, BOB)}
        finally:
            os.write(stop, b"end")
            serving.join(30)
            for descriptor in (heard, tell, hear, stop):
                os.close(descriptor)

    assert answers(ALICE) == {0: "101", ALICE: "101", BOB: "403"}, "root could read the token anyway"
    assert answers(0) == {0: "101", ALICE: "403", BOB: "403"}


def test_client_tells_nothing_to_a_server_of_another_user(folder: Path) -> None:
    path, heard = folder / "pool.sock", []

    async def find() -> protocol.Endpoint:
        return protocol.Endpoint(str(path), "", 0, TOKEN, "node", 1)

    async def ask() -> None:
        async with asyncio.timeout(10):
            await Link("m", find).call("chat", ChatRequest(messages=[Message("user", "my secret prompt")]))

    with socket.socket(socket.AF_UNIX) as server:

        def listen() -> None:
            server.bind(str(path))
            server.listen()

        def accept() -> None:
            while True:
                try:
                    client, _address = server.accept()
                except OSError:
                    return
                with client:
                    client.settimeout(PATIENCE)
                    heard.append(client.recv(4096))

        as_user(ALICE, listen)
        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(errors.CannotConnect) as caught:
            asyncio.run(ask())
        assert caught.value.message == f"The socket {path} belongs to a process of user {ALICE}: nothing was sent."
        with pytest.raises((InvalidHandshake, EOFError)):
            asyncio.run(connect_to(protocol.Endpoint(str(path), "", 0, TOKEN, "node", 1, ALICE)))
        assert heard[0] == b""
        assert TOKEN.encode() in heard[1], "where that user's pool was meant, it is connected to"
        server.shutdown(socket.SHUT_RDWR)


def test_deployment_that_only_its_user_can_reach_is_named_at_once(folder: Path) -> None:
    """As where root has started a cluster of one node, which others join."""
    (folder / "private").mkdir(mode=0o700)
    path = folder / "private" / "pool.sock"

    def message(uid: int) -> str:
        async def find() -> protocol.Endpoint:
            return protocol.Endpoint(str(path), "", 0, TOKEN, "node", 1, uid)

        async def ask() -> None:
            async with asyncio.timeout(2):
                await Link("m", find).call("stat")

        try:
            asyncio.run(ask())
        except errors.CannotConnect as err:
            return str(err.message)
        except TimeoutError:
            return "waits for a restart"
        return ""

    expected = "The deployment runs as user root, whose processes alone can reach it on this machine."
    assert as_user(BOB, lambda: message(0)) == expected
    with socket.socket(socket.AF_UNIX) as server:
        (folder / "private").chmod(0o755)
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        assert as_user(BOB, lambda: message(0)) == expected, "nor where the folder is open"
    path.unlink()
    assert as_user(BOB, lambda: message(BOB)) == message(ALICE) == "waits for a restart"
