"""Opening a connection to a pool or an engine."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.transport import protocol, tcp, tls
from byzer_magic.safety import peers

OPEN_SECONDS = 5.0
"""How long it may take."""
FULL_SECONDS = 0.01
"""Pause before another attempt, while more connect than the other side has accepted."""


async def connect_to(endpoint: protocol.Endpoint) -> ClientConnection:
    """Return a connection to a pool or an engine: over its Unix socket where it is on this machine, else over TLS.

    Raises:
        CannotConnect: another user's process listens at its Unix socket, or it runs as another user here, or it has
            no certificate.
        SSLCertVerificationError: whoever listens there has no certificate of the cluster; nothing was sent.
        OSError: nothing listens.
        InvalidHandshake: it does not accept the token.
        TimeoutError: it does not answer.
    """
    common: dict[str, Any] = {
        "additional_headers": {"Authorization": f"Bearer {endpoint.token}"},
        "max_size": protocol.MAX_MESSAGE_BYTES,
        "compression": None,
        "user_agent_header": None,
        "open_timeout": OPEN_SECONDS,
    }
    if os.path.exists(endpoint.path):  # noqa: ASYNC240, PTH110 - a stat of a local socket
        try:
            own = await _unix_socket(endpoint)
            return await unix_connect(uri="ws://pool/", sock=own, ping_interval=None, **common)
        except PermissionError:  # another user's
            pass
        except ConnectionRefusedError:  # left by a killed process that was restarted on another node
            if not endpoint.port:
                raise
    if not endpoint.port:
        if endpoint.uid not in (-1, os.geteuid()) and os.geteuid() != peers.ROOT:
            raise _of_another(endpoint.uid)
        raise FileNotFoundError(endpoint.path)
    if not endpoint.authority:
        raise errors.CannotConnect(
            _("{endpoint} offers no TLS: nothing was sent.", endpoint=f"{endpoint.host}:{endpoint.port}"),
            _("Deploy the model again with --replace."),
        )
    own = await tcp.connected(endpoint.host, endpoint.port, OPEN_SECONDS)
    context = tls.of_client(endpoint.authority)
    return await connect(
        "wss://pool/", sock=own, ssl=context, server_hostname=endpoint.host, proxy=None,
        ping_timeout=protocol.PING_SECONDS, **common,
    )  # fmt: skip


async def _unix_socket(endpoint: protocol.Endpoint) -> socket.socket:
    """Return a socket that is connected to the process of the expected user: others see neither token nor request.

    Raises:
        CannotConnect: another user's process listens there.
        OSError: nobody does.
    """
    own = socket.socket(socket.AF_UNIX)
    try:
        own.setblocking(False)  # noqa: FBT003 - Python's own parameter
        async with asyncio.timeout(OPEN_SECONDS):
            await _connect(own, endpoint.path)
        expected = os.geteuid() if endpoint.uid < 0 else endpoint.uid
        if (uid := peers.stranger(own, expected)) is not None:
            raise errors.CannotConnect(
                _("The socket {path} belongs to a process of user {user}: nothing was sent.",
                  path=endpoint.path, user=peers.name_of(uid)),
                _("Deploy the model again with --replace, and tell the administrator of this machine."),
            )  # fmt: skip
    except BaseException:  # also a cancellation: it is not left open
        own.close()
        raise
    return own


async def _connect(own: socket.socket, path: str) -> None:
    """Connect a Unix socket that does not block, waiting while the backlog of the listener is full.

    The loop's `sock_connect` would wait until the socket is writable, which an unconnected Unix socket always is.
    """
    while True:
        try:
            own.connect(path)
        except BlockingIOError:  # EAGAIN, see `man 2 connect`
            await asyncio.sleep(FULL_SECONDS)
        else:
            return


def _of_another(uid: int) -> errors.CannotConnect:
    return errors.CannotConnect(
        _(
            "The deployment runs as user {user}, whose processes alone can reach it on this machine.",
            user=peers.name_of(uid),
        ),
        _("Use a Ray of your own: --ray_address local."),
    )
