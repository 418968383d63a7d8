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
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from typing import Any

from websockets.asyncio.server import Server as WebSocketServer, ServerConnection, serve, unix_serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from byzer_magic import errors, request_ids
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger, redact
from byzer_magic.runtime import forks
from byzer_magic.runtime.transport import attachments, protocol, tcp, tls
from byzer_magic.runtime.transport.outbox import Outbox
from byzer_magic.runtime.transport.protocol import MAX_BODY_BYTES
from byzer_magic.safety import peers

Handler = Callable[[Any], AsyncIterator[Any]]
"""A method: takes the decoded body of a call, yields the items of its response."""
Identify = Callable[[str], Awaitable[tls.Identity]]
"""Returns what a server at an address shows to its clients."""

HIGH_WATER_BYTES = 4 * 1024 * 1024
"""While more than this is unsent, calls wait until their client has read (backpressure)."""
BACKLOG = 1024
"""Connections that may wait to be accepted: all notebooks connect at once to a pool that was restarted."""
UNIX_PATH_BYTES = 100
"""Longest path of a Unix socket: `sun_path` has 108 bytes on Linux, 104 on macOS (`man 7 unix`)."""

log = get_logger("server")


class Server:
    """Serves methods on a Unix socket of this node and on TCP with TLS, both protected by the same token.

    The Unix socket is for processes of the same user, and of root, only.

    Args:
        methods: the methods by name.
        path: the Unix socket.
        host: the address to listen on for other nodes.
        token: what clients must send.
        hidden: secrets that are replaced in the texts of unexpected errors.
        identify: returns the certificate for TCP; called once, before the server listens there.
    """

    def __init__(
        self, methods: dict[str, Handler], *, path: Path, host: str, token: str, hidden: tuple[str, ...] = (),
        identify: Identify = tls.self_certified,
    ) -> None:  # fmt: skip
        self._methods = methods
        self._path = path
        self._host = host
        self._token = token
        self._identify = identify
        self._hidden = hidden
        self._servers: list[WebSocketServer] = []
        self._peers: set[_Peer] = set()
        self._port = 0
        self._authority = ""
        self._opening_port = asyncio.Lock()
        forks.register(self)

    def forked(self) -> None:
        """Leave the sockets to the parent: its clients must notice when it ends, whatever its children do."""
        servers, self._servers = self._servers, []
        forks.keep(*servers)
        for server in servers:
            sockets = [connection.transport.get_extra_info("socket") for connection in server.connections]
            forks.drop(socket.fileno() for socket in (*server.sockets, *sockets))

    async def start(self, *, tcp: bool) -> None:
        """Listen on the Unix socket, and on TCP where `tcp` asks for it or the socket's path is too long."""
        short = len(str(self._path)) <= UNIX_PATH_BYTES
        if short:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)  # left by a process that was killed
            old_mask = os.umask(0o177)
            try:
                server = await unix_serve(self._serve, str(self._path), ping_interval=None, **self._options())
                self._servers.append(server)
            finally:
                os.umask(old_mask)
        if tcp or not short:
            await self.listen_on_tcp()

    async def listen_on_tcp(self) -> None:
        """Listen on a free port, too, unless that is so already.

        Raises:
            ByzerError: this process has got no certificate.
        """
        async with self._opening_port:
            if self._port:
                return
            identity = await self._identify(self._host)
            listening = tcp.listening(self._host)
            server = await serve(
                self._serve, sock=listening, ssl=tls.of_server(identity), ping_timeout=protocol.PING_SECONDS,
                **self._options(),
            )  # fmt: skip
            self._servers.append(server)
            self._authority = identity.authority
            self._port = listening.getsockname()[1]

    def _options(self) -> dict[str, Any]:
        quiet = logging.getLogger("byzer_magic.server.handshake")
        quiet.setLevel(logging.CRITICAL)  # a port scan would fill the log with tracebacks
        return {
            "process_request": self._authorize,
            "max_size": protocol.MAX_MESSAGE_BYTES,
            "backlog": BACKLOG,
            "compression": None,
            "logger": quiet,
            "server_header": None,
        }

    def hide_more(self, hidden: tuple[str, ...]) -> None:
        """Replace these secrets, too, in the texts of unexpected errors from now on."""
        self._hidden = (*self._hidden, *hidden)

    def endpoint(self, node: str) -> protocol.Endpoint:
        """Return where this server listens, on the given Ray node."""
        place = str(self._path), self._host, self._port
        return protocol.Endpoint(*place, self._token, node, os.getpid(), os.geteuid(), self._authority)

    def stop(self) -> None:
        """Stop listening and remove the socket; open connections remain until their clients close them."""
        for server in self._servers:
            server.close(close_connections=False)
        self._path.unlink(missing_ok=True)

    def _authorize(self, connection: ServerConnection, request: Request) -> Response | None:
        if (uid := peers.stranger(connection.transport.get_extra_info("socket"), os.geteuid())) is not None:
            log.warning("a process of user %s tried to connect", uid)
            return connection.respond(http.HTTPStatus.FORBIDDEN, "another user's\n")
        given = request.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "wrong token\n")

    async def _serve(self, connection: ServerConnection) -> None:
        peer = _Peer(connection, self)
        self._peers.add(peer)
        try:
            await peer.run()
        except (ConnectionClosed, protocol.ProtocolError) as err:
            log.debug("connection ended: %s", type(err).__name__)
        finally:
            self._peers.discard(peer)
            await peer.close()

    def end_calls(self, methods: Collection[str], err: errors.ByzerError) -> None:
        """End the calls of some methods that run, so that their clients need not guess why.

        Args:
            methods: their names.
            err: what their clients get.
        """
        for peer in self._peers:
            peer.end_calls(methods, err)

    async def answer(self, call: protocol.Call, media: dict[str, bytes], peer: _Peer) -> None:
        """Run one call to its end; its client receives either Done or Fail."""
        request_ids.CURRENT.set(request_ids.checked(call.request_id))  # the task of this call has a context of its own
        try:
            body = attachments.attach(protocol.body_of(call), media)
            handler = self._methods.get(call.method)
            if handler is None:
                raise protocol.ProtocolError("not a method of this worker")
        except protocol.ProtocolError as err:
            malformed = errors.CommandError(
                _("Malformed call {method!r}: {error}.", method=call.method[:100], error=err)
            )
            peer.fail(call.id, malformed)
            return
        try:
            later = False
            async with aclosing(handler(body)) as items:  # type: ignore[type-var]  # async generators all
                async for item in items:
                    packed = protocol.pack(item)
                    size = len(packed)
                    if size > MAX_BODY_BYTES:
                        raise _too_large(size)
                    if held := peer.held.get(call.id):
                        await held.wait()
                    if peer.outbox.is_full:
                        await peer.outbox.room()
                    peer.put(protocol.Item(call.id, packed), size, may_wait=later)
                    later = True
            peer.put(protocol.Done(call.id))
        except errors.ByzerError as err:
            log.warning("%s failed: %s: %s", call.method, err.code, err.message)
            peer.fail(call.id, err)
        except Exception as err:  # whatever a call raises goes to its caller
            log.exception("call %s failed", call.method)
            text = redact(f"{type(err).__name__}: {err}", self._hidden)
            peer.fail(call.id, errors.RequestError(text, _("See %byzer logs.")))


