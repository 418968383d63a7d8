"""TCP between the nodes of a cluster: sockets that notice when the other machine has gone.

A process that loads a model may be busy for minutes, and only its kernel answers. So it is the kernels that ask each
other, and a machine that was switched off or cut off is noticed within `GONE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import socket

GONE_SECONDS = 20
"""After how long without a sign of the other machine a connection ends."""
ASK_SECONDS = 5
"""After how long without data the other machine is asked for one, and how often."""
_OPTIONS = {
    "TCP_KEEPIDLE": ASK_SECONDS,
    "TCP_KEEPALIVE": ASK_SECONDS,  # what macOS calls it
    "TCP_KEEPINTVL": ASK_SECONDS,
    "TCP_KEEPCNT": GONE_SECONDS // ASK_SECONDS,
    "TCP_USER_TIMEOUT": GONE_SECONDS * 1000,
    "TCP_NODELAY": 1,
}
"""See `man 7 tcp`; a system has some of them."""


def listening(host: str) -> socket.socket:
    """Return a socket that listens at a free port.

    Args:
        host: an address of this machine.

    Raises:
        OSError: it is not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    own = socket.create_server((host, 0), family=family)
    _watched(own)  # connections inherit it
    return own


async def connected(host: str, port: int, seconds: float) -> socket.socket:
    """Return a socket that is connected to a port.

    Args:
        host: the address of the other machine.
        port: its port.
        seconds: how long it may take.

    Raises:
        OSError: nothing listens there.
        TimeoutError: the machine does not answer.
    """
    own = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        own.setblocking(False)  # noqa: FBT003 - Python's own parameter
        _watched(own)
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(own, (host, port))
    except BaseException:  # also a cancellation
        own.close()
        raise
    return own


def _watched(own: socket.socket) -> None:
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if (option := getattr(socket, name, None)) is not None:
            own.setsockopt(socket.IPPROTO_TCP, option, value)
