"""How large and how old a journal may become."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

MEDIA = "media"
"""The folder of audio and images, beside the file."""
MEGABYTE = 1_000_000
DAY = 86400.0
ROOM = 0.9
"""The part of the greatest size that is left when entries were removed, so that this is not done at each one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The greatest size and age of a journal; what is older goes first.

    Example:
        >>> Bounds(megabytes=100).bytes
        100000000
    """

    megabytes: int = 4096
    days: float = 365.0

    @property
    def bytes(self) -> int:
        """Return the greatest size, in bytes."""
        return self.megabytes * MEGABYTE

    def oldest(self) -> float:
        """Return the time of the oldest entries that are kept, in seconds since 1970."""
        return time.time() - self.days * DAY  # dates of entries

    @staticmethod
    def size(folder: Path) -> int:
        """Return the bytes of a journal's folder."""
        total = 0
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # removed meanwhile
                total += path.stat().st_size
        return total

    def surplus(self, folder: Path, connection: sqlite3.Connection) -> float:
        """Return the part of the journal that is too much, 0..1; free pages of its file do not count."""
        names = ("page_size", "page_count", "freelist_count")
        page, pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names)
        used = page * (pages - free) + self.size(folder / MEDIA)
        return 1 - ROOM * self.bytes / used if used > self.bytes else 0.0
