"""What clients ask a pool about what it keeps, and the requests that go on without a client."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from byzer_magic import errors, request_ids
from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger, redact
from byzer_magic.results import ChatResult, turns
from byzer_magic.runtime.kept.answers import Answers, Record, follow
from byzer_magic.runtime.kept.sessions import Sessions
from byzer_magic.runtime.transport import attachments, messages, protocol
from byzer_magic.runtime.transport.server import Handler
from byzer_magic.types import ChatChunk, ChatRequest, Message, Request

Ask = Callable[[Capability, Any], AsyncIterator[Any]]

EXPECTED = 100
"""Requests that were announced, and have not come yet."""

log = get_logger("kept")


class Kept:
    """What one pool keeps.

    Args:
        hidden: returns the secrets that are replaced in the texts of unexpected errors.
    """

    def __init__(self, hidden: Callable[[], tuple[str, ...]]) -> None:
        self._hidden = hidden
        self._answers = Answers()
        self._sessions = Sessions()
        self._expected: OrderedDict[str, messages.KeepRequest] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Of the answers that are running, by id."""

    def methods(self, ask: Ask) -> dict[str, Handler]:
        """Return the methods that clients call: requests, and what is kept.

        Args:
            ask: answers a request for a capability.
        """
        return {
            **{each.value: self._keeping(each.value, functools.partial(ask, each)) for each in TABLE},
            "keep": self._keep,
            "answers": self._list,
            "attach": self._attach,
            "cancel_answer": self._cancel,
            "session": self._session,
            "put_session": self._put_session,
            "sessions": self._list_sessions,
        }

    def tick(self) -> None:
        """Drop what is too old."""
        self._answers.expire(time.monotonic())

    # ---- answers

    def _keeping(self, capability: str, handler: Handler) -> Handler:
        """Return a handler whose requests go on without their clients where that was announced."""

        def handle(request: Request) -> AsyncIterator[Any]:
            about = self._expected.pop(request_ids.CURRENT.get(), None)
            return handler(request) if about is None else self._asked(about, capability, handler, request)

        return handle

    async def _keep(self, about: messages.KeepRequest) -> AsyncIterator[None]:
        """Expect a request of this id."""
        self._expected[about.id] = about
        while len(self._expected) > EXPECTED:
            self._expected.popitem(last=False)
        yield None

    async def _asked(
        self, about: messages.KeepRequest, capability: str, handler: Handler, request: Request
    ) -> AsyncIterator[Any]:
        """Start a request, and yield its items to the client that has sent it, for as long as it stays."""
        packed = bytes(protocol.pack(attachments.detach(request)[0]))
        record = self._answers.begin(about, capability, _words(request), packed, time.monotonic())
        task = asyncio.create_task(self._record(record, handler(request), request))
        self._tasks[about.id] = task
        task.add_done_callback(functools.partial(self._ended, record))
        async for _seconds, item in follow(record):
            yield item

    async def _record(self, record: Record, items: AsyncIterator[Any], request: Request) -> None:
        """Keep the items of an answer until it has ended."""
        reply = _Reply()
        error: errors.ByzerError | None = None
        try:
            async with aclosing(items) as arriving:  # type: ignore[type-var]  # async generators all
                async for item in arriving:
                    self._answers.add(record, protocol.pack(item), time.monotonic())
                    reply.take(item)
        except asyncio.CancelledError:
            error = _cancelled()
        except errors.ByzerError as err:
            error = err
        except Exception as err:  # a backend's code may raise anything
            log.exception("a request in the background failed")
            text = redact(f"{type(err).__name__}: {err}", self._hidden())
            error = errors.RequestError(text, _("See %byzer logs."))
        self._remember(record.about, request, reply)
        self._answers.end(record, error, time.monotonic())

    def _ended(self, record: Record, _task: asyncio.Task[None]) -> None:
        self._tasks.pop(record.about.id, None)
        if record.ended is None:  # cancelled before it began
            self._answers.end(record, _cancelled(), time.monotonic())

    def _remember(self, about: messages.KeepRequest, request: Request, reply: _Reply) -> None:
        """Add the turn to its session: its client may be gone."""
        if not about.session or not isinstance(request, ChatRequest):
            return
        said = turns.replies(ChatResult(model="", text="".join(reply.texts), finish=reply.finish))
        if not said:
            return
        whole = [*request.messages, *said]
        try:
            self._sessions.append(about.session, whole, whole[about.turn :], time.monotonic())
        except errors.ByzerError as err:
            log.warning("a turn is not in its session: %s", err.message)

    async def _list(self, request: messages.AnswersRequest) -> AsyncIterator[messages.KeptAnswer]:
        now = time.monotonic()
        if request.id:
            yield self._answers.find(request.id).shown(now, complete=True)
            return
        for record in self._answers.all():
            yield record.shown(now)

    async def _attach(self, request: messages.AttachRequest) -> AsyncIterator[messages.Piece]:
        """Yield the items of an answer with their times, as long as the client stays; the last piece has no item."""
        record = self._answers.find(request.id)
        async for seconds, item in follow(record, request.position):
            yield messages.Piece(seconds, item)
        yield messages.Piece((record.ended or record.started) - record.started)

    async def _cancel(self, request: messages.AnswersRequest) -> AsyncIterator[bool]:
        """End an answer; yield whether it was running."""
        self._answers.find(request.id)
        task = self._tasks.get(request.id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        yield task is not None

    # ---- sessions

    async def _session(self, request: messages.SessionRequest) -> AsyncIterator[messages.SessionState]:
        yield self._sessions.get(request.name, request.version)

    async def _put_session(self, request: messages.PutSession) -> AsyncIterator[messages.SessionState]:
        yield self._sessions.put(request, time.monotonic())

    async def _list_sessions(self, _nothing: None) -> AsyncIterator[messages.SessionInfo]:
        for info in self._sessions.infos(time.monotonic()):
            yield info


class _Reply:
    """The text of an answer, for its session."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.finish: str | None = None

    def take(self, item: Any) -> None:
        """Keep what a session has of an item."""
        if isinstance(item, ChatChunk):
            self.texts.append(item.text)
            self.finish = item.finish or self.finish


def _cancelled() -> errors.ByzerError:
    return errors.Cancelled(_("The answer was cancelled."))


def _words(request: Request) -> str:
    """Return how the prompt of a request begins."""
    if isinstance(request, ChatRequest):
        return turns.words_of(request.messages[-1]) if request.messages else ""
    found = next(
        (getattr(request, name) for name in ("prompt", "text", "query", "texts") if hasattr(request, name)), ""
    )
    return turns.words_of(Message("user", found[0] if isinstance(found, list) and found else str(found or "")))
