"""The client of the data plane: one connection, many concurrent calls, each an async iterator.

Closing an iterator cancels its call on the server. A link whose connection is lost looks the endpoint up again, so it
reconnects to a pool that Ray has restarted.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import enum
import itertools
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from byzer_magic import errors, request_ids
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.runtime import forks
from byzer_magic.runtime.transport import attachments, protocol
from byzer_magic.runtime.transport.dialing import Dialer, Find
from byzer_magic.runtime.transport.outbox import Outbox

RETIRE_SECONDS = 0.1
"""How often a link that nobody uses any longer looks whether its calls have ended."""
DEADLINE_SECONDS = 2.0
"""A request's timeout is kept by its pool; this much later, the client gives up on a pool that does not respond."""

HELD_BYTES = 1024 * 1024
"""When more than this waits for the reader of one call, its pool is told to send no more of it for now."""
RESUMED_BYTES = HELD_BYTES // 4
"""When less than this is left, it is told to go on."""

log = get_logger("client")

T = TypeVar("T")


class _End(enum.Enum):
    """Why a response ends without a frame of its pool."""

    LOST = enum.auto()
    UNREADABLE = enum.auto()
    EXPIRED = enum.auto()


class _Answers(asyncio.Queue[protocol.ToClient | _End]):
    """The frames of one call that wait for its reader. Nothing is done here: this is on the way of each token."""

    waiting = 0
    """Bytes of the items among them."""
    held = False
    """Whether the pool has been told to send no more for now."""


