"""Locks of keys between processes: while one asks, others wait for its answer, which is in the journal then.

They are locks of bytes of one file, a byte for each key. The system drops those of a process with the process, however
it ends. A process does not lock itself out: what it asks twice at once, it has to see itself.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

POLL_SECONDS = 0.1
LONGEST_SECONDS = 600.0
"""How long to wait for another process; one that has been stopped might keep its lock for ever."""
DIGITS = 15
"""Of a key's 64 hexadecimal digits, those that choose its byte: a file's offsets have 63 bits."""


class Locks(ABC):
    """Locks of keys; who has some waits for no others, so that no two processes wait for each other."""

    @abstractmethod
    async def take(self, keys: Sequence[str]) -> list[str]:
        """Take the locks that no other process has; return their keys."""

    @abstractmethod
    def give_back(self, keys: Iterable[str]) -> None:
        """Give locks back that were taken."""

    async def taken(self, keys: Sequence[str]) -> list[str]:
        """Take the locks that no other process has, and return their keys; wait until there is one.

        Args:
            keys: see `keys.key_of`.
        """
        until = time.monotonic() + LONGEST_SECONDS
        while not (found := await self.take(keys)) and time.monotonic() < until:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(POLL_SECONDS)
        return found

    @asynccontextmanager
    async def held(self, keys: Sequence[str]) -> AsyncIterator[list[str]]:
        """Hold locks during the block, as `taken` takes them; those of all keys where another process never ends."""
        taken = await self.taken(keys)
        try:
            yield taken or [*keys]
        finally:
            self.give_back(taken)


class KeyLocks(Locks):
    """The locks of one journal, in a file.

    Where the file cannot be locked, as on some network file systems, every lock is free.

    Args:
        path: the file; it is made when it is needed first, and stays empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._pid = 0

    async def take(self, keys: Sequence[str]) -> list[str]:
        """Take the locks that no other process has; return their keys."""
        return self.take_now(keys)

    def take_now(self, keys: Sequence[str]) -> list[str]:
        """Take the locks that no other process has; return their keys."""
        return [key for key in keys if self._lock(key, fcntl.LOCK_EX | fcntl.LOCK_NB)]

    def give_back(self, keys: Iterable[str]) -> None:
        """Give locks back that were taken."""
        for key in keys:
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
