"""A forked child shares neither event loop nor connections with its parent.

`os.fork`, which multiprocessing uses on Linux before Python 3.14, copies a process's memory and open files, but only
the thread that calls it. A copied event loop has no thread to run it, and a copied socket leads to the parent's
conversation: the child would write into it, and keep it open after the parent has died. What a child must not use is
registered here, and each such object starts afresh in the child.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterable
from typing import Protocol
from weakref import WeakSet

_objects: WeakSet[Forkable] = WeakSet()
_generation = 0


class Forkable(Protocol):
    """Has a state that a forked child must not share."""

    def forked(self) -> None:
        """Start afresh: called in a forked child, before any other code. It must neither block nor raise."""


def register(item: Forkable) -> None:
    """Have `item.forked()` called in each forked child, for as long as the object exists."""
    _objects.add(item)


def generation() -> int:
    """Return how many forks lie between this process and the one that imported the package."""
    return _generation


def keep(*items: object) -> None:
    """Never free objects of the parent, not even at the end of this process: their clean-up is the parent's.

    Suspended coroutines among them would go on, and Ray's objects would wait for threads that do not exist here.
    """
    for item in items:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


def drop(descriptors: Iterable[int]) -> None:
    """Let go of files of the parent, which keeps them open and does not notice.

    Each number then leads to an empty file instead: objects that still hold it can neither reach the parent's file nor
    close another one of the child by mistake.

    Args:
        descriptors: open files, or -1 for one that is closed.
    """
    empty = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.dup2(empty, descriptor, inheritable=False)
    os.close(empty)


def _start_afresh() -> None:
    global _generation
    _generation += 1
    for item in list(_objects):
        with contextlib.suppress(OSError):  # too many open files: the others need theirs all the same
            item.forked()


os.register_at_fork(after_in_child=_start_afresh)
