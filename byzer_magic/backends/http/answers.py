"""A response as it is read: what is an answer, what is its end, and what is neither.

An answer is content (text, reasoning, a tool call), or an end other than a failure: a model may well answer with
nothing, and one that reaches its limit while it reasons has said so. Anything else that comes with status 200 (an empty
body, an object without choices, a sentence of a gateway) is an error. A response is complete when it has either of
the ends that its API has (a finish reason, or a mark like ``[DONE]``), whatever happens to the connection afterwards.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import msgspec

from byzer_magic.backends.http import finishes, reasons
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import ErrorResponse, NoAnswer, Unreadable, from_exception, stopped, truncated
from byzer_magic.backends.http.json_reader import LARGE_BYTES, REPAIRED, carried, check
from byzer_magic.backends.http.messages import with_request_id
from byzer_magic.backends.http.received import Turns
from byzer_magic.backends.http.sse import DRAIN_SECONDS
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk

MAX_EMPTY_EVENTS = (10_000, 200_000)
"""Events that add nothing to a response, and cost time nevertheless: before its first part, and altogether."""
LINGER_SECONDS = 5.0
"""How long each further event may take (the token counts, the second end mark) once a response is complete."""


class AnswerReader(ABC):
    """Reads the events of one response; a subclass provides `read`.

    Example:
        >>> class Lines(AnswerReader):
        ...     def read(self, event):
        ...         return ChatChunk(event.decode())
        >>> reader = Lines()
        >>> reader.chunk(b"Hi").text, reader.has_content, reader.finished
        ('Hi', True, False)
    """

    def __init__(self) -> None:
        self.finished = False
        """Whether an end of the response has come: a finish reason or an end mark."""
        self.over = False
        """Whether nothing follows."""
        self.has_content = False
        self.begun = False
        """Whether any part of an answer has come, be it empty."""
        self.repaired = False
        """Whether broken characters were replaced."""
        self.aside: Any = None
        """The last event that does not belong to an answer; it may say why there is none."""
        self.called = False
        """Whether any tool has been called."""
        self.resumed = False
        """Whether the answer went on after a finish reason: some servers send one in every event."""
        self._finish: str | None = None
        self._open: set[Any] = set()
        """The choices after the first that have begun, and have no finish reason yet."""

    @abstractmethod
    def read(self, event: Any) -> ChatChunk | None:
        """Return what an event adds to the response, or None.

        Raises:
            ErrorResponse: the event is an error.
            ByzerError: the event is an error.
        """

    def chunk(self, event: Any) -> ChatChunk | None:
        """Return what `read` returns, and keep what it means for the end."""
        chunk = self.read(event)
        if chunk is None:
            return None
        if chunk.text or chunk.reasoning or chunk.tool_calls:
            self.has_content = self.begun = True
            self.aside = None  # it was no reason to stop
            self.resumed = self._finish is not None
        if chunk.tool_calls:
            self.called = True
        if chunk.extra:  # as the provider has written it
            for choice in chunk.extra.get("choices") or ():
                (self._open.discard if choice.get("finish") else self._open.add)(choice["index"])
            chunk = msgspec.structs.replace(chunk, extra=carried(chunk.extra, odd=False)[0])
        if chunk.finish:
            self._finish, self.begun = chunk.finish, True
        if self._finish and not self._open:
            self.finished = True
        return chunk

    def note(self, event: Any) -> None:
        """Keep an event that does not belong to an answer, unless an earlier one says more."""
        if self.aside is None or reasons.of(event).sentence:
            self.aside = event

    def end(self, endpoint: Endpoint) -> ChatChunk | None:
        """Return what is to be added at the end of the response, or None.

        Raises:
            StreamTruncated: it has neither of its ends, or a sentence in place of a finish reason.
            ProviderError: that sentence has the code of another error.
            NoAnswer: nothing has arrived, or only an unknown finish reason.
        """
        self.finished = self.finished or bool(
            self._finish
        )  # some servers have a finish reason in the first choice only
        if not self.finished and self.begun:
            raise truncated(endpoint, reasons.of(self.aside).sentence)
        if not self.finished:
            raise NoAnswer(self.aside)
        if not (self.has_content or self._finish):
            raise NoAnswer({} if self.aside is None else self.aside)
        if not self.has_content and self._finish and not finishes.is_known(self._finish):
            raise NoAnswer(finishes.failed(self._finish))
        if not self._finish and reasons.of(self.aside).sentence:
            raise stopped(self.aside, endpoint)
        finish = None if self._finish else "tool_calls" if self.called else "stop"
        extra = REPAIRED if self.repaired else None
        return ChatChunk(finish=finish, extra=extra) if finish or extra else None


async def chunks(
    events: AsyncIterator[Any],
    reader: AnswerReader,
    endpoint: Endpoint,
    exceptions: tuple[type[Exception], ...] = (ByzerError,),
    request_id: str | None = None,
) -> AsyncGenerator[ChatChunk, None]:
    """Yield the chunks of a response; what happens after its end is no error.

    Args:
        events: the events of its body.
        reader: reads an event.
        endpoint: where the request went.
        exceptions: what the transport and the reader may raise (by default, `Http` has converted it).
        request_id: the provider's ID of the request, for the chunk with the finish reason.

    Raises:
        StreamTruncated: the response has no end.
        ProviderError: the provider sent an error, or nothing that is an answer.
    """
    caught: tuple[type[Exception], ...] = (*exceptions, ErrorResponse, ValueError, RecursionError)
    try:
        async with aclosing(_until_finished(events, reader)) as parts:
            async for part in parts:
                yield with_request_id(part, request_id) if part.finish else part
        if reader.finished:
            async for event in _afterwards(events, reader):
                if (chunk := await _read(reader, event)) is not None:
                    yield with_request_id(chunk, request_id) if chunk.finish else chunk
    except caught as err:
        if not reader.finished or (reader.resumed and not reader.over):
            raise from_exception(err, endpoint) from None  # the chain may quote the key
    if (last := _end(reader, endpoint)) is not None:
        yield with_request_id(last, request_id) if last.finish else last


async def _until_finished(events: AsyncIterator[Any], reader: AnswerReader) -> AsyncGenerator[ChatChunk, None]:
    """Yield the chunks of a response up to its end.

    Raises:
        Unreadable: nearly all of its events have nothing in them.
    """
    turns, empty = Turns(), 0
    async for event in events:
        is_small = isinstance(event, bytes) and len(event) <= LARGE_BYTES  # as nearly all are
        if (chunk := reader.chunk(event) if is_small else await _read(reader, event)) is not None:
            yield chunk
        elif (empty := empty + 1) > MAX_EMPTY_EVENTS[reader.begun]:
            raise Unreadable(_("its events have no content"))
        if reader.finished:
            return
        await turns.take()


async def _read(reader: AnswerReader, event: Any) -> ChatChunk | None:
    """Return what an event adds; a large one is read in a thread, so that other requests go on."""
    if not isinstance(event, bytes) or len(event) <= LARGE_BYTES:
        return reader.chunk(event)
    check(event)
    return await asyncio.to_thread(reader.chunk, event)


def _end(reader: AnswerReader, endpoint: Endpoint) -> ChatChunk | None:
    try:
        return reader.end(endpoint)
    except NoAnswer as err:
        raise from_exception(err, endpoint) from None


async def _afterwards(events: AsyncIterator[Any], reader: AnswerReader) -> AsyncGenerator[Any, None]:
    """Yield what follows the end of a response (token counts, the second end mark), waiting only a little for each.

    A finish reason that text follows does not count as the end: only the end of the body does.

    After the last event the body is read to its end: only then can its connection serve the next request.
    """
    turns, count = Turns(), 0
    while (count := count + 1) <= MAX_EMPTY_EVENTS[0] or reader.resumed:
        try:
            seconds = DRAIN_SECONDS if reader.over else None if reader.resumed else LINGER_SECONDS
            async with asyncio.timeout(seconds):
                event = await anext(events)
        except (StopAsyncIteration, TimeoutError):
            return
        if not reader.over:
            yield event
        await turns.take()
