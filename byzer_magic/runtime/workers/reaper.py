"""A process that outlives a worker for a moment, to end what the worker has started.

Engines have processes of their own (vLLM has two more per worker). When a worker is killed, nobody closes those, and
they keep their memory; what they share with each other stays even when all are gone. This script, a process of its
own, waits until the worker is gone, kills the rest of its process group and removes their shared memory. It is run
with `-S -E` and imports next to nothing: 8 MB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

SHARED = Path("/dev/shm")  # noqa: S108 - where the system has it
MADE = ("psm_", "sem.", "vllm_dist_")
"""How names begin that Python's multiprocessing, joblib and vLLM give to what they share."""
GIVE_UP_SECONDS = 10.0


class Reaper:
    """Sees to it that whatever this process starts ends with it, however it ends."""

    def __init__(self) -> None:
        with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
            os.setpgid(0, 0)
        self._group = os.getpgrp()
        read, self._write = os.pipe()
        subprocess.run(  # noqa: S603 - this file
            [sys.executable, "-S", "-E", __file__, str(self._group)],
            stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=True,
        )  # fmt: skip
        os.close(read)
        os.register_at_fork(after_in_child=self._let_go)  # only this process may hold it open

    def _let_go(self) -> None:
        """Close the pipe, once: a child of the child may have opened another file under its number."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def note_shared_memory(self) -> None:
        """Tell the other process what there is to remove: at the end, nobody may be left whom it could look at."""
        names = "".join(f"{name}\n" for name in shared(members(self._group)))
        with contextlib.suppress(OSError):  # somebody has killed it: the worker is worth more
            os.write(self._write, names.encode())


def shared(pids: Iterable[int]) -> set[str]:
    """Return the names of the shared memory that processes have mapped."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            found |= {line.rpartition(f"{SHARED}/")[2] for line in lines if f" {SHARED}/" in line}
    return found


def is_ours(path: Path, born: float) -> bool:
    """Return whether multiprocessing made this since the worker began: people keep files of their own there, too.

    A model in /dev/shm is mapped by the worker that loads it, and must outlive it.
    """
    try:
        return path.parent == SHARED and path.name.startswith(MADE) and path.lstat().st_ctime >= born
    except OSError:
        return False


def orphans(since: float) -> set[str]:
    """Return the semaphores made since then that bear the number of a process which is gone.

    They are joblib's, which engines load: it makes them too briefly before a kill for anyone to have seen them.
    """
    running = set(map(str, processes()))
    found = set()
    for path in SHARED.glob("sem.loky-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= since and path.name.split("-")[1] not in running:
                found.add(path.name)
    return found


def processes() -> dict[int, int]:
    """Return all processes that are not merely waiting to be reaped, and their groups."""
    found: dict[int, int] = {}
    if not Path("/proc").is_dir():  # macOS
        return found
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if folder.name.isdigit() and state != "Z":
                found[int(folder.name)] = int(group)
    return found


def members(group: int) -> list[int]:
    """Return the processes of a group."""
    return [pid for pid, of in processes().items() if of == group]


def main(group: int) -> None:
    """Wait for the end of stdin, then for that of the group, by force."""
    if os.fork():  # Ray kills the children of a worker that it ends: this must not be one
        os._exit(0)
    born = time.time()
    names = set(sys.stdin.read().splitlines())
    started = time.monotonic()
    while (pids := members(group)) and time.monotonic() - started < GIVE_UP_SECONDS:
        names |= shared(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    if not Path("/proc").is_dir():  # where they cannot be listed
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for name in (names | orphans(born)) - shared(processes()):  # what others have mapped is theirs
        if is_ours(SHARED / name, born):
            with contextlib.suppress(OSError):
                (SHARED / name).unlink()


if __name__ == "__main__":
    main(int(sys.argv[1]))
