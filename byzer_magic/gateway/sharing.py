"""Who shares a port: processes of one cluster may, those of two clusters of the same user must not.

A port that is shared (SO_REUSEPORT) is open to every process of the user, and the system deals connections out to all.
So each process that shares one also holds an abstract Unix socket, whose name has the port and the cluster; like the
port, it belongs to the network namespace, and it ends with its process.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
from pathlib import Path

from byzer_magic.errors import ConfigError
from byzer_magic.i18n import lazy_gettext as _

_SOCKETS = Path("/proc/net/unix")
"""The kernel's list of Unix sockets; an abstract one begins with @."""


def share(port: int, cluster: str) -> socket.socket | None:
    """Note that this process shares a port with those of its cluster, until the socket is closed.

    Args:
        port: where it is about to listen.
        cluster: a name that no other cluster has.

    Returns:
        The socket to keep; None where the system has no such sockets.

    Raises:
        ConfigError: a process of another cluster listens there.
    """
    if not _SOCKETS.exists():
        return None
    everyone = f"byzer-endpoint-{os.geteuid()}-{port}-"
    ours = f"{everyone}{hashlib.sha256(cluster.encode()).hexdigest()[:16]}-"
    own = socket.socket(socket.AF_UNIX)
    own.bind(f"\0{ours}{secrets.token_hex(8)}")  # before looking: of two that start at once, one sees the other
    if any(name.startswith(everyone) and not name.startswith(ours) for name in _names()):
        own.close()
        raise ConfigError(
            _("Port {port} is taken by the endpoint of another Ray of yours.", port=port),
            _("Choose another --port, or end that endpoint: serve --stop --ray_address ADDRESS"),
        )
    return own


def _names() -> list[str]:
    """Return the names of all abstract Unix sockets."""
    rows = _SOCKETS.read_text(encoding="utf-8", errors="replace").splitlines()
    return [row.rpartition(" @")[2] for row in rows if " @" in row]
