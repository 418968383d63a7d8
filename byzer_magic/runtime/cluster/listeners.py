"""Who listens at an address: whether somebody does, and, on this machine, which user."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

PROBE_SECONDS = 2.0
_HOST = re.compile(r"[\w.-]+")
_LISTEN = "0A"
"""A listening socket's state in /proc/net/tcp (`man 5 proc`)."""


def listens(host: str, port: int) -> bool:
    """Return whether a TCP connection to `host` and `port` is accepted."""
    try:
        with socket.create_connection((host, port), PROBE_SECONDS):
            return True
    except (OSError, OverflowError, UnicodeError):  # no such port or no such name
        return False


def split(address: str) -> tuple[str, int] | None:
    """Return host and port of `host:port` or `[IPv6]:port`; None where it is neither.

    Example:
        >>> split("[::1]:6379"), split("10.0.0.5"), split("::1:6379")
        (('::1', 6379), None, None)
    """
    host, _colon, digits = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_ipv6(host):
            return None
    elif not _HOST.fullmatch(host):
        return None
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) < 65536:
        return None
    return host, int(digits)


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address, without brackets."""
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False


def is_up(address: str) -> bool:
    """Return whether something listens at `host:port`."""
    parts = split(address)
    return parts is not None and listens(*parts)


def owner(address: str) -> int | None:
    """Return the id of the user whose process listens at `host:port` of this machine; None where that is unknown.

    The kernel lists all listening sockets with their users, for everyone. None also means another machine.
    """
    parts = split(address)
    if parts is None:
        return None
    try:
        found = socket.getaddrinfo(*parts, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    hosts = {ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    for listener, port, uid in _listeners():
        if port == parts[1] and (listener in hosts or (listener.is_unspecified and _is_here(hosts))):
            return uid
    return None


def _listeners() -> Iterator[tuple[IPv4Address | IPv6Address, int, int]]:
    for name in ("tcp", "tcp6"):
        try:
            rows = Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN:
                host, _colon, port = fields[1].partition(":")
                yield _address(host), int(port, 16), int(fields[7])


def _address(digits: str) -> IPv4Address | IPv6Address:
    """Return the address that the kernel prints as words of 32 bits in the machine's byte order."""
    raw = b"".join(struct.pack("=I", int(digits[start : start + 8], 16)) for start in range(0, len(digits), 8))
    found = ip_address(raw)
    return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found


def _is_here(hosts: set[IPv4Address | IPv6Address]) -> bool:
    """Return whether one of the addresses is this machine's: only then a socket can be bound to it."""
    for host in hosts:
        family = socket.AF_INET6 if isinstance(host, IPv6Address) else socket.AF_INET
        with socket.socket(family) as probe:
            try:
                probe.bind((str(host), 0))
            except OSError:
                continue
            return True
    return False
