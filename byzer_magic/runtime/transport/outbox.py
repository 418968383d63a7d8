"""What waits to be sent over a connection: the same at both ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosed

from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.protocol import BATCH_BYTES, FRAME_BYTES

if TYPE_CHECKING:
    from websockets.asyncio.connection import Connection

APART_SECONDS = 0.001
"""How long a frame that may wait does: a message costs each end 20 us, however many frames it has."""


class Outbox:
    """The unsent frames of one connection; those that come together share a message.

    Needs a running loop, in which it writes until the connection ends.

    Args:
        connection: what they are sent over.
        high_water: while more bytes than this are unsent, `room` waits.
    """

    def __init__(self, connection: Connection, high_water: int = 0) -> None:
        self._connection = connection
        self._high_water = high_water
        self._batch: list[Any] = []
        """The frames that go into the next message."""
        self._batch_bytes = 0
        self._full: deque[tuple[list[Any], int]] = deque()
        """Messages before that one, with their bytes: a frame more would have made them too large."""
        self._full_bytes = 0
        """Bytes of these, and of the message that is being sent."""
        self.is_full = False
        """Whether they are more than `high_water`: before another frame, wait for `room`."""
        self._wake = asyncio.Event()
        self._is_due = False
        """Whether a timer will wake the writer."""
        self._room = asyncio.Event()
        self._writer = asyncio.create_task(self._write())

    def put(self, frame: protocol.ToPool | protocol.ToClient, size: int = 0, *, may_wait: bool = False) -> None:
        """Queue a frame; where the connection has ended, it is lost with it.

        Args:
            frame: the frame.
            size: bytes of its body.
            may_wait: whether it may be sent together with what comes within `APART_SECONDS`.
        """
        size += FRAME_BYTES
        if self._batch_bytes + size > BATCH_BYTES and self._batch:
            self._end_batch()
        self._batch.append(frame)
        self._batch_bytes += size
        if not may_wait:
            self._wake.set()
        elif not (self._is_due or self._wake.is_set()):
            self._is_due = True
            asyncio.get_running_loop().call_later(APART_SECONDS, self._wake.set)

    @property
    def has_ended(self) -> bool:
        """Return whether nothing more is sent: the connection has ended."""
        return self._writer.done()

    async def room(self) -> None:
        """Wait until the other end has taken enough of what is queued, or the connection has ended."""
        while self.is_full and not self.has_ended:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        """Send no more."""
        self._writer.cancel()

    def _end_batch(self) -> None:
        self._full.append((self._batch, self._batch_bytes))
        self._full_bytes += self._batch_bytes
        self.is_full = self._full_bytes > self._high_water
        self._batch, self._batch_bytes = [], 0

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):  # whoever reads the connection notices it, too
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    self._is_due = False
                    if self._batch:
                        self._end_batch()
                    while self._full:
                        await self._send_first()
            finally:
                self._room.set()

    async def _send_first(self) -> None:
        batch, size = self._full.popleft()
        await self._connection.send(protocol.write(batch))
        self._full_bytes -= size
        self.is_full = self._full_bytes > self._high_water
        self._room.set()
