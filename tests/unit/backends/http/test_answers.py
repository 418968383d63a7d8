"""What is an answer, and what is its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http import answers
from byzer_magic.backends.http.answers import AnswerReader, chunks
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.types import ChatChunk
from tests.clock import simulated

GPT = Endpoint("gpt-4o", "https://api.x.com/v1")
TEXT = ChatChunk("hi")
THOUGHT = ChatChunk(reasoning="hm")
FINISH = ChatChunk(finish="stop")


class Given(AnswerReader):
    """Events are the chunks themselves; a text is the mark after which nothing follows, a dict is something else."""

    def read(self, event: Any) -> ChatChunk | None:
        if isinstance(event, str):
            self.finished = self.over = True
        elif isinstance(event, dict):
            self.note(event)
        elif event is None:
            self.begun = True
        return event if isinstance(event, ChatChunk) else None


async def read(*events: Any, **options: Any) -> list[ChatChunk]:
    async def source() -> AsyncIterator[Any]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            if isinstance(event, float):
                await asyncio.sleep(event)
            else:
                yield event

    return [chunk async for chunk in chunks(source(), Given(), GPT, (OSError, errors.ByzerError), **options)]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([TEXT, FINISH], [TEXT, FINISH]),
        ([TEXT, FINISH, "end"], [TEXT, FINISH]),
        ([TEXT, "end"], [TEXT, FINISH]),
        ([TEXT, "end", TEXT], [TEXT, FINISH]),
        ([FINISH], [FINISH]),
        ([FINISH, TEXT, "end"], [FINISH, TEXT]),
        ([TEXT, FINISH, ConnectionResetError()], [TEXT, FINISH]),
        ([TEXT, "end", ConnectionResetError()], [TEXT, FINISH]),
        ([TEXT, FINISH, errors.ProviderUnavailable("late")], [TEXT, FINISH]),
        ([TEXT, FINISH, ErrorResponse({"message": "late"})], [TEXT, FINISH]),
        ([THOUGHT, ChatChunk(finish="length")], [THOUGHT, ChatChunk(finish="length")]),
        ([ChatChunk(tool_calls=[{"index": 0}]), "end"],
         [ChatChunk(tool_calls=[{"index": 0}]), ChatChunk(finish="tool_calls")]),
    ],
)  # fmt: skip
async def test_either_end_completes_an_answer(events: list[Any], found: list[ChatChunk]) -> None:
    assert await read(*events) == found


@pytest.mark.parametrize(
    ("events", "kind", "words"),
    [
        ([], errors.StreamTruncated, "the response is empty"),
        ([None], errors.StreamTruncated, "ended before the response was complete."),
        ([TEXT], errors.StreamTruncated, "ended before the response was complete."),
        ([TEXT, {"message": "moved away"}], errors.StreamTruncated, "complete: moved away"),
        ([TEXT, {"message": "moved away"}, "end"], errors.StreamTruncated, "complete: moved away"),
        ([TEXT, {"code": 429, "message": "slow down"}, "end"], errors.RateLimited, "slow down"),
        ([{"a": 1}], errors.ProviderUnavailable, "the response has no content"),
        (["end"], errors.ProviderUnavailable, "the response has no content"),
        ([{"message": "moved away"}, {"b": 1}, "end"], errors.ProviderUnavailable, "moved away"),
        ([{"code": 429, "message": "slow down"}], errors.RateLimited, "slow down"),
        ([TEXT, ConnectionResetError("gone")], errors.ProviderUnavailable, "gone"),
        ([ErrorResponse({"code": 401, "message": "no"})], errors.AuthenticationFailed, "no"),
    ],
)
async def test_anything_else_is_an_error(events: list[Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(errors.ByzerError, match=words) as caught:
        await read(*events)
    assert type(caught.value) is kind


@simulated
async def test_complete_answer_does_not_wait_for_a_silent_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LINGER_SECONDS", 0.01)
    assert await read(TEXT, FINISH, 100.0) == [TEXT, FINISH]


@simulated
async def test_answer_that_goes_on_after_finish_reasons_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LINGER_SECONDS", 0.01)
    both = ChatChunk("hi", finish="stop")
    assert await read(both, both, 0.1, both, "end") == [both, both, both]
    with pytest.raises(errors.ByzerError, match="gone"):
        await read(both, both, ConnectionResetError("gone"))


async def test_request_id_is_with_the_finish_reason() -> None:
    assert (await read(TEXT, "end", request_id="r-1"))[-1] == ChatChunk(finish="stop", extra={"request_id": "r-1"})
