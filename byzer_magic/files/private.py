"""Files in folders that others may write: opened without following links, and believed only if they are one's own.

What is checked is what has been opened, not its path, behind which another file may be a moment later.
"""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import IO, NamedTuple

SMALL_BYTES = 1024
_SAFELY = os.O_NOFOLLOW | os.O_CLOEXEC


def write_own(path: Path) -> IO[bytes]:
    """Open the user's own file for writing, truncated and with mode 0600.

    Raises:
        OSError: it cannot be opened, or is a symbolic link, or another user's, or no regular file.
    """
    file = open_own(path)
    file.truncate()
    return file


def open_own(path: Path) -> IO[bytes]:
    """Open a file of one's own for reading and writing, made where there is none; it keeps what is in it.

    Raises:
        OSError: see `write_own`.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | _SAFELY, 0o600)
    try:
        status = os.fstat(descriptor)
        _check(status, path)
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except BaseException:  # whatever it is, the file is not left open
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "r+b")


def ensure_own(path: Path) -> None:
    """Make an empty file of one's own with mode 0600; one that is there is checked without being opened.

    A process that closes any descriptor of a file loses all locks that it has on it, among them those of SQLite.

    Raises:
        OSError: see `write_own`.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600))
    except FileExistsError:
        status = path.lstat()
        _check(status, path)
        if status.st_mode & 0o077:
            path.chmod(0o600)


def _check(status: os.stat_result, path: Path) -> None:
    """Check that a file is regular, one's own, and has no other name.

    Raises:
        PermissionError: it is not.
    """
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.getuid() or status.st_nlink > 1:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(path))


class Exposed(PermissionError):
    """A file of one's own is one that others can write, too."""


def read_own(path: Path) -> bytes | None:
    """Return what is in a file of one's own; None where there is none, or it is a link or another user's.

    Raises:
        Exposed: others can write it, so that nothing in it is to be believed.
    """
    descriptor = _opened(path)
    if descriptor is None:
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid():
            return None
        if status.st_mode & 0o022:
            raise Exposed(errno.EPERM, os.strerror(errno.EPERM), str(path))
        try:
            return file.read()
        except OSError:
            return None


def replace_own(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Give a file of one's own new content and mode 0600, at once: no reader sees half of it.

    Args:
        path: the file; its folder exists.
        content: what is to be in it.
        durable: whether to wait until it is on the disk, so that it is whole after a power cut, too.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the file is as it was.
    """
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as output:
            output.write(content)
            output.flush()
            if durable:
                os.fsync(output.fileno())
        Path(unfinished).replace(path)
    except BaseException:  # whatever it is, nothing is left beside the file
        Path(unfinished).unlink(missing_ok=True)
        raise


class Written(NamedTuple):
    """What a small file says, and who owns it."""

    text: str
    uid: int


def read_small(path: Path) -> Written | None:
    """Read a file that may be anybody's; None where there is none, or a link, a device, or more than a line."""
    descriptor = _opened(path)
    if descriptor is None:
        return None
    try:
        text = os.read(descriptor, SMALL_BYTES).decode().strip()
        uid = os.fstat(descriptor).st_uid
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)
    return Written(text, uid) if text.isprintable() and text else None


def is_private(folder: Path) -> bool:
    """Return whether a folder is this user's and no link; one that others can enter is closed to them."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _SAFELY)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid():
            return False
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o700)
        return True
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int | None:
    """Return the descriptor of a regular file; None where there is none, or a symbolic link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _SAFELY)
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
