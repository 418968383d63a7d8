"""Which user is at the other end of a TCP connection within this machine, as the kernel reports it.

A port of the loopback address is open to all users of a machine, unlike a Unix socket. Linux tells by its `sock_diag`
(`man 7 sock_diag`) whose a socket is; elsewhere nobody does.
"""

from __future__ import annotations

import os
import socket
import struct

from byzer_magic.safety.peers import ROOT

SOCK_DIAG = 4
"""The protocol of netlink: NETLINK_SOCK_DIAG."""
BY_FAMILY, REQUEST, ALL_STATES = 20, 1, 0xFFFFFFFF
_HEAD = struct.Struct("=IHHII")
"""`nlmsghdr`: length, type, flags, sequence, port."""
_QUERY = struct.Struct("=BBBBI")
"""The start of `inet_diag_req_v2`: family, protocol, extensions, padding, states; the socket's ends follow."""
_ANSWER = struct.Struct("=4x48x12xII")
"""`inet_diag_msg`: here only the user and the inode, which is 0 once the process has closed the socket."""
_NO_COOKIE = b"\xff" * 8
_NO_INTERFACE = b"\0" * 4

Address = tuple[str, int]


def uid_of(client: Address, server: Address) -> int | None:
    """Return the user whose socket is the client's end of a connection; None where the system cannot tell.

    Args:
        client: address and port of the end that is asked for.
        server: those of the other end.

    Raises:
        LookupError: there is no such socket any more.
    """
    if not hasattr(socket, "AF_NETLINK"):
        return None
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCK_DIAG) as diag:
            diag.settimeout(1.0)
            diag.sendto(_request(client, server), (0, 0))
            data = diag.recv(4096)
    except OSError:  # a sandbox may forbid it
        return None
    kind = _HEAD.unpack_from(data)[1]
    if kind != BY_FAMILY:
        raise LookupError(client)
    uid, inode = _ANSWER.unpack_from(data, _HEAD.size)
    if not inode:
        raise LookupError(client)
    found: int = uid
    return found


def tells() -> bool:
    """Return whether the system tells whose a connection is."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = listening.getsockname()
        with socket.create_connection(server) as client:
            return uid_of(client.getsockname(), server) is not None


def _request(client: Address, server: Address) -> bytes:
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    ports = struct.pack("!HH", client[1], server[1])
    ends = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _port in (client, server))
    body = _QUERY.pack(family, socket.IPPROTO_TCP, 0, 0, ALL_STATES) + ports + ends + _NO_INTERFACE + _NO_COOKIE
    return _HEAD.pack(_HEAD.size + len(body), BY_FAMILY, REQUEST, 0, 0) + body


def is_stranger(client: Address, server: Address) -> bool:
    """Return whether the client of a connection within this machine runs as another user; root is none.

    Args:
        client: address and port of the client.
        server: those at which this process listens.
    """
    try:
        uid = uid_of(client, server)
    except LookupError:  # it has closed its end: nobody waits for an answer
        return True
    return uid not in (None, os.geteuid(), ROOT)
