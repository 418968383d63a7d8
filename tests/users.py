"""Playing several users of one machine: needs root."""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.conftest import short_folder

T = TypeVar("T")

ALICE, BOB = 54321, 54322
"""Ids of users that need no account."""

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can play other users")


def as_user(uid: int, work: Callable[[], T]) -> T:
    """Return what `work` returns in a process of another user; modules that it needs are imported already."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        code = 1
        try:
            os.close(reading)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            with os.fdopen(writing, "wb") as output:
                output.write(pickle.dumps(work()))
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        result = file.read()
    _pid, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, "the other user's process failed; see stderr"
    found: T = pickle.loads(result)
    return found


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that every user may write to."""
    with short_folder() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)
