"""The calling end of the data plane: one connection, many calls at once, each an async iterator.

Closing an iterator cancels its call on the other side. A link that finds its connection gone looks the endpoint
up again, so a pool that Ray restarts is found without anyone asking.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from byzer_magic import errors
from byzer_magic.runtime.transport import attachments, protocol

RECONNECT_SECONDS = 15.0
"""How long a call looks for a pool that is being restarted."""
SAME_PLACE_SECONDS = 4.0
"""After this long it is looked up again: it may have come back on another node."""
RETRY_SECONDS = 0.05
"""Pause before it is dialled again, and after the first seconds:"""
SLOW_RETRY_SECONDS = 0.5

Find = Callable[[], Awaitable[protocol.Endpoint]]


class Link:
    """A client of one pool (or engine), named `name` in its errors."""

    def __init__(self, name: str, find: Find, peer: str = "") -> None:
        self.peer = peer
        """What tells this pool from another one of the same name."""
        self._name = name
        self._find = find
        self._endpoint: protocol.Endpoint | None = None
        self._connection: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._calls: dict[int, asyncio.Queue[protocol.ToClient | None]] = {}
        self._ids = itertools.count(1)
        self._kept = attachments.AttachmentCache()
        self._sending_media = asyncio.Lock()

    @property
    def connected(self) -> bool:
        """Return whether there is a connection to use."""
        return self._connection is not None

    async def stream(self, method: str, body: Any = None) -> AsyncIterator[Any]:
        """Yield the items of one call.

        Raises:
            WorkerLost: the connection broke before the answer was complete.
            ByzerError: whatever the other side raised.
        """
        connection = await self._connect()
        call_id = next(self._ids)
        answers: asyncio.Queue[protocol.ToClient | None] = asyncio.Queue()
        self._calls[call_id] = answers
        finished = False
        try:
            await self._start(connection, call_id, method, body)
            while not isinstance(frame := await answers.get(), protocol.Done):
                if frame is None:
                    finished = True
                    raise self._lost()
                if isinstance(frame, protocol.Fail):
                    finished = True
                    raise errors.from_wire(frame.error)
                yield protocol.item_of(method, frame)
            finished = True
        finally:
            del self._calls[call_id]
            if not finished and connection is self._connection:
                with contextlib.suppress(errors.WorkerLost):  # then there is nothing left to cancel
                    await self._send(connection, protocol.Cancel(call_id))

    async def call(self, method: str, body: Any = None) -> Any:
        """Return the last item of one call (None when there is none)."""
        last = None
        async with aclosing(self.stream(method, body)) as items:  # type: ignore[type-var]  # an async generator
            async for item in items:
                last = item
        return last

    async def lost(self) -> None:
        """Return when the connection there is now has ended (at once when there is none)."""
        if self._reader is not None:
            await asyncio.wait([self._reader])

    async def close(self) -> None:
        """Close the connection; calls in flight end with WorkerLost."""
        if self._connection is not None:
            await self._connection.close()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    def _lost(self) -> errors.WorkerLost:
        return errors.WorkerLost(
            f"{self._name}: the worker died while answering.",
            "What had arrived is kept. Ray is restarting it; send the prompt again.",
        )

    async def _start(self, connection: ClientConnection, call_id: int, method: str, body: Any) -> None:
        """Send a call, its large media before it where the other side does not have them yet."""
        kept = self._kept  # of this connection, also when there is another one by the time it is our turn
        light, media = attachments.detach(body)
        call = protocol.Call(call_id, method, protocol.pack(light), list(media))
        if not media:
            await self._send(connection, call)
            return
        async with self._sending_media:  # the other side keeps what comes in this order
            for digest, data in media.items():
                if digest not in kept:
                    for piece in attachments.chunks(digest, data):
                        await self._send(connection, piece)
            kept.use({digest: len(data) for digest, data in media.items()})
            await self._send(connection, call)  # nothing may come between the two: both ends count in this order

    async def _send(self, connection: ClientConnection, frame: protocol.ToPool) -> None:
        try:
            await connection.send(protocol.write([frame]))
        except ConnectionClosed as err:
            raise self._lost() from err

    async def _connect(self) -> ClientConnection:
        if self._connection is not None:
            return self._connection
        async with self._connecting:
            if self._connection is None:
                self._connection = await self._dial()
                self._kept = attachments.AttachmentCache()
                self._reader = asyncio.create_task(self._read(self._connection))
            return self._connection

    async def _dial(self) -> ClientConnection:
        """Connect where it was last, else where `find` says: a restarted pool listens on the same socket."""
        started = time.monotonic()
        while True:
            waited = time.monotonic() - started
            try:
                if self._endpoint is None or waited > SAME_PLACE_SECONDS:
                    self._endpoint = await self._find()
                return await _open(self._endpoint)
            except (OSError, InvalidHandshake, TimeoutError) as err:
                if isinstance(err, FileNotFoundError):  # removed, not killed: there may be another pool by now
                    self._endpoint = None
                if waited > RECONNECT_SECONDS:
                    raise errors.WorkerLost(
                        f"{self._name} does not answer.", "See %byzer stat, or deploy it again with --replace."
                    ) from err
                await asyncio.sleep(RETRY_SECONDS if waited < SAME_PLACE_SECONDS else SLOW_RETRY_SECONDS)

    async def _read(self, connection: ClientConnection) -> None:
        try:
            async for message in connection:
                for frame in protocol.read_answers(message):  # type: ignore[arg-type]  # text would raise ProtocolError
                    if queue := self._calls.get(frame.id):
                        queue.put_nowait(frame)
        except (ConnectionClosed, protocol.ProtocolError):
            pass
        finally:
            if self._connection is connection:
                self._connection = None
            for queue in self._calls.values():
                queue.put_nowait(None)


async def _open(endpoint: protocol.Endpoint) -> ClientConnection:
    common: dict[str, Any] = {
        "additional_headers": {"Authorization": f"Bearer {endpoint.token}"},
        "max_size": protocol.MAX_MESSAGE_BYTES,
        "compression": None,
        "user_agent_header": None,
        "open_timeout": 5,
    }
    if os.path.exists(endpoint.path):  # noqa: ASYNC240, PTH110 - a stat of a local socket
        try:
            return await unix_connect(endpoint.path, "ws://pool/", ping_interval=None, **common)
        except ConnectionRefusedError:  # left behind by one that was killed, and is now on another node
            if not endpoint.port:
                raise
    if not endpoint.port:
        raise FileNotFoundError(endpoint.path)
    address = f"ws://{endpoint.host}:{endpoint.port}/"
    return await connect(address, proxy=None, ping_timeout=protocol.PING_SECONDS, **common)
