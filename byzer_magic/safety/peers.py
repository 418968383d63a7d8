"""Which user is at the other end of a Unix socket, as the kernel reports it (SO_PEERCRED).

The path proves nothing: whoever can write to one of its folders can put their own socket there. So both ends check
before they send anything. Root is let in: it could read everything anyway.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import socket
import struct
from typing import Protocol

_CREDENTIALS = struct.Struct("iII")
"""Linux's `struct ucred`: pid, uid, gid (`man 7 unix`)."""
ROOT = 0


class _Socket(Protocol):
    """What is needed of a socket; asyncio hands out less than a whole one."""

    @property
    def family(self) -> int: ...

    def fileno(self) -> int: ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def uid_of(connected: _Socket) -> int | None:
    """Return the user at the other end of a connected Unix socket; None where the system cannot tell, or for TCP."""
    if connected.family != socket.AF_UNIX:
        return None
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        uid: int = _CREDENTIALS.unpack(credentials)[1]
        return uid
    ask = getattr(ctypes.CDLL(None, use_errno=True), "getpeereid", None)  # macOS and the BSDs
    if ask is None:
        return None
    user, group = ctypes.c_uint32(), ctypes.c_uint32()
    if ask(connected.fileno(), ctypes.byref(user), ctypes.byref(group)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return user.value


def stranger(connected: _Socket, expected: int) -> int | None:
    """Return the user at the other end unless it is the expected one, or root, or unknown.

    Args:
        connected: a connected socket.
        expected: the user who may be there.
    """
    uid = uid_of(connected)
    return None if uid in (None, expected, ROOT) else uid


def name_of(uid: int) -> str:
    """Return the name of a user, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
