"""uvicorn's connections, with bounds on what a client may do before it has shown a key, and after."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from byzer_magic.gateway.access import PEER, Peer

HEADER_BYTES = 64 * 1024
"""How much the headers of a request may have: whoever sends them has not shown a key yet."""
TOO_LONG = "The headers of the request are too long."
STUCK_SECONDS = 300.0
"""A client that takes nothing for so long is given up."""
HEADERS_SECONDS = 60.0
"""How long a client may take to send the headers of a request, and a new connection to send its first."""


class Connection(HttpToolsProtocol):
    """A connection that knows its client; it is closed where headers have no end, or nobody reads."""

    _wait: asyncio.TimerHandle | None = None
    """Runs while headers are expected that have not come with the rest."""
    _in_headers = True
    """Whether headers are expected."""
    _stuck: asyncio.TimerHandle | None = None
    """Runs while the client does not take what is sent."""
    _unfinished = 0
    """Bytes of headers that have no end yet, or of whatever else is no body."""
    _came = False
    """Whether all headers of a request, or a part of its body, are in what has just been read."""

    def connection_made(self, transport: Any) -> None:
        """Expect a request."""
        super().connection_made(transport)
        if self.client and self.server:
            self.app_state = {**self.app_state, PEER: Peer(self.client, self.server)}
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Read what arrives; headers that do not end, and what follows a body, up to a limit."""
        self._came = False
        super().data_received(data)
        self._unfinished = 0 if self._came else self._unfinished + len(data)
        if self._in_headers:
            self._expect_headers()
        if self._unfinished > HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response(TOO_LONG)

    def on_message_begin(self) -> None:
        """Expect the headers of a request."""
        super().on_message_begin()
        self._in_headers = True
        self._unfinished = 0

    def on_body(self, body: bytes) -> None:
        """Note that a part of a body has come."""
        self._came = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """Expect no more headers."""
        self._came, self._in_headers = True, False
        self._expect_nothing()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEADER_BYTES:
            raise ValueError(TOO_LONG)  # uvicorn answers with 400, and closes the connection
        super().on_headers_complete()
        self.cycle.transport = _Joining(self.transport, self.loop)  # type: ignore[assignment]  # as much as it uses

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect_nothing()
        self._flows()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Note that what is sent has to wait, and give the client up if it takes nothing for long."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self._flows()
        super().resume_writing()

    def _watch(self, size: int) -> None:
        """Look after a while whether less waits to be sent; if not, nobody reads."""
        self._flows()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self._look, size)

    def _look(self, before: int) -> None:
        size = self.transport.get_write_buffer_size()
        if size >= before:
            self.transport.abort()  # to close it would wait for what nobody takes
        else:
            self._watch(size)

    def _flows(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _expect_headers(self) -> None:
        if self._wait is None:
            self._wait = self.loop.call_later(HEADERS_SECONDS, self.transport.close)

    def _expect_nothing(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None


class _Joining:
    """Where a response is written to: its headers leave together with the beginning of its body.

    A system call and a wake-up of the client cost as much as the rest of writing a response.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._first: bytes | None = None
        self._begun = False

    def write(self, data: bytes) -> None:
        """Send data; the first only with what follows at once."""
        if not self._begun:
            self._begun, self._first = True, data
            self._loop.call_soon(self._flush)
        elif self._first is not None:
            self._transport.writelines([self._first, data])
            self._first = None
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Return whether the connection is closed, or about to be."""
        return bool(self._transport.is_closing())

    def _flush(self) -> None:
        if self._first is not None:
            self._transport.write(self._first)
            self._first = None
