"""Files that users name for results: checked before anything is paid for, written beside and renamed.

Whoever can write to a shared folder can put a link where the user's file will be. In a folder that others may write
in, a link of another user is not followed, as Linux does in /tmp (`fs.protected_symlinks`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from byzer_magic.files.paths import expanded

MAX_LINKS = 40
"""Links that Linux follows at most (`man 7 path_resolution`)."""


def check(path: str | Path) -> None:
    """Check that a file can be written.

    Raises:
        OSError: it cannot.
    """
    target = _target(expanded(path))
    if target.exists():
        if target.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(target, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return
    if not target.parent.is_dir():
        number = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
        raise OSError(number, os.strerror(number))
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if len(os.fsencode(target.name)) > os.pathconf(target.parent, "PC_NAME_MAX"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def write(path: str | Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file: all of it or nothing, so that what was there before is lost only for what takes its place.

    Devices, pipes and files whose folder is not writable are written in place.

    Args:
        path: the file.
        data: what is to be in it, whole or in pieces.

    Raises:
        OSError: it cannot be written.
    """
    check(path)
    target = _target(expanded(path))
    in_place = target.exists() and not (target.is_file() and os.access(target.parent, os.W_OK | os.X_OK))
    pieces = [data] if isinstance(data, bytes) else data
    if in_place:
        with target.open("wb") as file:
            file.writelines(pieces)
        return
    beside = target.with_name(f".{secrets.token_hex(8)}.part")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if target.exists():
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
            file.writelines(pieces)
        beside.replace(target)
    except BaseException:  # nothing is left behind, whatever it is
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def _target(path: Path) -> Path:
    """Return where a path leads, link by link, which is what is to be written."""
    path = path.absolute()
    target, left, links = Path(path.anchor), [*reversed(path.parts[1:])], 0
    while left:
        name = left.pop()
        step = target.parent if name == ".." else target / name
        if not step.is_symlink():
            target = step
            continue
        if not _is_trusted(step):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if (links := links + 1) > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        leads_to = step.readlink()
        if step.exists() and not os.path.lexists(target / leads_to):  # of /proc: an open pipe, which has no name
            return step.joinpath(*reversed(left))
        target = Path(leads_to.anchor) if leads_to.is_absolute() else target
        left += reversed(leads_to.parts[1:] if leads_to.is_absolute() else leads_to.parts)
    return target


def _is_trusted(link: Path) -> bool:
    """Return whether a link is one's own or the system's, or stands where only its folder's owner can put one."""
    folder = link.parent.stat()
    shared = bool(folder.st_mode & (stat.S_IWOTH | stat.S_IWGRP))
    return not shared or link.lstat().st_uid in (os.geteuid(), folder.st_uid)
