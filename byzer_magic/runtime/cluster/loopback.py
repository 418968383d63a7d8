"""The local Ray listens on loopback only; this is how its address is written so that every driver reaches it.

Ray binds all ports of a node to loopback where the node's address is one of loopback. A driver, however, replaces
`127.0.0.1`, `::1` and `localhost` in the address of a cluster with the address of a network card, where such a Ray does
not listen. It looks at the letters only: in capitals, the name goes to the resolver, to which case means nothing
(RFC 4343).
"""

from __future__ import annotations

import socket

from byzer_magic.runtime.cluster.listeners import is_up, split

SPELLED = "LOCALHOST"
"""The name of loopback as Ray leaves it."""


def plain(address: str) -> str:
    """Return an address as the processes of that Ray have it: a name of loopback becomes a number.

    Example:
        >>> plain("LOCALHOST:6379"), plain("10.0.0.5:6379"), plain("auto")
        ('127.0.0.1:6379', '10.0.0.5:6379', 'auto')
    """
    parts = split(address)
    if parts is None or parts[0].lower() != "localhost":
        return address
    host = _number()
    return f"[{host}]:{parts[1]}" if ":" in host else f"{host}:{parts[1]}"


def spelled(address: str) -> str:
    """Return an address in which Ray replaces nothing.

    Example:
        >>> spelled("127.0.0.1:6379"), spelled("[::1]:6379"), spelled("10.0.0.5:6379")
        ('LOCALHOST:6379', 'LOCALHOST:6379', '10.0.0.5:6379')
    """
    parts = split(address)
    return f"{SPELLED}:{parts[1]}" if parts and is_loopback(parts[0]) else address


def for_ray(address: str) -> str:
    """Return what `ray.init` is to be given: a Ray of `ray start` is reached at its network card, as it expects."""
    parts = split(address)
    if parts is None or not is_loopback(parts[0]):
        return address
    from ray._private import services

    card = services.get_node_ip_address()
    return address if is_up(f"[{card}]:{parts[1]}" if ":" in card else f"{card}:{parts[1]}") else spelled(address)


def is_loopback(host: str) -> bool:
    """Return whether Ray replaces a host, in whatever spelling."""
    return host.lower() in ("127.0.0.1", "::1", "localhost")


def _number() -> str:
    """Return the number of loopback, as Ray's `get_localhost_ip` does: that of IPv4 where there is one."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            found = socket.getaddrinfo("localhost", None, family)
        except OSError:
            continue
        if found:
            return str(found[0][4][0])
    return "127.0.0.1"
