"""Locks of keys between processes: while one asks, others wait for its answer, which is in the journal then.

They are locks of bytes of one file, a byte for each key. The system drops those of a process with the process, however
it ends. A process does not lock itself out: what it asks twice at once, it has to see itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

POLL_SECONDS = 0.1
LONGEST_SECONDS = 600.0
"""How long to wait for another process; one that has been stopped might keep its lock for ever."""
DIGITS = 15
"""Of a key's 64 hexadecimal digits, those that choose its byte: a file's offsets have 63 bits."""


class KeyLocks:
    """The locks of one journal.

    Args:
        path: the file; it is made when it is needed first, and stays empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._pid = 0

    @asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key during the block, after another process has given it back.

        Where the file cannot be locked, as on some network file systems, the block runs without.

        Args:
            key: see `keys.key_of`.
        """
        until = time.monotonic() + LONGEST_SECONDS
        while not (taken := self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB)) and time.monotonic() < until:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            if taken:
                self._lock(key, fcntl.LOCK_UN)

    def _lock(self, key: str, how: int) -> bool:
        """Lock or unlock a key's byte; return whether that was done, or cannot be."""
        try:
            fcntl.lockf(self._opened(), how, 1, int(key[:DIGITS], 16))
        except (BlockingIOError, PermissionError):  # another process has it
            return False
        except OSError:
            return True
        return True

    def _opened(self) -> int:
        """Return the file, open as long as the process needs it: closing it gives all locks back."""
        if self._pid != os.getpid():  # never opened, or by the parent
            self._file, self._pid = os.open(self._path, _FLAGS, 0o600), os.getpid()
        return self._file

    def close(self) -> None:
        """Give all locks back."""
        if self._pid == os.getpid():
            os.close(self._file)
            self._pid = 0
