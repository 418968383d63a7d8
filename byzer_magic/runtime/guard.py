"""A process that outlives a worker for a moment, to end what the worker has started.

Engines have processes of their own (vLLM has two more per worker). When a worker is killed, nobody closes those, and
they keep their memory. This script, a process of its own, waits until the worker is gone and kills the rest of its
process group. It is run with `-S -E` and imports next to nothing: 8 MB.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TRACKER = b"resource_tracker"
"""Python's own helper, which frees shared memory when its family has gone; it ends by itself."""
TRACKER_SECONDS = 2.0
GIVE_UP_SECONDS = 10.0


def watch_over_this_process() -> None:
    """See to it that whatever this process starts ends with it, however it ends."""
    with contextlib.suppress(PermissionError):  # it leads a session, and so a group, already
        os.setpgid(0, 0)
    if os.getpgrp() != os.getpid():
        return
    read, write = os.pipe()
    subprocess.Popen(  # noqa: S603 - this file
        [sys.executable, "-S", "-E", __file__, str(os.getpgrp())],
        stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(read)
    os.register_at_fork(after_in_child=lambda: os.close(write))  # only this process may hold it open


def members(group: int) -> list[int]:
    """Return the processes of a group that are not merely waiting to be reaped."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                state, _, pgrp = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
                if int(pgrp) == group and state != "Z":
                    found.append(int(folder.name))
    return found


def _is_tracker(pid: int) -> bool:
    try:
        return TRACKER in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def main(group: int) -> None:
    """Wait for the end of stdin, then for that of the group, by force."""
    sys.stdin.buffer.read()
    started = time.monotonic()
    while (pids := members(group)) and time.monotonic() - started < GIVE_UP_SECONDS:
        late = time.monotonic() - started > TRACKER_SECONDS
        for pid in pids:
            if late or not _is_tracker(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    main(int(sys.argv[1]))
