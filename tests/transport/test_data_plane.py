"""The socket between clients and a pool: multiplexing, cancel, authentication, hostile bytes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from byzer_magic import errors, request_ids
from byzer_magic.runtime.transport import attachments, messages, protocol, server
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.types import ChatChunk, ChatRequest, ImageItem, ImageRequest, Media, Message
from tests.waiting import PATIENCE, happens


class Far:
    """A service with a chat that counts, and knows how many of its answers are open."""

    def __init__(self, folder: Path) -> None:
        self.open = 0
        self.service = Server(
            {"chat": self.chat, "logs": self.boom, "image": self.image},
            path=folder / "pool.sock",
            host="127.0.0.1",
            token="right",
        )

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        self.open += 1
        try:
            for number in range(int(str(request.messages[0].content))):
                yield ChatChunk(str(number))
                await asyncio.sleep(0.001)
        finally:
            self.open -= 1

    async def image(self, request: ImageRequest) -> AsyncIterator[ImageItem]:
        for medium in request.images:
            yield ImageItem(caption=hashlib.sha256(medium.data).hexdigest())

    async def boom(self, _: messages.LogsRequest) -> AsyncIterator[str]:
        raise errors.RateLimited("too fast", "wait", retry_after=3.0)
        yield ""

    async def find(self) -> protocol.Endpoint:
        return self.service.endpoint("node")


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    far = Far(tmp_path)
    await far.service.start(tcp=True)
    yield far
    far.service.stop()


@pytest.fixture
async def link(far: Far) -> AsyncIterator[Link]:
    link = Link("m", far.find)
    yield link
    await link.close()


def ask(count: int) -> ChatRequest:
    return ChatRequest(messages=[Message("user", str(count))])


async def texts(link: Link, count: int) -> list[str]:
    return [chunk.text async for chunk in link.stream("chat", ask(count))]


@pytest.mark.parametrize("backlog", [1, server.BACKLOG])
async def test_many_clients_connect_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backlog: int) -> None:
    monkeypatch.setattr(server, "BACKLOG", backlog)
    far = Far(tmp_path)
    await far.service.start(tcp=False)
    links = [Link("m", far.find) for _ in range(150)]
    assert await asyncio.gather(*(texts(link, 1) for link in links)) == [["0"]] * len(links)
    await asyncio.gather(*(link.close() for link in links))
    far.service.stop()


async def test_link_yields_items_in_order(link: Link) -> None:
    assert await texts(link, 5) == ["0", "1", "2", "3", "4"]


async def test_concurrent_calls_share_one_connection(link: Link) -> None:
    answers = await asyncio.gather(*(texts(link, count) for count in range(1, 40)))
    assert answers == [[str(number) for number in range(count)] for count in range(1, 40)]


async def test_closing_the_iterator_cancels_the_call(link: Link, far: Far) -> None:
    async with aclosing(link.stream("chat", ask(100_000))) as items:
        await anext(items)
        assert far.open == 1
    assert await happens(lambda: far.open == 0)


async def test_closing_the_connection_cancels_its_calls(link: Link, far: Far) -> None:
    items = link.stream("chat", ask(100_000))
    await anext(items)
    await link.close()
    assert await happens(lambda: far.open == 0)
    with pytest.raises(errors.WorkerLost):
        async for _ in items:
            pass


async def test_calls_that_are_ended_say_why_and_others_go_on(link: Link, far: Far) -> None:
    link_of_others = Link("m", far.find)
    calls = [link.stream("chat", ask(100_000)), link_of_others.stream("chat", ask(100_000))]
    for items in calls:
        await anext(items)
    far.service.end_calls(["embed"], errors.NotDeployed("It goes on."))
    for items in calls:
        await anext(items)
    far.service.end_calls(["chat"], errors.NotDeployed("It was removed."))
    for items in calls:
        with pytest.raises(errors.NotDeployed, match="It was removed"):
            async for _ in items:
                pass
    assert await happens(lambda: far.open == 0)
    assert await texts(link, 3) == ["0", "1", "2"]
    await link_of_others.close()


async def test_error_crosses_the_socket_with_its_class_and_details(link: Link) -> None:
    with pytest.raises(errors.RateLimited, match="too fast") as caught:
        await link.call("logs", messages.LogsRequest(1))
    assert caught.value.details == {"retry_after": 3.0}
    assert caught.value.hint == "wait"


async def test_id_of_a_request_is_current_where_it_is_answered(
    far: Far, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.StreamHandler(written := io.StringIO())
    handler.setFormatter(request_ids.Formatter("%(message)s"))
    logging.getLogger("byzer_magic.server").addHandler(handler)
    request_ids.CURRENT.set("job-7")  # of the client's task, whose calls all have it
    try:
        for given in (None, "job-8", "job-9\nforged", ""):
            with pytest.raises(errors.RateLimited):
                async for _line in link.stream("logs", messages.LogsRequest(1), given):
                    pass
    finally:
        logging.getLogger("byzer_magic.server").removeHandler(handler)
    failed = "logs failed: RateLimited: too fast"
    assert written.getvalue().splitlines() == [f"{failed} (job-7)", f"{failed} (job-8)", failed, failed]


async def test_link_connects_over_tcp(far: Far) -> None:
    endpoint = far.service.endpoint("node")

    async def find() -> protocol.Endpoint:
        return msgspec.structs.replace(endpoint, path="")

    link = Link("m", find)
    assert await texts(link, 2) == ["0", "1"]
    await link.close()


async def test_server_refuses_a_wrong_token(far: Far) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await unix_connect(far.service.endpoint("").path, "ws://x/", additional_headers={"Authorization": "Bearer no"})
    assert caught.value.response.status_code == 401


async def test_socket_is_accessible_to_its_owner_only(far: Far) -> None:
    assert Path(far.service.endpoint("").path).stat().st_mode & 0o777 == 0o600


HOSTILE = {
    "not msgpack": b"\xff\x00garbage",
    "truncated frame": protocol.write([protocol.Call(1, "chat", protocol.pack(ask(3)))])[:-4],
    "unknown frame": b"\x91\x92\x63\x01",
    "text": "hello",
    "medium without a beginning": protocol.write([protocol.AttachmentChunk("a", 5, 10, b"12345")]),
    "medium larger than announced": protocol.write([protocol.AttachmentChunk("a", 0, 2, b"12345")]),
    "medium of no size": protocol.write([protocol.AttachmentChunk("a", 0, -1, b"")]),
    "medium without end": protocol.write([protocol.AttachmentChunk("a", 0, 2**50, b"1")]),
    "medium with another name half way": protocol.write(
        [protocol.AttachmentChunk("a", 0, 4, b"12"), protocol.AttachmentChunk("b", 2, 4, b"34")]
    ),
    "medium named by a number": msgspec.msgpack.encode([[6, 7, 0, 1, b"1"]]),
    "medium named in a call only": protocol.write(
        [protocol.Call(1, "image", protocol.pack(None), ["../../etc/passwd"])]
    ),
    "oversized": b"\x00" * (protocol.MAX_MESSAGE_BYTES + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_malformed_bytes_close_only_their_connection(name: str, far: Far, link: Link) -> None:
    innocent = link.stream("chat", ask(300))
    await anext(innocent)
    endpoint = far.service.endpoint("")
    token = {"Authorization": f"Bearer {endpoint.token}"}
    hostile = await unix_connect(endpoint.path, "ws://x/", additional_headers=token, max_size=None, compression=None)
    with pytest.raises(ConnectionClosed):
        await hostile.send(HOSTILE[name])
        await asyncio.wait_for(hostile.recv(), PATIENCE)
    assert len([chunk async for chunk in innocent]) == 299


async def test_server_drops_bytes_that_are_not_a_handshake(far: Far, link: Link) -> None:
    raw = socket.socket(socket.AF_UNIX)
    raw.connect(far.service.endpoint("").path)
    raw.sendall(b"\x16\x03\x01 not http at all \r\n\r\n")
    raw.settimeout(PATIENCE)
    reply = await asyncio.to_thread(raw.recv, 1024)
    assert not reply or b"400" in reply
    raw.close()
    assert await texts(link, 2) == ["0", "1"]


async def test_malformed_call_fails_alone(far: Far, link: Link) -> None:
    endpoint = far.service.endpoint("")
    token = {"Authorization": f"Bearer {endpoint.token}"}
    raw = await unix_connect(endpoint.path, "ws://x/", additional_headers=token)
    await raw.send(
        protocol.write(
            [protocol.Call(1, "no_such_method", protocol.pack(None)), protocol.Call(2, "chat", protocol.pack(7))]
        )
    )
    failed: list[object] = []
    while len(failed) < 2:
        message = await asyncio.wait_for(raw.recv(decode=False), PATIENCE)
        failed += protocol.read_answers(message)
    assert all(isinstance(frame, protocol.Fail) for frame in failed)
    await raw.close()


# ---- media


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[protocol.AttachmentChunk]:
    """The pieces of media that have been sent."""
    found: list[protocol.AttachmentChunk] = []
    chunks = attachments.chunks

    def noted(digest: str, data: bytes) -> Iterator[protocol.AttachmentChunk]:
        for piece in chunks(digest, data):
            found.append(piece)
            yield piece

    monkeypatch.setattr(attachments, "chunks", noted)
    return found


async def seen(link: Link, *blobs: bytes) -> list[str]:
    request = ImageRequest(prompt="x", images=[Media("image/png", data) for data in blobs])
    return [item.caption async for item in link.stream("image", request)]


def digests(*blobs: bytes) -> list[str]:
    return [hashlib.sha256(data).hexdigest() for data in blobs]


async def test_large_image_is_sent_once_for_many_requests(link: Link, sent: list[protocol.AttachmentChunk]) -> None:
    large, small = bytes(range(256)) * 20_000, b"small"
    assert await seen(link, large, small) == digests(large, small)
    assert sum(len(piece.data) for piece in sent) == len(large)
    assert await seen(link, large) == digests(large)
    assert sum(len(piece.data) for piece in sent) == len(large)


async def test_new_connection_sends_attachments_again(link: Link, sent: list[protocol.AttachmentChunk]) -> None:
    large = b"x" * 3_000_000
    await seen(link, large)
    await link.close()
    assert await seen(link, large) == digests(large)
    assert sum(len(piece.data) for piece in sent) == 2 * len(large)


async def test_tokens_interleave_with_attachment_chunks(link: Link, sent: list[protocol.AttachmentChunk]) -> None:
    await texts(link, 1)  # connect
    sending = asyncio.create_task(seen(link, b"y" * 60_000_000))
    while not sent:
        await asyncio.sleep(0)
    assert await texts(link, 1) == ["0"]
    assert len(sent) < 58, "most of the audio is still to come"
    assert await sending == digests(b"y" * 60_000_000)


async def test_image_in_a_conversation_is_sent_with_the_first_request_only(link: Link, far: Far) -> None:
    asked: list[ChatRequest] = []
    sizes: list[int] = []

    async def chat(request: ChatRequest) -> AsyncIterator[ChatChunk]:
        asked.append(request)
        yield ChatChunk("yes")

    far.service._methods["chat"] = chat
    photo = Media("image/png", bytes(range(256)) * 20_000, detail="low")
    first = [Message("user", [{"type": "text", "text": "what is it?"}, photo])]
    await link._connect()
    connection = link._connection
    assert connection is not None
    send = connection.send

    async def counted(message: bytes) -> None:
        sizes.append(len(message))
        await send(message)

    connection.send = counted  # type: ignore[method-assign]
    for turns in (first, [*first, Message("assistant", "a cat"), Message("user", "sure?")]):
        request = ChatRequest(messages=turns)
        before = sum(sizes)
        assert [item.text async for item in link.stream("chat", request)] == ["yes"]
        assert asked[-1] == request
        sent_now = sum(sizes) - before
        assert sent_now > len(photo.data) if turns is first else sent_now < 1000


async def test_link_reconnects_after_a_connection_lost_half_way(
    link: Link, far: Far, sent: list[protocol.AttachmentChunk]
) -> None:
    large = bytes(range(256)) * 100_000
    sending = asyncio.create_task(seen(link, large))
    while len(sent) < 3:
        await asyncio.sleep(0)
    assert link._connection is not None
    link._connection.transport.abort()
    with pytest.raises(errors.WorkerLost):
        await sending
    before = len(sent)
    assert await seen(link, large) == digests(large)
    assert sum(len(piece.data) for piece in sent[before:]) == len(large)


async def test_evicted_attachment_is_sent_again(
    link: Link, sent: list[protocol.AttachmentChunk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attachments, "CACHE_BYTES", 1_000_000)
    blobs = [bytes([number]) * 400_000 for number in range(3)]
    for number, pieces in ((0, 1), (1, 2), (0, 2), (2, 3), (0, 3), (1, 4), (0, 4)):
        assert await seen(link, blobs[number]) == digests(blobs[number])
        assert len(sent) == pieces, f"{number} was the least recently used, or was not"
    assert await seen(link, *blobs) == digests(*blobs), "one request may have more than is kept"


async def test_attachment_cancelled_half_way_is_sent_from_its_start(
    link: Link, sent: list[protocol.AttachmentChunk]
) -> None:
    large = b"z" * 40_000_000
    sending = asyncio.create_task(seen(link, large))
    while not sent:
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    assert await seen(link, large) == digests(large)


async def test_calls_that_are_made_together_share_a_message(link: Link) -> None:
    await texts(link, 1)  # connect
    connection = link._connection
    assert connection is not None
    send, sizes = connection.send, list[int]()

    async def counted(message: bytes) -> None:
        sizes.append(len(message))
        await send(message)

    connection.send = counted  # type: ignore[method-assign]
    assert await asyncio.gather(*(texts(link, 1) for _ in range(20))) == [["0"]] * 20
    assert len(sizes) == 1


async def test_missing_attachment_closes_only_its_connection(far: Far, link: Link) -> None:
    hostile = Link("h", far.find)
    with pytest.raises(errors.WorkerLost):
        outbox = await hostile._connect()
        outbox.put(protocol.Call(99, "image", protocol.pack(ImageRequest(prompt="x")), ["nobody"]))
        await texts(hostile, 1_000_000)
    assert await texts(link, 2) == ["0", "1"]
    await hostile.close()


async def test_link_falls_back_to_tcp_from_the_socket_of_a_killed_worker(far: Far, tmp_path: Path) -> None:
    """It has come back on another node; the file of its socket here stays behind."""
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))

    async def find() -> protocol.Endpoint:
        return msgspec.structs.replace(far.service.endpoint("node"), path=str(stale))

    link = Link("m", find)
    assert await texts(link, 2) == ["0", "1"]
    await link.close()
