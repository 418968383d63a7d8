"""From a prompt to a result, with a deployment that only plays back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic.capabilities import Capability
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.manager import Manager
from byzer_magic.errors import CommandError, DeadlineExceeded, RateLimited
from byzer_magic.types import ChatChunk, ChatRequest, EmbedRequest, Message, Request, SpeakRequest
from tests.exchanges import Scripted, exchange, interrupt
from tests.waiting import PATIENCE

CHAT = ChatRequest(messages=[])


class Deployed(Manager):
    """A manager of one model with given capabilities."""

    def __init__(self, *capabilities: Capability) -> None:
        super().__init__()
        self._can = frozenset(capabilities)

    async def capabilities(self, _alias: str) -> frozenset[Capability]:
        return self._can

    async def ask(self, alias: str, request: Request) -> AsyncIterator[Any]:
        async for item in Scripted(ChatChunk("hi")).ask(alias, request):
            yield item


async def test_aconverse_builds_the_request_of_the_models_purpose() -> None:
    speaking = await aconverse(Deployed(Capability.SPEAK), "m", "hello", options={"voice": "nova"})
    assert speaking.request == SpeakRequest(text="hello", options={"voice": "nova"})
    embedding = await aconverse(Deployed(Capability.EMBED), "m", "hello", timeout=3)
    assert embedding.request == EmbedRequest(texts=["hello"], timeout=3)
    chatting = await aconverse(Deployed(Capability.CHAT, Capability.VISION), "m", "hello", system="short", stream=False)
    assert chatting.request == ChatRequest(
        messages=[Message("system", "short"), Message("user", "hello")], stream=False
    )


async def test_aconverse_asks_for_a_given_capability() -> None:
    found = await aconverse(Deployed(Capability.SPEAK), "m", "hello", capability=Capability.CHAT)
    assert isinstance(found.request, ChatRequest)


async def test_aconverse_refuses_a_prompt_without_what_the_model_needs() -> None:
    with pytest.raises(CommandError, match="audio"):
        await aconverse(Deployed(Capability.TRANSCRIBE), "m", "hello")


async def test_aconverse_waits_no_longer_than_the_timeout_for_a_model_that_is_loading() -> None:
    class Loading(Deployed):
        async def capabilities(self, _alias: str) -> frozenset[Capability]:
            await asyncio.sleep(3600)
            return frozenset()

    with pytest.raises(DeadlineExceeded, match=r"m was not ready within 0\.05 s"):
        await asyncio.wait_for(aconverse(Loading(), "m", "hello", timeout=0.05), PATIENCE)


async def test_exchange_is_sent_only_when_it_is_drained() -> None:
    found = await aconverse(Deployed(Capability.CHAT), "m", "hello")
    assert found.collector.result().output == ""
    assert str(await found.run()) == "hi"


def test_exchange_wait_shows_each_item_after_it_was_collected() -> None:
    found, shown = exchange(CHAT, ChatChunk("a"), ChatChunk("b")), []
    result = found.wait(lambda item: shown.append(type(item).__name__))
    assert (str(result), shown) == ("ab", ["Dispatched", "ChatChunk", "ChatChunk"])


def test_exchange_wait_returns_what_had_arrived_when_interrupted() -> None:
    result = exchange(CHAT, ChatChunk("a")).wait(interrupt)
    assert (result.interrupted, result.worker) == (True, 1)


async def test_exchange_run_keeps_what_had_arrived_in_the_error() -> None:
    found = exchange(CHAT, ChatChunk("so far"), RateLimited("no more"))
    with pytest.raises(RateLimited) as caught:
        await found.run()
    assert (caught.value.partial.text, caught.value.partial.interrupted) == ("so far", True)


async def test_exchange_run_closes_the_response_when_showing_fails() -> None:
    closed = []

    class Closing:
        async def ask(self, _alias: str, _request: Request, /) -> AsyncIterator[Any]:
            try:
                yield ChatChunk("a")
            finally:
                closed.append(True)

    with pytest.raises(ZeroDivisionError):
        await Exchange(Closing(), "m", CHAT).run(lambda _item: 1 // 0)
    assert closed
