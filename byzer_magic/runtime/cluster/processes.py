"""Ending all processes of a local Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from byzer_magic.runtime.cluster import this_machine

POLL_SECONDS = 0.05
KILL_SECONDS = 5.0


def kill_session(leader: int) -> None:
    """Kill all processes of a session except this one, and wait until they have ended, up to 5 s.

    The process that holds a local Ray leads a session, to which all processes of that Ray belong.

    Args:
        leader: the id of the process that leads, or has led, the session.
    """
    deadline = time.monotonic() + KILL_SECONDS
    while (members := _members(leader)) and time.monotonic() < deadline:
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _members(leader: int) -> list[int]:
    """Return the processes of a session of this user's; none where its leader's id belongs to another process now."""
    found = []
    with contextlib.suppress(OSError):  # it has ended; a zombie has no command line
        command = Path(f"/proc/{leader}/cmdline").read_bytes()
        if command and this_machine.HEAD_MODULE.encode() not in command:
            return []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it has just ended
                state = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                ours = entry.stat().st_uid == os.getuid()
                if ours and state[0] != "Z" and int(state[3]) == leader:  # `man 5 proc`: state, ppid, pgrp, session
                    found.append(int(entry.name))
    return found
