"""Processes seen from outside: which belong together, and what CPU and memory they use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

MARKER = "BENCHMARK_PROCESS"
"""The variable that a benchmark puts into the environment of what it starts: children inherit it, detached ones too."""
KILL_SECONDS = 5.0


def megabytes(pid: int) -> float:
    """Return a process's memory (PSS); what it shares with others counts in part only. 0: it has ended."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used so far. 0: it has ended."""
    with contextlib.suppress(psutil.Error):
        used = psutil.Process(pid).cpu_times()
        return float(used.user + used.system)
    return 0.0


def title(pid: int) -> str:
    """Return a process's command line, or the title that it has given itself; empty: it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def marked(value: str) -> list[int]:
    """Return the processes of this user whose environment has MARKER with this value, and all below them.

    Ray's workers overwrite their environment with a title, but a process that does not has started them.
    """
    entry = f"{MARKER}={value}".encode()
    parents = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    roots = set()
    for pid in parents.keys() - {os.getpid()}:
        with contextlib.suppress(OSError):  # another user's, or it has just ended
            if entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                roots.add(pid)

    def belongs(pid: int) -> bool:
        while pid and pid not in roots:
            pid = parents.get(pid, 0)
        return bool(pid)

    return sorted(filter(belongs, parents))


def end(pids: Iterable[int]) -> None:
    """End processes: with SIGTERM, after a while with SIGKILL. Those that have ended already are left out."""
    processes = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            processes.append(psutil.Process(pid))
            processes[-1].terminate()
    _, alive = psutil.wait_procs(processes, KILL_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, KILL_SECONDS)
