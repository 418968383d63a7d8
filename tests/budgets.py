"""How much CPU time a piece of work takes, and an end to it: time on a busy machine says nothing about the code."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import settings

USUAL_EXAMPLES = 50
"""How many inputs a property gets that does not say how many."""


class OverBudget(AssertionError):
    """The work took more CPU time than it may."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End the work after so many seconds of CPU time, also in the middle of a search of `re`, which never ends else."""

    def end(*_signal: Any) -> None:
        raise OverBudget(f"more than {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def examples(count: int) -> int:
    """Return how many inputs a property gets: `count` in a usual run, and as many times more as others in a fuzz."""
    return count * settings().max_examples // USUAL_EXAMPLES


@contextmanager
def children_within(seconds: float) -> Iterator[None]:
    """Check that the processes which ended meanwhile took no more CPU time than this."""

    def taken() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = taken()
    yield
    assert taken() - before < seconds


def seconds_of(work: Callable[[], object], tries: int = 1) -> float:
    """Return the CPU seconds that work takes, the least of so many tries."""
    taken = []
    for _try in range(tries):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return min(taken)
