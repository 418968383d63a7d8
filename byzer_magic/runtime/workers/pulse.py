"""Whether an engine's process hangs: it gives no sign of life, or its requests get no items.

An engine may take minutes for a long prompt, and a busy machine may give a process little time. So what counts most is
whether the process computes: one that has work, but uses no CPU and waits for none, does not come back by itself. Time
counts only while it is watched, so that neither a suspended machine nor a stopped pool makes a worker look dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from byzer_magic import errors
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.cluster import logs
from byzer_magic.runtime.cluster.node import descendants

BEAT_SECONDS = 2.0
"""How often a worker is asked for a sign of life."""
STOPPED_SECONDS = 10.0
"""After this time without a sign of life and without computing, a process is stopped or blocked."""
BLOCKED_SECONDS = 120.0
"""After this time without a sign of life, it hangs, whatever it does: nothing should hold up its event loop so long."""
QUIET_SECONDS = 60.0
"""After this time with requests, but without an item and without computing, its engine is deadlocked."""
LEAST_CPU = 0.05
"""Share of a core that a process uses at least while it computes; an idle one uses 1 or 2 % of one."""
WAITING_STATES = ("R", "D")
"""States of threads that wait for a core or for the disk (`man 5 proc`)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What was seen of a worker since the last beat."""

    seconds: float
    lives: bool
    """Whether it has sent anything."""
    owes: bool
    """Whether a request waits for an item, and none has come."""
    computes: bool | None = None
    """Whether its processes have computed; None where that is not known, or they wait for a core or the disk."""


class Pulse:
    """Decides, beat by beat, whether a worker hangs.

    Args:
        name: how errors name the worker.
        silence: seconds that requests may go without an item while it computes; 0 for any time.

    Example:
        >>> pulse = Pulse("llama worker 1", silence=1800.0)
        >>> [bool(pulse.beat(Beat(2.0, lives=False, owes=True, computes=False))) for _ in range(5)]
        [False, False, False, False, True]
    """

    def __init__(self, name: str, silence: float) -> None:
        self._name = name
        self._silence = silence
        self._dead = self._stopped = self._empty = self._quiet = 0.0

    @property
    def is_suspicious(self) -> bool:
        """Return whether the last beat was not as it should be, so that it matters whether the worker computes."""
        return self._dead > 0 or self._empty > 0

    def beat(self, seen: Beat) -> errors.WorkerLost | None:
        """Take a beat; return the error for the worker's requests where it hangs."""
        seconds = min(seen.seconds, 2 * BEAT_SECONDS)  # more: we were stopped ourselves
        idle = {True: -1.0, False: seconds, None: 0.0}[seen.computes]
        self._dead, self._stopped = _counted(self._dead, self._stopped, seconds, idle, on=not seen.lives)
        self._empty, self._quiet = _counted(self._empty, self._quiet, seconds, idle, on=seen.owes)
        if self._stopped >= STOPPED_SECONDS or self._dead >= BLOCKED_SECONDS:
            return self._hangs(_("{name} hung: no sign of life for {seconds:.0f} s.", **self._since(self._dead)))
        if self._quiet >= QUIET_SECONDS or 0 < self._silence <= self._empty:
            return self._hangs(_("{name} hung: no token for {seconds:.0f} s.", **self._since(self._empty)))
        return None

    def _since(self, seconds: float) -> dict[str, Any]:
        return {"name": self._name, "seconds": seconds}

    def _hangs(self, message: Text) -> errors.WorkerLost:
        return errors.WorkerLost(
            message, _("The partial response is kept. The worker is being restarted; send the request again.")
        )


def _counted(total: float, still: float, seconds: float, idle: float, *, on: bool) -> tuple[float, float]:
    """Return how long something has lasted, and for how much of that the worker has not computed."""
    if not on:
        return 0.0, 0.0
    return total + seconds, 0.0 if idle < 0 else still + idle


class Watched(Protocol):
    """A worker, as it is watched."""

    processes: list[logs.ProcessId]

    @property
    def received(self) -> int:
        """Return how many messages it has sent."""
        ...

    @property
    def owes(self) -> bool:
        """Return whether a request waits for an item."""
        ...

    def ping(self) -> Coroutine[Any, Any, None]:
        """Wait until its event loop answers."""


async def hung(worker: Watched, pulse: Pulse, *, on_gpu: bool) -> errors.WorkerLost:
    """Wait until a worker hangs, and return the error for its requests.

    Args:
        worker: whom to watch.
        pulse: decides.
        on_gpu: whether it may compute without using the CPU.
    """
    pong: asyncio.Task[None] | None = None
    cpu = Cpu(on_gpu=on_gpu)
    try:
        while True:
            began, received = time.monotonic(), worker.received
            if pong is None or pong.done():
                pong = asyncio.create_task(_pong(worker))
            await asyncio.sleep(BEAT_SECONDS)
            progressed = worker.received != received
            seen = Beat(
                seconds=time.monotonic() - began,
                lives=progressed or pong.done(),
                owes=worker.owes and not progressed,
                computes=await asyncio.to_thread(cpu.used, worker.processes[-1]) if pulse.is_suspicious else None,
            )
            if not pulse.is_suspicious:
                cpu.forget()
            if error := pulse.beat(seen):
                return error
    finally:
        if pong is not None:
            pong.cancel()


async def _pong(worker: Watched) -> None:
    with contextlib.suppress(Exception):  # the connection has ended: whoever waits for that restarts the worker
        await worker.ping()


class Cpu:
    """Measures whether a process and its descendants compute.

    Args:
        on_gpu: whether they may compute without using the CPU.
    """

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._before: dict[int, float] = {}
        self._at = 0.0

    def forget(self) -> None:
        """Begin anew: the next measurement has nothing to compare with."""
        self._before = {}

    def used(self, process: logs.ProcessId) -> bool | None:
        """Return whether they have computed since the last call; None where that is not known.

        Processes that wait for a core or the disk may be about to; that is not known, either.
        """
        if process.node != logs.here():
            return None
        now, found = time.monotonic(), dict[int, float]()
        waits = stopped = False
        for pid in descendants(process.pid):
            with contextlib.suppress(psutil.Error):
                one = psutil.Process(pid)
                times = one.cpu_times()
                found[pid] = times.user + times.system
                stopped |= pid == process.pid and one.status() == psutil.STATUS_STOPPED
                waits |= _waits(pid)
        before, elapsed = self._before, now - self._at
        self._before, self._at = found, now
        if not before or not found:
            return None
        if sum(used - before.get(pid, used) for pid, used in found.items()) >= LEAST_CPU * elapsed:
            return True
        return None if waits or (self._on_gpu and not stopped) else False


def _waits(pid: int) -> bool:
    """Return whether a thread of a process waits for a core or the disk; never where there is no /proc (macOS)."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] in WAITING_STATES:
                return True
    return False
