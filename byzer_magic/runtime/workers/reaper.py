"""A process beside each worker that ends the worker's child processes after it, and removes what they leave.

Engines start processes of their own (vLLM two per worker). When a worker is killed, they are orphaned and keep their
memory, and shared memory segments outlive all processes. This script, a process of its own, waits until the worker has
ended, kills the rest of its process group, and removes their shared memory and temporary files. Ray's own options do
not suffice (decision 007). It is run with `-S -E` and imports few modules, so that it needs 8 MB only.
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

SHARED = Path("/dev/shm")  # noqa: S108 - the mount point of POSIX shared memory on Linux
PREFIXES = ("psm_", "sem.", "vllm_dist_")
"""Prefixes of the names that Python's multiprocessing, joblib and vLLM give to shared memory and semaphores."""
GIVE_UP_SECONDS = 10.0
"""How long the reaper tries to kill a group, some of whose processes may hang in the kernel."""


class Reaper:
    """The worker's side: makes it the leader of a process group, and starts the reaper process.

    Args:
        scratch: the folder with the group's temporary files.
    """

    def __init__(self, scratch: Path | None = None) -> None:
        with contextlib.suppress(PermissionError):  # a session leader leads its group already
            os.setpgid(0, 0)
        self._group = os.getpgrp()
        read, self._write = os.pipe()
        subprocess.run(  # noqa: S603 - this file
            [sys.executable, "-S", "-E", __file__, str(self._group), str(scratch or "")],
            stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, check=True,
        )  # fmt: skip
        os.close(read)
        os.register_at_fork(after_in_child=self._close_in_child)  # the pipe must close when this process ends

    def _close_in_child(self) -> None:
        """Close the pipe, once: in a grandchild, its number may belong to another file."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def note_shared_memory(self) -> None:
        """Send the names of the group's shared memory to the reaper: after a kill, it could not find them."""
        names = "".join(f"{name}\n" for name in shared(members(self._group)))
        with contextlib.suppress(OSError):  # the reaper was killed; the worker continues without it
            os.write(self._write, names.encode())


def shared(pids: Iterable[int]) -> set[str]:
    """Return the names of the shared memory segments that processes have mapped."""
    found: set[str] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            found |= {line.rpartition(f"{SHARED}/")[2] for line in lines if f" {SHARED}/" in line}
    return found


def is_ours(path: Path, born: float) -> bool:
    """Return whether a segment was created by multiprocessing since the worker was started.

    Users may keep files in /dev/shm: a model there is mapped by the worker that loads it, and must not be removed.

    Args:
        path: the segment.
        born: start of the worker, as time.time().
    """
    try:
        return path.parent == SHARED and path.name.startswith(PREFIXES) and path.lstat().st_ctime >= born
    except OSError:
        return False


def orphans(since: float) -> set[str]:
    """Return the names of joblib's semaphores whose process has ended.

    joblib, which engines import, may create them too shortly before a kill for `note_shared_memory` to see them.

    Args:
        since: earliest creation, as time.time().
    """
    running = set(map(str, processes()))
    found = set()
    for path in SHARED.glob("sem.loky-*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime >= since and path.name.split("-")[1] not in running:
                found.add(path.name)
    return found


def processes() -> dict[int, int]:
    """Return the process group of every process by pid, without zombies; nothing where there is no /proc (macOS)."""
    found: dict[int, int] = {}
    if not Path("/proc").is_dir():
        return found
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if folder.name.isdigit() and state != "Z":
                found[int(folder.name)] = int(group)
    return found


def members(group: int) -> list[int]:
    """Return the pids of a process group."""
    return [pid for pid, of in processes().items() if of == group]


def started(pid: int) -> str:
    """Return when a process was started, in ticks since boot; an empty text where it has ended, or without /proc."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def main(group: int, scratch: str) -> None:
    """Wait until the worker has closed stdin, then kill its process group and remove what that has left.

    Args:
        group: the group, which has the id of the worker.
        scratch: the folder with its temporary files, or an empty text.
    """
    if os.fork():  # detached: Ray kills the children of a worker when it ends the worker
        os._exit(0)
    born, worker = time.time(), started(group)
    names = set(sys.stdin.read().splitlines())
    ended = time.monotonic()
    while (pids := members(group)) and time.monotonic() - ended < GIVE_UP_SECONDS:
        if started(group) not in ("", worker):  # the id belongs to another process now
            break
        names |= shared(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    if not Path("/proc").is_dir():  # macOS: members cannot be listed
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    for name in (names | orphans(born)) - shared(processes()):  # other processes may still use a segment
        if is_ours(SHARED / name, born):
            with contextlib.suppress(OSError):
                (SHARED / name).unlink()
    if scratch:
        import shutil  # only now: this process is to be small

        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
