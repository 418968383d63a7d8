"""Files that say where things are on this machine. Needs no Ray, whose import alone takes 2 s.

A pool writes its endpoint into a file that only its user can read, so that a shell command or a fresh notebook on
the same machine reaches it in milliseconds; whoever finds no such file, or nobody listening, asks Ray.
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
"""Characters of an alias, quoted, in the name of a file: file systems allow 255 in all."""


def temp_folder() -> Path:
    """Return Ray's folder for sessions (RAY_TMPDIR, else TMPDIR, else /tmp, as Ray itself chooses)."""
    folder = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"  # noqa: S108 - Ray's own
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def listens(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), PROBE_SECONDS):
            return True
    except OSError:
        return False


def running_cluster() -> str | None:
    """Return the address of the Ray that runs on this machine, or None."""
    file = temp_folder() / "ray_current_cluster"
    address = file.read_text(encoding="utf-8").strip() if file.exists() else ""
    host, _, port = address.rpartition(":")
    return address if port.isdigit() and listens(host, int(port)) else None


def announce(folder: Path, alias: str, endpoint: Endpoint) -> None:
    """Write an alias's endpoint (and its token) where only this user can read it."""
    descriptor, unfinished = tempfile.mkstemp(dir=folder)  # mode 0600
    with os.fdopen(descriptor, "wb") as output:
        output.write(msgspec.json.encode({**msgspec.to_builtins(endpoint), "alias": alias}))
    Path(unfinished).replace(_file(folder, alias))  # whole or not at all


def withdraw(folder: Path, alias: str) -> None:
    """Take an alias's file away."""
    _file(folder, alias).unlink(missing_ok=True)


def announced(alias: str) -> Endpoint | None:
    """Return the endpoint of an alias of the running cluster if it is on this machine and listens, else None."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    file = _file(temp_folder() / "session_latest" / "byzer", alias)
    try:
        if file.stat().st_uid != os.getuid():  # the folder may be anyone's: prompts go to our own pools only
            return None
        endpoint = msgspec.json.decode(file.read_bytes(), type=Endpoint)
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(endpoint.path)
    except (OSError, msgspec.DecodeError):  # nothing, nothing for us to read, or nobody there
        return None
    return endpoint if running_cluster() else None


def aliases() -> list[str] | None:
    """Return the aliases of the running cluster that have listened on this machine, or None when no Ray runs."""
    if running_cluster() is None:
        return None
    found = []
    for file in (temp_folder() / "session_latest" / "byzer").glob("*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(file.read_bytes(), type=_Announced).alias)
    return sorted(found)


class _Announced(Endpoint, frozen=True):
    """An endpoint, and whose it is."""

    alias: str = ""


def keep_log(alias: str, lines: list[str]) -> None:
    """Keep what the workers of a deploy that failed have written, if that can be: the deployment itself is gone."""
    with contextlib.suppress(OSError):  # what is lost is less than the error that people wait for
        file = _log_file(alias)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if _is_ours(file.parent):
            file.touch(mode=0o600)
            file.write_text("\n".join(lines), encoding="utf-8")


def kept_log(alias: str) -> list[str]:
    """Return what was kept of an alias's last failed deploy."""
    file = _log_file(alias)
    try:
        return file.read_text(encoding="utf-8").splitlines() if _is_ours(file.parent) else []
    except OSError:
        return []


def forget_log(alias: str) -> None:
    """Forget what was kept."""
    with contextlib.suppress(OSError):
        _log_file(alias).unlink(missing_ok=True)


def _is_ours(folder: Path) -> bool:
    """Return whether a folder in a place where all may write is this user's own, and no link to elsewhere."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _log_file(alias: str) -> Path:
    return temp_folder() / f"byzer-failed-{os.getuid()}" / f"{_name(alias)}.log"


def _file(folder: Path, alias: str) -> Path:
    return folder / f"{_name(alias)}.json"


def _name(alias: str) -> str:
    """Return the name of an alias's file: one of Chinese characters is nine times as long when quoted."""
    quoted = quote(alias, safe="")
    if len(quoted) <= LONGEST_NAME:
        return quoted
    return f"{quoted[:LONGEST_NAME]}-{hashlib.sha256(alias.encode()).hexdigest()[:16]}"


def link_to(alias: str) -> Link:
    """Return a link that finds its pool by the file that the pool wrote."""

    async def find() -> Endpoint:
        if (endpoint := announced(alias)) is None:
            raise ConnectionError(alias)
        return endpoint

    return Link(alias, find)