def _too_large(size: int) -> errors.RequestError:
    return errors.RequestError(
        _(
            "A part of the response has {size:.0f} MB, more than the {limit:.0f} MB that can be sent at once.",
            size=size / 1e6,
            limit=MAX_BODY_BYTES / 1e6,
        ),
        _("Request less at once, such as a smaller image or shorter audio."),
    )


class _Peer:
    """One connection: its running calls."""

    def __init__(self, connection: ServerConnection, server: Server) -> None:
        self._connection = connection
        self._server = server
        self._calls: dict[int, asyncio.Task[None]] = {}
        self.held: dict[int, asyncio.Event] = {}
        """Calls of which the client wants no items for now, each with what is set when it wants them again."""
        self._cache = attachments.AttachmentCache()
        self.outbox = Outbox(connection, HIGH_WATER_BYTES)

    async def run(self) -> None:
        """Read calls until the connection ends."""
        async for message in self._connection:
            if isinstance(message, str):
                raise protocol.ProtocolError("text frame")
            for frame in protocol.read_calls(message):
                if isinstance(frame, protocol.Call):
                    await self._start(frame)
                else:
                    self._take(frame)

    def _take(self, frame: protocol.AttachmentChunk | protocol.Cancel | protocol.Hold) -> None:
        if isinstance(frame, protocol.AttachmentChunk):
            self._cache.arrive(frame)
        elif isinstance(frame, protocol.Hold):
            self._hold(frame)
        elif task := self._calls.get(frame.id):
            task.cancel()

    def _hold(self, frame: protocol.Hold) -> None:
        if not frame.on:
            if event := self.held.pop(frame.id, None):
                event.set()
        elif frame.id in self._calls:
            self.held.setdefault(frame.id, asyncio.Event())

    async def _start(self, call: protocol.Call) -> None:
        media = self._cache.take(call.media)
        if call.id in self._calls:  # the client could not tell the two responses apart
            refused = errors.CommandError(_("The client has a call with the number {id} already.", id=call.id))
            self.fail(call.id, refused)
        else:
            task = asyncio.create_task(self._server.answer(call, media, self), name=call.method)
            self._calls[call.id] = task
            task.add_done_callback(functools.partial(self._ended, call.id))
        await asyncio.sleep(0)  # a message may have a million calls
        await self.outbox.room()  # a client that does not read its responses starts no more calls

    def _ended(self, call_id: int, _task: asyncio.Task[None]) -> None:
        self._calls.pop(call_id, None)
        self.held.pop(call_id, None)

    def put(self, frame: protocol.ToClient, size: int = 0, *, may_wait: bool = False) -> None:
        """Queue a frame; one that may wait for others does so only where the client has other calls.

        Args:
            frame: the frame.
            size: bytes of its body.
            may_wait: whether it is neither the first item of a response nor its end.
        """
        self.outbox.put(frame, size, may_wait=may_wait and len(self._calls) > 1)

    def fail(self, call_id: int, err: errors.ByzerError) -> None:
        """Queue the frame that ends a call with an error."""
        error = protocol.pack_error(err)
        self.put(protocol.Fail(call_id, error), len(error))

    def end_calls(self, methods: Collection[str], err: errors.ByzerError) -> None:
        """End the calls of some methods with an error."""
        for call_id, task in self._calls.items():
            if task.get_name() in methods and not task.done():
                self.fail(call_id, err)
                task.cancel()

    async def close(self) -> None:
        """Cancel the calls in flight and wait until they have freed their slots."""
        self.outbox.close()
        tasks = list(self._calls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()
