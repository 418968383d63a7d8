"""What the processes of a user leave on the disk: temporary files of engines, sessions of local Rays.

An engine makes temporary files that nobody removes when it is killed: vLLM a socket for each of its processes, in the
folder that all users share. So each worker has a folder of its own for them, which its reaper removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from byzer_magic.runtime.cluster.own_folder import base_folder, find, own_folder

SCRATCH = "t"
"""The folder of these folders: a short name, as Unix sockets are in them."""
KEPT_SESSIONS = 3
"""Of local Rays that have ended, this many sessions are kept, for their logs."""
QUIET_SECONDS = 3600.0
"""A Ray that runs writes a log more often than that."""


def use_scratch() -> Path:
    """Have this process, and those that it starts, make their temporary files in a folder of its own; return that.

    What engines compile is kept, for the next start: in a folder of this user, since it is run when it is found there.

    Raises:
        CannotConnect: see `own_folder`.
    """
    mine = own_folder()
    os.environ.setdefault("RAY_TMPDIR", str(base_folder()))  # it stays what it is
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(mine / "compiled"))
    folder = mine / SCRATCH / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)  # of a process that had this id
    folder.mkdir(parents=True)
    fcntl.flock(os.open(folder, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)  # until this process and its forks end
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def remove_dead() -> None:
    """Remove the temporary files of processes that have ended, and the oldest sessions of Rays that have.

    No process id is looked at: several containers may share a folder, but not their ids.
    """
    mine = find()
    if mine is None:
        return
    for folder in _folders(mine / SCRATCH):
        if not _used(folder):
            shutil.rmtree(folder, ignore_errors=True)
    sessions = sorted(folder for folder in _folders(mine / "ray") if folder.name.startswith("session_2"))
    for folder in sessions[:-KEPT_SESSIONS]:
        if time.time() - _written(folder) > QUIET_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _folders(parent: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [entry for entry in parent.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return []


def _used(folder: Path) -> bool:
    """Return whether the process that has made a folder runs, or one that it has forked."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also a file system without locks
        return True
    finally:
        os.close(descriptor)
    return False


def _written(session: Path) -> float:
    """Return when something was last written into the logs of a session, as time.time()."""
    found = [0.0]
    with contextlib.suppress(OSError):
        found.append(session.stat().st_mtime)
        found += [entry.stat().st_mtime for entry in os.scandir(session / "logs")]
    return max(found)
