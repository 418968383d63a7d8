"""Requests that go on without their clients, as clients see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from byzer_magic import errors
from byzer_magic.runtime.transport.messages import (
    AnswersRequest,
    AttachRequest,
    KeepRequest,
    KeptAnswer,
    Piece,
    SessionRequest,
)
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Media, Message, SpeakRequest
from tests.pools import Pool

REQUEST = ChatRequest(messages=[Message("user", "Why is the sky blue?")])


class Provider:
    """Answers in pieces, as the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.closed = False
        self.given: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, _request: Any) -> AsyncIterator[Any]:
        self.asked += 1
        try:
            yield Dispatched(0, 0.0)
            while (item := await self.given.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True

    def give(self, *items: Any) -> None:
        for item in items:
            self.given.put_nowait(ChatChunk(item) if isinstance(item, str) else item)


async def asked(pool: Pool, about: KeepRequest, request: Any = REQUEST, method: str = "chat") -> AsyncIterator[Any]:
    """Return the response to a request that is kept, after its first item."""
    await pool.call("keep", about)
    items = pool.stream(method, request, about.id)
    assert isinstance(await anext(items), Dispatched)
    return items


async def listed(pool: Pool) -> list[KeptAnswer]:
    return [answer async for answer in pool.stream("answers", AnswersRequest())]


async def pieces(pool: Pool, identity: str, position: int = 0) -> list[Piece]:
    return [piece async for piece in pool.stream("attach", AttachRequest(identity, position))]


async def test_answer_goes_on_when_its_client_goes_and_others_get_all_of_it() -> None:
    provider = Provider()
    pool = Pool(provider)
    items = await asked(pool, KeepRequest("req_1", "/home"))
    provider.give("Be")
    assert await anext(items) == ChatChunk("Be")
    await items.aclose()  # type: ignore[attr-defined]  # a generator
    following = [asyncio.create_task(pieces(pool, "req_1", position)) for position in (0, 2)]
    provider.give("cause.", None)
    whole, rest = await asyncio.gather(*following)
    assert [piece.item for piece in whole] == [Dispatched(0, 0.0), ChatChunk("Be"), ChatChunk("cause."), None]
    assert [piece.item for piece in rest] == [ChatChunk("cause."), None]
    assert [piece.seconds for piece in whole] == sorted(piece.seconds for piece in whole)
    [answer] = await listed(pool)
    assert (answer.state, answer.words, answer.folder) == ("done", "Why is the sky blue?", "/home")
    assert answer.request == b""
    complete = await pool.call("answers", AnswersRequest("req_1"))
    assert msgspec.msgpack.decode(complete.request, type=ChatRequest) == REQUEST
    assert provider.asked == 1


async def test_a_request_that_was_not_announced_ends_with_its_client() -> None:
    provider = Provider()
    pool = Pool(provider)
    items = pool.stream("chat", REQUEST, "req_2")
    await anext(items)
    await items.aclose()  # type: ignore[attr-defined]  # a generator
    assert provider.closed
    assert await listed(pool) == []


async def test_cancel_ends_the_answer_and_keeps_what_arrived() -> None:
    provider = Provider()
    pool = Pool(provider)
    items = await asked(pool, KeepRequest("req_1", session="t"))
    provider.give("Be")
    await anext(items)
    assert await pool.call("cancel_answer", AnswersRequest("req_1")) is True
    with pytest.raises(errors.Cancelled):
        await anext(items)
    assert provider.closed
    assert (await listed(pool))[0].state == "cancelled"
    assert await pool.call("cancel_answer", AnswersRequest("req_1")) is False
    session = await pool.call("session", SessionRequest("t"))
    assert [message.content for message in session.messages] == ["Why is the sky blue?", "Be"]


async def test_failure_is_kept_behind_what_arrived() -> None:
    provider = Provider()
    pool = Pool(provider)
    items = await asked(pool, KeepRequest("req_1"))
    provider.give("Be", errors.ProviderUnavailable("It is down."))
    with pytest.raises(errors.ProviderUnavailable):
        _ = [item async for item in items]
    found: list[Any] = []
    with pytest.raises(errors.ProviderUnavailable):
        async for piece in pool.stream("attach", AttachRequest("req_1")):
            found.append(piece.item)  # noqa: PERF401 - of what came before the error
    assert found == [Dispatched(0, 0.0), ChatChunk("Be")]
    assert ((await listed(pool))[0].state, str((await listed(pool))[0].error)) == ("failed", "It is down.")


async def test_turn_is_added_to_its_session_once_though_nobody_follows() -> None:
    provider = Provider()
    pool = Pool(provider)
    request = ChatRequest(messages=[Message("user", "a"), Message("assistant", "A"), Message("user", "b")])
    items = await asked(pool, KeepRequest("req_1", session="t", turn=2), request)
    await items.aclose()  # type: ignore[attr-defined]  # a generator
    provider.give("B", None)
    await pieces(pool, "req_1")
    assert [turn.content for turn in (await pool.call("session", SessionRequest("t"))).messages] == ["a", "A", "b", "B"]
    provider.give("C", None)
    later = ChatRequest(messages=[*request.messages, Message("user", "c")])
    await asked(pool, KeepRequest("req_2", session="t", turn=3), later)
    await pieces(pool, "req_2")
    found = [turn.content for turn in (await pool.call("session", SessionRequest("t"))).messages]
    assert found == ["a", "A", "b", "B", "c", "C"]


async def test_large_media_of_a_request_are_not_kept() -> None:
    provider = Provider()
    pool = Pool(provider)
    image = Media("image/png", bytes(300_000))
    await asked(pool, KeepRequest("req_1"), ChatRequest(messages=[Message("user", [image, {"text": "What?"}])]))
    assert (await listed(pool))[0].size < 2000
    assert (await listed(pool))[0].words == "What?"


async def test_any_capability_is_kept() -> None:
    provider = Provider()
    pool = Pool(provider)
    await asked(pool, KeepRequest("req_1"), SpeakRequest(text="Hello"), "speak")
    [answer] = await listed(pool)
    assert (answer.capability, answer.words) == ("speak", "Hello")
