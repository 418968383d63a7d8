"""What a client receives of a response that it does not show as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.client.collect import ChatCollector
from byzer_magic.runtime import gather
from byzer_magic.runtime.gather import Gathering, joined
from byzer_magic.types import ChatChunk, ChatRequest, EmbeddingBatch, EmbedRequest, Item, Request, Usage

COMPLETE = ChatRequest(messages=[], stream=False)
WORDS = [ChatChunk(word) for word in ["a", "b", "c", "d"]]


async def response(*items: Item, error: Exception | None = None) -> AsyncIterator[Item]:
    for item in items:
        yield item
    if error is not None:
        raise error


async def passed(request: Request, *items: Item) -> list[Item]:
    return [item async for item in Gathering(request).items(response(*items))]


async def test_gathering_passes_the_first_delta_at_once_and_the_others_together() -> None:
    assert await passed(COMPLETE, *WORDS, ChatChunk(finish="stop")) == [ChatChunk("a"), ChatChunk("bcd", finish="stop")]


async def test_gathering_passes_what_came_when_it_has_been_held_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "HOLD_SECONDS", 0.0)
    assert await passed(COMPLETE, *WORDS) == WORDS


async def test_gathering_holds_nothing_of_other_responses() -> None:
    assert await passed(ChatRequest(messages=[]), *WORDS) == WORDS
    batches = [EmbeddingBatch(index, 1, bytes(4)) for index in range(3)]
    assert await passed(EmbedRequest(texts=["a"]), *batches) == batches


async def test_gathering_passes_what_came_before_an_error() -> None:
    seen = []
    items = Gathering(COMPLETE).items(response(*WORDS, error=errors.ProviderUnavailable("closed")))
    with pytest.raises(errors.ProviderUnavailable):
        async for item in items:
            seen.append(item)  # noqa: PERF401 - the list must keep what came before the error
    assert seen == [ChatChunk("a"), ChatChunk("bcd")]


async def test_gathering_has_the_rest_when_it_is_closed() -> None:
    gathering, closed = Gathering(COMPLETE), []

    async def endless() -> AsyncIterator[Item]:
        try:
            for word in WORDS:
                yield word
            yield ChatChunk("e", extra={"id": "1"})
            gathering.rest()
            for word in WORDS:
                yield word
        finally:
            closed.append(True)

    async with aclosing(gathering.items(endless())) as items:
        assert await anext(items) == ChatChunk("a")
    assert closed == [True]


chunks = st.builds(
    ChatChunk,
    text=st.text(max_size=3),
    reasoning=st.text(max_size=3),
    finish=st.sampled_from([None, None, "stop", "length"]),
    usage=st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9)),
    tool_calls=st.none() | st.just([{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]),
    extra=st.none() | st.sampled_from([{"id": "1"}, {"logprobs": {"content": [1]}}]),
)


@given(st.lists(chunks, max_size=12))
def test_joined_chunks_are_the_same_response(found: list[ChatChunk]) -> None:
    one_by_one, together = ChatCollector("m", COMPLETE), ChatCollector("m", COMPLETE)
    for chunk in found:
        one_by_one.add(chunk)
    for chunk in joined(found):
        together.add(chunk)
    a, b = one_by_one.result(), together.result()
    assert (a.text, a.reasoning, a.finish, a.tool_calls, a.raw, a.usage) == (
        b.text, b.reasoning, b.finish, b.tool_calls, b.raw, b.usage,
    )  # fmt: skip
