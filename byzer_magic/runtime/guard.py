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
GIVE_UP_SECONDS = 10.0


class Guard:
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
        os.register_at_fork(after_in_child=lambda: os.close(self._write))  # only this process may hold it open

    def note_shared_memory(self) -> None:
        """Tell the other process what there is to remove: at the end, nobody may be left whom it could look at."""
        os.write(self._write, "".join(f"{name}\n" for name in shared(members(self._group))).encode())


def shared(pids: Iterable[int]) -> set[str]:
    """Return the names of the shared memory and semaphores that processes have mapped, or made under their number."""
    found: set[str] = set()
    for pid in pids:
        found |= {path.name for path in SHARED.glob(f"sem.loky-{pid}-*")}
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
            found |= {line.rpartition(f"{SHARED}/")[2] for line in lines if f" {SHARED}/" in line}
    return found


def processes() -> list[int]:
    """Return all processes."""
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def members(group: int) -> list[int]:
    """Return the processes of a group that are not merely waiting to be reaped."""
    found = []
    for pid in processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, _, pgrp = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(pid)
    return found


def main(group: int) -> None:
    """Wait for the end of stdin, then for that of the group, by force."""
    if os.fork():  # Ray kills the children of a worker that it ends: this must not be one
        os._exit(0)
    names = set(sys.stdin.read().splitlines())
    started = time.monotonic()
    while (pids := members(group)) and time.monotonic() - started < GIVE_UP_SECONDS:
        names |= shared(pids)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for name in names - shared(processes()):  # what others have mapped is theirs (Ray's object store)
        (SHARED / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