class Link:
    """A client of one pool or engine, which connects at its first call; a forked child connects by itself.

    Args:
        name: how errors name the other side, e.g. the alias.
        find: returns the current endpoint.
        peer: identity of the pool, so that a new pool of the same alias is recognized.
    """

    def __init__(self, name: str, find: Find, peer: str = "") -> None:
        self.peer = peer
        """Identity of the pool; another pool of the same alias has another one."""
        self.received = 0
        """How many messages have come."""
        self.lost_because: errors.RequestError | None = None
        """Why the present connection is about to end, where that is known."""
        self._name = name
        self._dialer = Dialer(name, find)
        self._retired: asyncio.Task[None] | None = None
        self._not_connected()
        forks.register(self)

    def _not_connected(self) -> None:
        self._connection: ClientConnection | None = None
        self._outbox: Outbox | None = None
        """That of the connection."""
        self._reader: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._calls: dict[int, _Answers] = {}
        self._ids = itertools.count(1)
        self._cache = attachments.AttachmentCache()
        self._sending_media = asyncio.Lock()

    def forked(self) -> None:
        """Leave the connection and its calls to the parent; the next call connects to the same endpoint."""
        connection = self._connection
        forks.keep(connection, self._outbox, self._reader, self._calls)
        self._not_connected()
        if connection is not None:
            forks.drop([connection.transport.get_extra_info("socket").fileno()])

    @property
    def connected(self) -> bool:
        """Return whether there is an open connection."""
        return self._connection is not None

    async def stream(self, method: str, body: Any = None, request_id: str | None = None) -> AsyncIterator[Any]:
        """Call a method and yield the items of its response; closing the iterator cancels the call.

        Args:
            method: its name.
            body: what it takes.
            request_id: the id of the request; by default that of the request on which this task works, if any.

        Raises:
            WorkerLost: the connection was lost before the response was complete.
            DeadlineExceeded: the request has a timeout, and the other side did not keep it.
            MalformedResponse: an item cannot be read.
            CommandError: the request is too large.
            ByzerError: raised by the method.
        """
        request_id = request_ids.CURRENT.get() if request_id is None else request_id
        timeout: float | None = getattr(body, "timeout", None)
        latest = None if timeout is None else asyncio.get_running_loop().time() + timeout + DEADLINE_SECONDS
        outbox = self._outbox if self._outbox is not None else await self._in_time(self._connect(), latest, timeout)
        calls, call_id = self._calls, next(self._ids)
        answers = calls[call_id] = _Answers()
        timer = latest and asyncio.get_running_loop().call_at(latest, answers.put_nowait, _End.EXPIRED)
        finished = False
        try:
            call, media = _call_of(call_id, method, body, request_id)
            if media:
                await self._in_time(self._send(outbox, call, media), latest, timeout)
            else:
                outbox.put(call, len(call.body))
            while isinstance(frame := await answers.get(), protocol.Item):
                try:
                    item = protocol.item_of(method, frame)
                except protocol.ProtocolError as err:
                    raise self._malformed(err) from err
                answers.waiting -= len(frame.body) + protocol.FRAME_BYTES
                if answers.held and answers.waiting < RESUMED_BYTES:
                    answers.held = False
                    outbox.put(protocol.Hold(call_id, on=False))
                yield item
            finished = frame is not _End.EXPIRED
            if isinstance(frame, _End):
                raise self._ended(frame, timeout)
            if isinstance(frame, protocol.Fail):
                raise errors.from_wire(frame.error)
        finally:
            if timer:
                timer.cancel()
            del calls[call_id]
            if not finished and outbox is self._outbox:  # a connection that is lost has cancelled it already
                outbox.put(protocol.Cancel(call_id))

    async def call(self, method: str, body: Any = None) -> Any:
        """Call a method and return the last item of its response, or None when it has none."""
        last = None
        async with aclosing(self.stream(method, body)) as items:  # type: ignore[type-var]  # an async generator
            async for item in items:
                last = item
        return last

    @property
    def owes(self) -> bool:
        """Return whether a call waits for its next item."""
        return any(answers.empty() and not answers.held for answers in self._calls.values())

    async def ping(self) -> None:
        """Wait until the other side's event loop has answered; at once where there is no connection."""
        if self._connection is not None:
            await (await self._connection.ping())

    def abort(self) -> None:
        """End the present connection at once; calls in flight raise `lost_because`, or WorkerLost."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def lost(self) -> None:
        """Wait until the present connection has ended; return at once when there is none."""
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def close(self) -> None:
        """Close the connection; calls in flight raise WorkerLost."""
        if self._connection is not None:
            await self._connection.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def retire(self) -> None:
        """Close the connection once its calls have ended, however long they take."""
        self._retired = asyncio.create_task(self._close_later())

    async def _close_later(self) -> None:
        while self._calls:  # noqa: ASYNC110 - seldom: after a deploy or undeploy
            await asyncio.sleep(RETIRE_SECONDS)
        await self.close()

    def _lost(self) -> errors.RequestError:
        if self.lost_because is not None:
            return copy.copy(self.lost_because)  # each call raises its own
        return errors.WorkerLost(
            _("{name}: the worker died during the request.", name=self._name),
            _("The partial response is kept. Ray is restarting the worker; send the request again."),
        )

    def _expired(self, seconds: float | None) -> errors.DeadlineExceeded:
        return errors.DeadlineExceeded(
            _("{alias} did not finish within {seconds:g} s.", alias=self._name, seconds=seconds),
            _("Set a longer --timeout."),
        )

    def _ended(self, end: _End, timeout: float | None) -> errors.RequestError:
        match end:
            case _End.LOST:
                return self._lost()
            case _End.UNREADABLE:
                return self._malformed(_("its message is damaged"))
            case _End.EXPIRED:
                return self._expired(timeout)

    def _malformed(self, reason: object) -> errors.MalformedResponse:
        return errors.MalformedResponse(
            _("{name}: a part of the response cannot be read: {error}", name=self._name, error=reason),
            _("If the deployment is older than this installation, deploy it again with --replace."),
        )

    async def _in_time(self, work: Awaitable[T], latest: float | None, seconds: float | None) -> T:
        """Return what `work` returns.

        Args:
            work: a step of a call.
            latest: when the call must have ended, on the loop's clock; None for any time.
            seconds: its timeout, for the error.

        Raises:
            DeadlineExceeded: it took longer.
        """
        try:
            async with asyncio.timeout_at(latest):
                return await work
        except TimeoutError as err:
            raise self._expired(seconds) from err

    async def _send(self, outbox: Outbox, call: protocol.Call, media: Mapping[str, bytes]) -> None:
        """Send a call, preceded by those of its attachments that the server does not have yet.

        Raises:
            WorkerLost: the connection has ended.
        """
        cache = self._cache  # that of the connection: there may be a new one by the time the lock is free
        async with self._sending_media:  # the server's cache evicts in the order of arrival, as ours does
            for digest, data in media.items():
                if digest not in cache:
                    for chunk in attachments.chunks(digest, data):
                        await self._room(outbox)
                        outbox.put(chunk, len(chunk.data))
            await self._room(outbox)
            cache.use({digest: len(data) for digest, data in media.items()})
            outbox.put(call, len(call.body))  # inside the lock, for the same order on both sides

    async def _room(self, outbox: Outbox) -> None:
        await outbox.room()
        if outbox.has_ended:
            raise self._lost()

    async def _connect(self) -> Outbox:
        async with self._connecting:
            if self._outbox is None:
                self._connection, self.lost_because = await self._dialer.dial(), None
                self._cache = attachments.AttachmentCache()
                # Of no request: they serve all that use the connection.
                context = contextvars.Context()
                self._outbox = context.run(Outbox, self._connection)
                self._reader = asyncio.create_task(self._read(self._connection, self._outbox), context=context)
            return self._outbox

    async def _read(self, connection: ClientConnection, outbox: Outbox) -> None:
        calls, end = self._calls, _End.LOST
        try:
            async for message in connection:
                self.received += 1
                if isinstance(message, str):
                    raise protocol.ProtocolError("text frame")
                self._sort(outbox, protocol.read_answers(message))
        except ConnectionClosed:
            pass
        except protocol.ProtocolError as err:
            log.warning("%s sends what cannot be read: %s", self._name, err)
            end = _End.UNREADABLE
            connection.transport.abort()
        finally:
            outbox.close()
            if self._connection is connection:
                self._connection = self._outbox = None
            for answers in calls.values():
                answers.put_nowait(end)

    def _sort(self, outbox: Outbox, frames: list[protocol.ToClient]) -> None:
        """Give frames to the readers of their calls; a call whose reader is slow is held."""
        for frame in frames:
            if (answers := self._calls.get(frame.id)) is None:
                continue
            answers.put_nowait(frame)
            if isinstance(frame, protocol.Item):
                answers.waiting += len(frame.body) + protocol.FRAME_BYTES
                if answers.waiting > HELD_BYTES and not answers.held:
                    answers.held = True
                    outbox.put(protocol.Hold(frame.id, on=True))


def _call_of(call_id: int, method: str, body: Any, request_id: str) -> tuple[protocol.Call, dict[str, bytes]]:
    """Return a call without its attachments, and these by digest.

    Raises:
        CommandError: it is too large.
    """
    light, media = attachments.detach(body)
    packed = protocol.pack(light)
    if len(packed) > protocol.MAX_BODY_BYTES:
        raise errors.CommandError(
            _(
                "The request has {size:.0f} MB without its images and audio, more than the {limit:.0f} MB that can "
                "be sent at once.",
                size=len(packed) / 1e6,
                limit=protocol.MAX_BODY_BYTES / 1e6,
            ),
            _("Send less text, or several requests."),
        )
    return protocol.Call(call_id, method, packed, list(media), request_id), media
