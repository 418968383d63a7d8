"""What the processes of a user leave on the disk: temporary files of engines, sessions of local Rays.

An engine makes temporary files that nobody removes when it is killed: vLLM a socket for each of its processes, in the
folder that all users share. So each worker has a folder of its own for them, which its reaper removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from byzer_magic.runtime.cluster.own_folder import base_folder, find, own_folder

SCRATCH = "t"
"""The folder of these folders: a short name, as Unix sockets are in them."""
KEPT_SESSIONS = 3
"""Of local Rays that have ended, this many sessions are kept, for their logs."""


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
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    return folder


def remove_dead() -> None:
    """Remove the temporary files of processes that have ended, and the oldest sessions of Rays that have."""
    mine = find()
    if mine is None:
        return
    for folder in _folders(mine / SCRATCH):
        if not _runs(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
    ended = [folder for folder in _folders(mine / "ray") if folder.name.startswith("session_2")]
    ended = sorted(folder for folder in ended if not _runs(folder.name.rpartition("_")[2]))
    for folder in ended[:-KEPT_SESSIONS]:
        shutil.rmtree(folder, ignore_errors=True)


def _folders(parent: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [entry for entry in parent.iterdir() if entry.is_dir() and not entry.is_symlink()]
    return []


def _runs(pid: str) -> bool:
    """Return whether a process runs: what is named otherwise is left alone."""
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
