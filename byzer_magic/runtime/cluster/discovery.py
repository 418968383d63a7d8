"""Service discovery by files on this machine, without Ray, whose import alone takes a second.

A pool writes its endpoint into a file that only its user can read, so that a shell command or a new notebook on the
same machine connects in milliseconds. A client that finds no file, or no listener at its endpoint, asks Ray.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from pathlib import Path
from urllib.parse import quote

import msgspec

from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.protocol import Endpoint

PROBE_SECONDS = 2.0
LONGEST_NAME = 150
"""Characters of a quoted alias in a file's name; a longer one is truncated and hashed. File systems allow 255 bytes."""


def temp_folder() -> Path:
    """Return Ray's folder for sessions, chosen as Ray does: below RAY_TMPDIR, else TMPDIR, else /tmp."""
    folder = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"  # noqa: S108 - Ray's own
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def listens(host: str, port: int) -> bool:
    """Return whether a TCP connection to `host` and `port` is accepted."""
    try:
        with socket.create_connection((host, port), PROBE_SECONDS):
            return True
    except OSError:
        return False


def running_cluster() -> str | None:
    """Return the address of the Ray that runs on this machine, or None."""
    file = temp_folder() / "ray_current_cluster"
    address = file.read_text(encoding="utf-8", errors="replace").strip() if file.exists() else ""
    host, _, port = address.rpartition(":")
    return address if port.isdigit() and listens(host, int(port)) else None


def announce(folder: Path, alias: str, endpoint: Endpoint) -> None:
    """Write the endpoint of an alias, with its token, to a file in `folder` that only this user can read."""
    descriptor, unfinished = tempfile.mkstemp(dir=folder)  # mode 0600
    with os.fdopen(descriptor, "wb") as output:
        output.write(msgspec.json.encode({**msgspec.to_builtins(endpoint), "alias": alias}))
    Path(unfinished).replace(_file(folder, alias))  # atomic: readers never see half a file


def withdraw(folder: Path, alias: str) -> None:
    """Remove the file of an alias."""
    _file(folder, alias).unlink(missing_ok=True)


def announced(alias: str) -> Endpoint | None:
    """Return the endpoint of an alias of the running cluster if its pool listens on this machine, else None."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    file = _file(temp_folder() / "session_latest" / "byzer", alias)
    try:
        if file.stat().st_uid != os.getuid():  # others may write to the folder: send prompts to our own pools only
            return None
        endpoint = msgspec.json.decode(file.read_bytes(), type=Endpoint)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(endpoint.path)
    except (OSError, msgspec.DecodeError):  # no file, not readable, or no listener
        return None
    return endpoint if running_cluster() else None


def aliases() -> list[str] | None:
    """Return the aliases of pools announced on this machine, or None when no Ray runs here."""
    if running_cluster() is None:
        return None
    found = []
    for file in (temp_folder() / "session_latest" / "byzer").glob("*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=_Announced).alias)
    return sorted(found)


class _Announced(Endpoint, frozen=True):
    """An endpoint with its alias."""

    alias: str = ""


def keep_log(alias: str, lines: list[str]) -> None:
    """Store the log of a failed deploy, whose processes no longer exist; `logs` shows it.

    Args:
        alias: the deployment's alias.
        lines: the workers' last lines.
    """
    with contextlib.suppress(OSError):  # the error of the deploy matters more than its log
        file = _log_file(alias)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(file.parent):
            file.touch(mode=0o600)
            file.write_text("\n".join(lines), encoding="utf-8", errors="replace")


def kept_log(alias: str) -> list[str]:
    """Return the stored log of the last deploy of an alias, if that failed; else nothing."""
    file = _log_file(alias)
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines() if _is_ours(file.parent) else []
    except OSError:
        return []


def forget_log(alias: str) -> None:
    """Remove the stored log of an alias."""
    with contextlib.suppress(OSError):
        _log_file(alias).unlink(missing_ok=True)


def _is_ours(folder: Path) -> bool:
    """Return whether a folder belongs to this user and is not a symbolic link: anyone may write beside it."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _log_file(alias: str) -> Path:
    return temp_folder() / f"byzer-failed-{os.getuid()}" / f"{_name(alias)}.log"


def _file(folder: Path, alias: str) -> Path:
    return folder / f"{_name(alias)}.json"


def _name(alias: str) -> str:
    """Return an alias as a file name; quoting makes a Chinese character nine times as long."""
    quoted = quote(alias, safe="")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    return f"{quoted[:LONGEST_NAME]}-{hashlib.sha256(alias.encode()).hexdigest()[:16]}"


def link_to(alias: str) -> Link:
    """Return a link that finds its pool by the file that the pool has written."""

    async def find() -> Endpoint:
        if (endpoint := announced(alias)) is None:
            raise ConnectionError(alias)
        return endpoint

    return Link(alias, find)
