"""The Rays of this machine: this user's, the process that holds the local one, and those of other users."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from byzer_magic.files.private import read_own, read_small, write_own
from byzer_magic.runtime.cluster.address import LOCAL, from_environment
from byzer_magic.runtime.cluster.listeners import is_up, owner
from byzer_magic.runtime.cluster.loopback import plain, spelled
from byzer_magic.runtime.cluster.own_folder import find, own_folder, ray_folder
from byzer_magic.safety.peers import name_of

CLUSTER_FILE = "ray_current_cluster"
"""Ray's own file, below its folder: the address of the cluster that `auto` means to `ray.init`."""
HEAD_FILE = "byzer_head.json"
"""The file of the local Ray, in this user's folder."""
HEAD_MODULE = "byzer_magic.runtime.cluster.local_head"


def running_cluster(*, only_local: bool = False) -> str | None:
    """Return the address of this user's Ray that runs on this machine, or None.

    It is the one in Ray's own file, if this user has written that and nobody else listens there; else the local Ray.

    Args:
        only_local: consider only the local Ray.
    """
    head = local_head()
    local = head.address if head else None
    named = None if only_local else _named_by_ray()
    if named and is_up(named) and (named == local or owner(named) in (None, os.getuid())):  # ports are reused
        return named
    return local if local and is_up(local) else None


def current_cluster() -> str | None:
    """Return the address of the cluster that `auto` means, or None where nothing listens there.

    It is the one that RAY_ADDRESS names, else this user's on this machine.
    """
    target = from_environment()
    if target.is_here:
        return running_cluster(only_local=target.address == LOCAL)
    return target.address if is_up(target.address) else None


def foreign_cluster() -> tuple[str, str] | None:
    """Return the address and the user of another user's Ray, which Ray's own file on this machine names; else None."""
    written = read_small(ray_folder() / CLUSTER_FILE)
    if written is None or not is_up(written.text):
        return None
    listener = owner(written.text)
    uid = written.uid if listener is None else listener
    return None if uid == os.getuid() else (plain(written.text), name_of(uid))


class Head(msgspec.Struct, frozen=True):
    """The process that holds the local Ray (see `byzer_magic.runtime.cluster.local_head`)."""

    pid: int
    address: str


def local_head() -> Head | None:
    """Return what the process that holds this user's local Ray has written; None where none runs."""
    folder = find()
    written = read_own(folder / HEAD_FILE) if folder else None
    try:
        head = msgspec.json.decode(written, type=Head) if written else None
    except msgspec.DecodeError:
        return None
    return head if head is not None and is_head(head.pid) else None


@contextlib.contextmanager
def announced(address: str) -> Iterator[None]:
    """While the block runs, name this process as the one that holds the local Ray, in its own file and in Ray's.

    Ray's file has the effect that `ray.init(address="auto")` finds this cluster in any program of this user.

    Args:
        address: the address of the local Ray.
    """
    file = own_folder() / HEAD_FILE
    with write_own(file) as output:
        output.write(msgspec.json.encode(Head(os.getpid(), address)))
    _name_for_ray(address)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        if _named_by_ray() == address:
            (ray_folder() / CLUSTER_FILE).unlink(missing_ok=True)


def _name_for_ray(address: str) -> None:
    """Write Ray's own file, unless it is another user's, or names a Ray that runs."""
    folder = ray_folder()
    file = folder / CLUSTER_FILE
    named = _named_by_ray()
    if named is None and (file.is_symlink() or file.exists()):
        return
    if named is not None and is_up(named):
        return
    with contextlib.suppress(OSError):  # another user's folder: then only this package finds the local Ray
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o1777)  # for all users, as Ray makes it, but nobody removes the files of others
        if folder.lstat().st_uid not in (0, os.getuid()) and folder.is_symlink():
            return
        file.unlink(missing_ok=True)
        with write_own(file) as output:
            output.write(spelled(address).encode())


def is_head(pid: int) -> bool:
    """Return whether a process is this user's and holds a local Ray: process ids are reused."""
    try:
        process = Path(f"/proc/{pid}")
        state = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        ours = process.stat().st_uid == os.getuid()
        return ours and state != "Z" and HEAD_MODULE in (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False


def _named_by_ray() -> str | None:
    """Return the address in Ray's own file, if this user has written it."""
    written = read_small(ray_folder() / CLUSTER_FILE)
    return plain(written.text) if written is not None and written.uid == os.getuid() else None
