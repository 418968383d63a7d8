"""What is too large, malformed or late on a connection ends its own call, and no other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.server import ServerConnection, unix_serve

from byzer_magic import errors
from byzer_magic.runtime.transport import client, messages, protocol, server
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import ChatChunk, ChatRequest, EmbedRequest, Message
from tests.waiting import PATIENCE

MB = 1024 * 1024


class Far:
    """A pool whose chat returns as many pieces of as many bytes as it is asked for, such as "3 1000"."""

    def __init__(self, folder: Path) -> None:
        self.produced = 0
        self.refused = 0
        self.hung = False
        self.long = ""
        self.cancelled = asyncio.Event()
        methods = {"chat": self.chat, "embed": self.hang, "stat": self.odd, "logs": self.refuse}
        self.server = Server(methods, path=folder / "pool.sock", host="127.0.0.1", token="right")

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        count, size = map(int, str(request.messages[0].content).split())
        for _ in range(count):
            self.produced += size
            yield ChatChunk("x" * size)
            await asyncio.sleep(0)

    async def hang(self, _: Any) -> AsyncIterator[None]:
        self.hung = True
        try:
            await asyncio.sleep(3600)
            yield None
        finally:
            self.cancelled.set()

    async def odd(self, _: Any) -> AsyncIterator[Any]:
        yield {"an item": "of another method"}

    async def refuse(self, _: Any) -> AsyncIterator[str]:
        self.refused += 1
        if self.long:
            raise errors.RateLimited(self.long)
        raise errors.RateLimited("x" * 40 * MB, body=b"y" * 40 * MB, cause=object(), message="m")
        yield ""

    async def find(self) -> protocol.Endpoint:
        return self.server.endpoint("node")


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    far = Far(tmp_path)
    await far.server.start(tcp=False)
    yield far
    far.server.stop()


@pytest.fixture
async def link(far: Far) -> AsyncIterator[Link]:
    link = Link("m", far.find)
    yield link
    await link.close()


@pytest.fixture
async def raw(far: Far) -> AsyncIterator[ClientConnection]:
    """A connection whose frames the test writes and reads."""
    endpoint = far.server.endpoint("")
    token = {"Authorization": f"Bearer {endpoint.token}"}
    async with unix_connect(endpoint.path, "ws://x/", additional_headers=token, max_size=None, max_queue=1) as raw:
        yield raw


def request(count: int, size: int, more: str = "") -> ChatRequest:
    return ChatRequest(messages=[Message("user", f"{count} {size}"), Message("user", more)])


def call(number: int, count: int, size: int) -> bytes:
    return protocol.write([protocol.Call(number, "chat", protocol.pack(request(count, size)))])


async def sizes(link: Link, count: int, size: int) -> list[int]:
    return [len(item.text) async for item in link.stream("chat", request(count, size))]


async def test_item_over_the_limit_fails_its_own_call(link: Link) -> None:
    async with aclosing(link.stream("chat", request(2000, 10))) as other:  # type: ignore[type-var]  # a generator
        await anext(other)
        connection = link._connection
        with pytest.raises(errors.RequestError, match="has 42 MB, more than the 33 MB"):
            await sizes(link, 1, 40 * MB)
        assert len([item async for item in other]) == 1999
    assert await sizes(link, 1, 31 * MB) == [31 * MB]
    assert link._connection is connection, "it is the same connection all the time"


async def test_request_over_the_limit_fails_its_own_call(link: Link) -> None:
    async with aclosing(link.stream("chat", request(2000, 10))) as other:  # type: ignore[type-var]  # a generator
        await anext(other)
        with pytest.raises(errors.CommandError, match="has 42 MB without its images"):
            await link.call("chat", request(1, 1, "x" * 40 * MB))
        assert len([item async for item in other]) == 1999
    assert await link.call("chat", request(1, 1, "x" * 31 * MB)) == ChatChunk("x")


async def test_error_that_cannot_be_sent_is_sent_in_short(link: Link) -> None:
    with pytest.raises(errors.RateLimited) as caught:
        await link.call("logs", messages.LogsRequest(1))
    assert caught.value.message == "x" * protocol.SHORT_ERROR
    assert await sizes(link, 1, 1) == [1]


async def test_item_that_cannot_be_read_fails_its_own_call(link: Link) -> None:
    async with aclosing(link.stream("chat", request(2000, 10))) as other:  # type: ignore[type-var]  # a generator
        await anext(other)
        with pytest.raises(errors.MalformedResponse, match="a part of the response cannot be read"):
            await link.call("stat")
        assert len([item async for item in other]) == 1999


async def test_messages_have_about_a_megabyte(raw: ClientConnection) -> None:
    for number in range(20):
        await raw.send(call(number, 30, 200_000))
    done, received, largest = 0, 0, 0
    while done < 20:
        message = await asyncio.wait_for(raw.recv(decode=False), PATIENCE)
        largest = max(largest, len(message))
        for frame in protocol.read_answers(message):
            done += isinstance(frame, protocol.Done)
            received += isinstance(frame, protocol.Item)
    assert received == 600
    assert largest <= protocol.BATCH_BYTES


async def test_calls_wait_for_a_client_that_does_not_read(raw: ClientConnection, far: Far) -> None:
    count = 20
    for number in range(count):
        await raw.send(call(number, 1000, 500_000))  # 10 GB in all
    before = -1
    while far.produced != before:
        before = far.produced
        await asyncio.sleep(0.5)
    # unsent, with one piece that each call has made, and what the sockets and the client hold
    assert far.produced < server.HIGH_WATER_BYTES + (count + 1) * 500_000 + 8 * MB
    for number in range(count):
        await raw.send(protocol.write([protocol.Cancel(number)]))
    raw.transport.abort()


async def test_call_waits_for_its_reader_and_others_do_not(link: Link, far: Far) -> None:
    async with aclosing(link.stream("chat", request(1000, 100_000))) as unread:  # type: ignore[type-var]  # a generator
        await anext(unread)
        before = -1
        while far.produced != before:
            before = far.produced
            await asyncio.sleep(0.2)
        # What waits for the reader, and what was on its way when the pool was told.
        assert far.produced < client.HELD_BYTES + server.HIGH_WATER_BYTES + 4 * MB
        assert await sizes(link, 20, 100_000) == [100_000] * 20
        before = far.produced
        for _number in range(200):
            await anext(unread)
        assert far.produced > before, "it goes on when its reader does"
    assert await sizes(link, 1, 1) == [1]


async def test_calls_that_are_read_slowly_arrive_complete(link: Link) -> None:
    async def slow(size: int) -> int:
        received = 0
        async for item in link.stream("chat", request(300, size)):
            received += len(item.text)
            if received % 10 == 0:
                await asyncio.sleep(0)
        return received

    asked = (1, 10_000, 30_000, 60_000)
    assert await asyncio.gather(*(slow(size) for size in asked)) == [300 * size for size in asked]


async def test_many_calls_in_one_message_stop_no_other_client(raw: ClientConnection, link: Link, far: Far) -> None:
    await link.call("chat", request(1, 1))
    count, before = 3000, far.produced
    calls = [protocol.Call(number, "chat", protocol.pack(request(1, 1))) for number in range(count)]
    await raw.send(protocol.write(calls))
    while far.produced == before:
        await asyncio.sleep(0)
    await link.call("chat", request(1, 1))
    assert far.produced < before + count, "it was served before all of them were"


async def test_calls_that_fail_wait_for_a_client_that_does_not_read(raw: ClientConnection, far: Far) -> None:
    calls = [protocol.Call(number, "logs", protocol.pack(messages.LogsRequest(1))) for number in range(20)]
    raw.transport.pause_reading()
    far.long = "x" * 900_000
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            for _ in range(20):
                await raw.send(protocol.write(calls))
    assert far.refused < 30, "400 errors of a megabyte would be held"
    raw.transport.abort()


async def test_second_call_with_the_number_of_another_is_refused(raw: ClientConnection, far: Far) -> None:
    await raw.send(call(7, 500, 10))
    await raw.send(call(7, 1, 33))
    frames: list[protocol.ToClient] = []
    while not any(isinstance(frame, protocol.Done) for frame in frames):
        frames += protocol.read_answers(await asyncio.wait_for(raw.recv(decode=False), 10))
    refused = [frame for frame in frames if isinstance(frame, protocol.Fail)]
    assert len(refused) == 1
    assert "number 7 already" in errors.from_wire(refused[0].error).message
    assert sum(isinstance(frame, protocol.Item) for frame in frames) == 500
    assert far.produced == 5000, "the second one did not run"


async def test_link_ends_a_request_whose_pool_does_not_keep_the_timeout(
    link: Link, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (0.2, 2.0, PATIENCE):  # a busy machine may need longer until the pool has the request
        monkeypatch.setattr(client, "DEADLINE_SECONDS", seconds)
        with pytest.raises(errors.DeadlineExceeded, match=r"m did not finish within 0\.1 s"):
            await link.call("embed", EmbedRequest(texts=["x"], timeout=0.1))
        if far.hung:
            break
    await asyncio.wait_for(far.cancelled.wait(), PATIENCE)
    assert await sizes(link, 2, 3) == [3, 3]


async def test_link_ends_a_request_to_a_pool_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has stopped reads nothing: not the request, not its cancellation, not even the handshake."""
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 0.2)
    path = str(tmp_path / "pool.sock")
    hang = asyncio.Event()

    async def connected(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang.wait()
        writer.close()

    async def accepts(connection: ServerConnection) -> None:
        connection.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket
        await hang.wait()

    async def find() -> protocol.Endpoint:
        return protocol.Endpoint(path, "127.0.0.1", 0, "right", "", 0)

    large = EmbedRequest(texts=["x" * 20 * MB], timeout=0.1)
    async with await asyncio.start_unix_server(connected, path):
        with pytest.raises(errors.DeadlineExceeded):
            await asyncio.wait_for(Link("m", find).call("embed", large), PATIENCE)
        hang.set()
    Path(path).unlink()
    hang.clear()
    async with unix_serve(accepts, path, max_size=None, ping_interval=None, close_timeout=0.1):
        link = Link("m", find)
        with pytest.raises(errors.DeadlineExceeded):
            await asyncio.wait_for(link.call("embed", large), PATIENCE)
        assert link._connection is not None
        link._connection.transport.abort()
        hang.set()


async def test_message_that_cannot_be_read_ends_the_connection(tmp_path: Path) -> None:
    async def garbage(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(b"\x91\x93\x05\x01" + b"\x91" * 100_000)
        await connection.wait_closed()

    async def find() -> protocol.Endpoint:
        return protocol.Endpoint(path, "127.0.0.1", 0, "right", "", 0)

    path = str(tmp_path / "pool.sock")
    async with unix_serve(garbage, path, ping_interval=None):
        link = Link("m", find)
        with pytest.raises(errors.MalformedResponse, match="its message is damaged"):
            await asyncio.wait_for(sizes(link, 1, 1), PATIENCE)
        assert not link.connected
