"""Connections to the journal's file, which follow it: one that was removed or replaced is not written any more."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from byzer_magic.errors import JournalError
from byzer_magic.files import private
from byzer_magic.i18n import lazy_gettext as _

BUSY_SECONDS = 30.0
"""How long a transaction waits for that of another process."""
AGAIN_SECONDS = 0.01
"""The pause before a new file is switched to WAL again."""

_making = threading.Lock()


class Following:
    """A connection to the file that has a path now; connected when it is needed first.

    Args:
        path: of the journal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def get(self) -> sqlite3.Connection:
        """Return the connection; where the file was removed meanwhile, that to a new one.

        Raises:
            OSError: the folder or the file cannot be made.
            sqlite3.Error: it is not a journal.
        """
        if self._connection is not None and self._file == file_of(self._path):
            return self._connection
        self.close()
        with _making:
            if file_of(self._path) is None:
                make(self._path)
        connection = connected(self._path)
        self._connection, self._file = connection, file_of(self._path)
        return connection

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def make(path: Path) -> None:
    """Make the folder and the file of a journal where there are none, both closed to others.

    Raises:
        OSError: they cannot be made, or are not the user's own.
    """
    folder = path.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        private.replace_own(ignored, b"*\n")
    private.ensure_own(path)  # with mode 0600, which SQLite gives to the files beside it


def connected(path: Path) -> sqlite3.Connection:
    """Return a connection to a journal, whose tables are made where there are none.

    Raises:
        sqlite3.Error: it cannot be opened, or is not a journal.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    tables = resources.files("byzer_magic.journal").joinpath("tables.sql").read_text(encoding="utf-8")
    connection.executescript(tables)
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL, unless it is; file systems without shared memory keep another mode.

    SQLite's timeout does not hold for this: where others open a new file at the same moment, it fails at once.

    Raises:
        sqlite3.Error: it is not a journal, or stays locked.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(AGAIN_SECONDS)
        else:
            return


@contextlib.contextmanager
def ignoring_busy() -> Iterator[None]:
    """Leave a block where another process has the file, with no error."""
    try:
        yield
    except sqlite3.OperationalError as err:
        if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise


def unusable(path: Path, err: Exception) -> JournalError:
    """Return the error of a journal that cannot be opened, read or written."""
    return JournalError(
        _("The journal {path} cannot be used: {error}.", path=path, error=getattr(err, "strerror", None) or err),
        _("Check the disk and the file, or move the file away: a new one is made."),
    )


def file_of(path: Path) -> tuple[int, int] | None:
    """Return what tells files apart that had the same path; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of the time of Path.stat, at each query
    except OSError:
        return None
    return found.st_dev, found.st_ino
