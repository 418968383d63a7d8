"""The server of the data plane: authenticates clients, runs their calls, and batches the items that these yield.

A connection is the lease of its calls: when it closes, they are cancelled and their slots are freed.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import http
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger, redact
from byzer_magic.runtime.transport import attachments, protocol

Handler = Callable[[Any], AsyncIterator[Any]]
"""A method: takes the decoded body of a call, yields the items of its response."""

HIGH_WATER_FRAMES = 4096
"""With this many unsent frames, calls wait until their client has read (backpressure)."""
UNIX_PATH_BYTES = 100
"""Longest path of a Unix socket: `sun_path` has 108 bytes on Linux, 104 on macOS (`man 7 unix`)."""

log = get_logger("server")


class Server:
    """Serves methods on a Unix socket of this node and on TCP, both protected by the same token.

    Args:
        methods: the methods by name.
        path: the Unix socket.
        host: the address to listen on for other nodes.
        token: what clients must send.
        hidden: secrets that are replaced in the texts of unexpected errors.
    """

    def __init__(
        self, methods: dict[str, Handler], *, path: Path, host: str, token: str, hidden: tuple[str, ...] = ()
    ) -> None:
        self._methods = methods
        self._path = path
        self._host = host
        self._token = token
        self._hidden = hidden
        self._servers: list[WebSocketServer] = []
        self._port = 0

    async def start(self, *, tcp: bool) -> None:
        """Listen on the Unix socket, and on TCP where `tcp` asks for it or the socket's path is too long."""
        quiet = logging.getLogger("byzer_magic.server.handshake")
        quiet.setLevel(logging.CRITICAL)  # a port scan would fill the log with tracebacks
        common: dict[str, Any] = {
            "process_request": self._authorize,
            "max_size": protocol.MAX_MESSAGE_BYTES,
            "compression": None,
            "logger": quiet,
            "server_header": None,
        }
        short = len(str(self._path)) <= UNIX_PATH_BYTES
        if short:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # left by a process that was killed
            old_mask = os.umask(0o177)
            try:
                self._servers.append(await unix_serve(self._serve, str(self._path), ping_interval=None, **common))
            finally:
                os.umask(old_mask)
        if tcp or not short:
            server = await serve(self._serve, self._host, 0, ping_timeout=protocol.PING_SECONDS, **common)
            self._servers.append(server)
            self._port = next(iter(server.sockets)).getsockname()[1]

    def endpoint(self, node: str) -> protocol.Endpoint:
        """Return where this server listens, on the given Ray node."""
        return protocol.Endpoint(str(self._path), self._host, self._port, self._token, node, os.getpid())

    def stop(self) -> None:
        """Stop listening and remove the socket; open connections remain until their clients close them."""
        for server in self._servers:
            server.close(close_connections=False)
        self._path.unlink(missing_ok=True)

    def _authorize(self, connection: ServerConnection, request: Request) -> Response | None:
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "wrong token\n")

    async def _serve(self, connection: ServerConnection) -> None:
        peer = _Peer(connection, self)
        try:
            await peer.run()
        except (ConnectionClosed, protocol.ProtocolError) as err:
            log.debug("connection ended: %s", type(err).__name__)
        finally:
            await peer.close()

    async def answer(self, call: protocol.Call, media: dict[str, bytes], peer: _Peer) -> None:
        """Run one call to its end; its client receives either Done or Fail."""
        try:
            body = attachments.attach(protocol.body_of(call), media)
            async with aclosing(self._methods[call.method](body)) as items:  # type: ignore[type-var]  # async generators all
                async for item in items:
                    await peer.put(protocol.Item(call.id, protocol.pack(item)))
            await peer.put(protocol.Done(call.id))
        except errors.ByzerError as err:
            log.warning("%s failed: %s: %s", call.method, err.code, err.message)
            await peer.put(protocol.Fail(call.id, errors.to_wire(err)))
        except (KeyError, protocol.ProtocolError) as err:
            malformed = errors.CommandError(_("Malformed call {method!r}: {error}.", method=call.method, error=err))
            await peer.put(protocol.Fail(call.id, errors.to_wire(malformed)))
        except Exception as err:  # whatever a call raises goes to its caller
            log.exception("call %s failed", call.method)
            text = redact(f"{type(err).__name__}: {err}", self._hidden)
            await peer.put(protocol.Fail(call.id, errors.to_wire(errors.RequestError(text, _("See %byzer logs.")))))


class _Peer:
    """One connection: its running calls and its unsent frames."""

    def __init__(self, connection: ServerConnection, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._unsent: list[protocol.ToClient] = []
        self._wake = asyncio.Event()
        self._cache = attachments.AttachmentCache()
        self._room = asyncio.Event()
        self._room.set()

    async def run(self) -> None:
        """Read calls until the connection ends."""
        writer = asyncio.create_task(self._write())
        try:
            async for message in self._connection:
                if isinstance(message, str):
                    raise protocol.ProtocolError("text frame")
                for frame in protocol.read_calls(message):
                    self._take(frame)
        finally:
            writer.cancel()

    def _take(self, frame: protocol.ToPool) -> None:
        if isinstance(frame, protocol.AttachmentChunk):
            self._cache.arrive(frame)
        elif isinstance(frame, protocol.Cancel):
            if task := self._calls.get(frame.id):
                task.cancel()
        elif frame.id not in self._calls:
            media = self._cache.take(frame.media)
            task = asyncio.create_task(self._server.answer(frame, media, self))
            self._calls[frame.id] = task
            task.add_done_callback(functools.partial(self._ended, frame.id))

    def _ended(self, call_id: int, _task: asyncio.Task[None]) -> None:
        self._calls.pop(call_id, None)

    async def put(self, frame: protocol.ToClient) -> None:
        """Queue a frame; wait while the client has too many unread ones."""
        self._unsent.append(frame)
        self._wake.set()
        if len(self._unsent) > HIGH_WATER_FRAMES:
            self._room.clear()
            await self._room.wait()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            frames, self._unsent = self._unsent, []
            if frames:
                await self._connection.send(protocol.write(frames))
            self._room.set()

    async def close(self) -> None:
        """Cancel the calls in flight and wait until they have freed their slots."""
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        self._room.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()
