"""The journal's file: SQLite in WAL mode, written by any number of processes at once.

A thread of each process writes (see `writing`). An entry whose future is done survives the end of the process, also by
`kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from byzer_magic.errors import JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal import rows
from byzer_magic.journal.bounds import MEDIA, Bounds
from byzer_magic.journal.connecting import Following, connected, ignoring_busy, make, unusable
from byzer_magic.journal.entry import COMPLETE, Entry
from byzer_magic.journal.key_locks import KeyLocks
from byzer_magic.journal.looking import LookUps
from byzer_magic.journal.media_files import MediaFiles
from byzer_magic.journal.shared import SharedJournal
from byzer_magic.journal.writing import Writer

FOLDER = ".byzer"
NAME = "journal.db"
CHECK_EVERY = 1000
"""After so many entries of a process, its bounds are kept again."""
WALK_AT_ONCE = 50
"""Entries that are read together where all are wanted."""
AT_ONCE = 500
"""Keys that are looked up in one query; SQLite takes 999 values."""


class Store(SharedJournal):
    """One journal; safe in threads. Use `Store.open`, or `project_store`."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.path = folder / NAME
        self.media = MediaFiles(folder / MEDIA)
        self.locks: KeyLocks = KeyLocks(folder / "locks")
        self._bounds = bounds
        self._reading = Following(self.path)
        self._lock = threading.Lock()
        self._look_ups = LookUps(self.look_now)
        self._writer = Writer(self.path, self.media, self._written)
        self._added = 0

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r})"

    @classmethod
    def open(cls, project: Path, bounds: Bounds | None = None) -> Store:
        """Open the journal of a project folder; it is made where there is none.

        Args:
            project: the folder in which `.byzer` is.
            bounds: its greatest size and age; by default those of `Bounds`.

        Raises:
            JournalError: it cannot be opened, or is not a journal.
        """
        folder = project / FOLDER
        try:
            make(folder / NAME)
            store = cls(folder, bounds or Bounds())
            store._reading.get()
            store.keep_bounds()
        except (OSError, sqlite3.Error) as err:
            raise unusable(folder / NAME, err) from None
        return store

    # ---- writing

    def add(self, entry: Entry, attached: Sequence[bytes] = ()) -> Future[int]:
        """Write an entry soon; the future has its id once it is committed, or a JournalError.

        Args:
            entry: as it came about; secrets in it are hidden before it is written.
            attached: the bytes of media in the request, which are kept beside the journal.
        """
        return self._writer.add(entry, attached)

    def add_here(self, entry: Entry, attached: Sequence[bytes] = (), *, may_wait: bool = False) -> asyncio.Future[int]:
        """Write an entry soon; see `SharedJournal.add_here`."""
        return self._writer.add_here(entry, attached, may_wait=may_wait)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.finish(None)
        self._reading.close()
        self.locks.close()

    def _written(self, writing: sqlite3.Connection, count: int) -> None:
        """Keep the bounds again after many entries of this process."""
        self._added += count
        if self._added >= CHECK_EVERY:
            self._added = 0
            self._prune(writing)

    # ---- reading

    def find(self, key: str, *, by: str = "key") -> Entry | None:
        """Return the newest complete answer of a key; see `SharedJournal.find`."""
        query = f"SELECT * FROM entries WHERE {by} = ? AND status = ? ORDER BY id DESC LIMIT 1"  # noqa: S608 - a name of ours
        if not (readable := rows.readable(self._raw(query, (key, COMPLETE)))):
            return None
        try:
            return self.whole(readable[0])
        except FileNotFoundError:
            return None

    async def look(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the newest complete answers of several keys; see `Answers.look`."""
        return await self._look_ups.look(keys)

    def look_now(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the newest complete answers of several keys; see `Answers.look_now`."""
        found: dict[str, Entry] = {}
        for some, marks in _groups(keys):
            query = f"SELECT * FROM entries WHERE status = ? AND key IN ({marks}) ORDER BY id"  # noqa: S608 - marks only
            newest = {row["key"]: row for row in self._raw(query, (COMPLETE, *some))}
            for entry in rows.readable(newest.values()):
                with contextlib.suppress(FileNotFoundError):
                    found[entry.key] = self.whole(entry)
        return found

    def has(self, keys: Sequence[str]) -> set[str]:
        """Return those of several keys that have a complete answer; see `Answers.has`."""
        found: set[str] = set()
        for some, marks in _groups(keys):
            query = f"SELECT DISTINCT key FROM entries WHERE status = ? AND key IN ({marks})"  # noqa: S608 - marks only
            found |= {row["key"] for row in self._raw(query, (COMPLETE, *some))}
        return found

    def search(
        self,
        text: str = "",
        *,
        alias: str = "",
        status: str = "",
        notebook: str = "",
        number: int = 0,
        limit: int = -1,
        damaged: list[int] | None = None,
    ) -> list[Entry]:
        """Return entries that can be read, the newest first, without their pieces (see `walk`).

        Args:
            text: is in the request or in the answer; case does not matter in English.
            alias: what was asked.
            status: ``complete``, ``interrupted`` or ``failed``.
            notebook: the path of the notebook.
            number: only the entry of this id.
            limit: at most so many; -1: all.
            damaged: takes the ids of the others.

        Raises:
            JournalError: the journal cannot be read.
        """
        given = {"alias": alias, "status": status, "notebook": notebook, "id": number}
        query = f"SELECT {rows.WITHOUT_PIECES} FROM entries WHERE {_where(text, given)} ORDER BY id DESC LIMIT :limit"  # noqa: S608 - names of ours
        return rows.readable(self._raw(query, {**given, "text": text.lower(), "limit": limit}), damaged)

    def walk(self, text: str = "", *, alias: str = "", notebook: str = "") -> Iterator[Entry | None]:
        """Yield whole entries, the oldest first; None for one that is damaged, or whose media are gone.

        A few at a time are in memory, however many there are.

        Args:
            text: as in `search`, like the others.
            alias: what was asked.
            notebook: the path of the notebook.

        Raises:
            JournalError: the journal cannot be read.
        """
        given = {"alias": alias, "notebook": notebook}
        where = f"{_where(text, given)} AND id > :last"
        query = f"SELECT * FROM entries WHERE {where} ORDER BY id LIMIT {WALK_AT_ONCE}"  # noqa: S608 - names of ours
        last = 0
        while found := self._raw(query, {**given, "text": text.lower(), "last": last}):
            for row in found:
                try:
                    yield self.whole(rows.entry(row))
                except (FileNotFoundError, rows.Damaged):
                    yield None
            last = found[-1]["id"]

    def whole(self, entry: Entry) -> Entry:
        """Return an entry with the bytes of its audio and images.

        Raises:
            FileNotFoundError: a file is not there any more.
        """
        return msgspec.structs.replace(entry, pieces=list(self.media.moved_in(entry.pieces)))

    def count(self) -> int:
        """Return the number of entries.

        Raises:
            JournalError: the journal cannot be read.
        """
        return int(self._raw("SELECT count(*) AS number FROM entries", ())[0]["number"])

    @property
    def bytes(self) -> int:
        """Return the size of the journal with its media, in bytes."""
        return self._bounds.size(self.path.parent)

    def _raw(self, query: str, values: Any) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._reading.get().execute(query, values).fetchall()
        except (OSError, sqlite3.Error) as err:
            raise unusable(self.path, err) from None

    # ---- removing

    def keep_bounds(self) -> None:
        """Remove the oldest entries beyond the greatest age and size; not while another process writes, which does it.

        Raises:
            sqlite3.Error: the file cannot be written.
        """
        with contextlib.closing(connected(self.path)) as writing:
            writing.execute("PRAGMA busy_timeout = 0")  # this may be the thread of the event loop
            with ignoring_busy():
                self._prune(writing)

    def clear(self, before: float | None = None) -> int:
        """Remove all entries, or those before a time (seconds since 1970); return how many.

        Raises:
            JournalError: the journal cannot be written.
        """
        try:
            with contextlib.closing(connected(self.path)) as writing:
                removed = self._delete(
                    writing, "at < ?", (time.time() + 1 if before is None else before,)
                )  # wall clock: entries have dates
                if removed:
                    writing.execute("VACUUM")
                    writing.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the pages of before are in the WAL, too
        except sqlite3.Error as err:
            raise unusable(self.path, err) from None
        return removed

    def _prune(self, writing: sqlite3.Connection) -> None:
        self._delete(writing, "at < ?", (self._bounds.oldest(),))
        while (surplus := self._bounds.surplus(self.path.parent, writing)) > 0:
            count = writing.execute("SELECT count(*) FROM entries").fetchone()[0]
            if not count:
                return
            oldest = max(1, int(count * min(1.0, surplus)))
            self._delete(writing, "id IN (SELECT id FROM entries ORDER BY id LIMIT ?)", (oldest,))

    def _delete(self, writing: sqlite3.Connection, where: str, values: Sequence[Any]) -> int:
        """Remove entries, and the media that no other entry has."""
        with writing:
            writing.execute("BEGIN IMMEDIATE")
            query = f"SELECT DISTINCT digest FROM media WHERE entry IN (SELECT id FROM entries WHERE {where})"  # noqa: S608 - a condition of ours
            held = writing.execute(query, values).fetchall()
            removed = writing.execute(f"DELETE FROM entries WHERE {where}", values).rowcount  # noqa: S608 - as above
            for (digest,) in held:
                if writing.execute("SELECT 1 FROM media WHERE digest = ?", (digest,)).fetchone() is None:
                    self.media.delete([digest])
        return removed


def _groups(keys: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """Yield the keys of each query, and its placeholders for them."""
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        yield some, ",".join("?" * len(some))


def _where(text: str, given: dict[str, Any]) -> str:
    """Return the condition of a search: the columns that are given, and a text."""
    where = [f"{name} = :{name}" for name, value in given.items() if value]
    where += ["(instr(lower(request), :text) OR instr(lower(answer), :text))"] if text else []
    return " AND ".join(where) or "1"


_stores: dict[tuple[int, Path], Store] = {}
_opening = threading.Lock()


def project_folder(start: Path | None = None) -> Path:
    """Return the project folder: the nearest one above that has a journal, else the working directory.

    Raises:
        JournalError: the working directory was removed.
    """
    try:
        here = (start or Path.cwd()).resolve()
    except OSError as err:
        raise JournalError(
            _("The working directory cannot be used: {reason}.", reason=err.strerror or err),
            _("Change to another one: os.chdir, or %cd."),
        ) from None
    found = (folder for folder in (here, *here.parents) if is_journal(folder / FOLDER / NAME))
    return next(found, here)


def is_journal(path: Path) -> bool:
    """Return whether there is a journal that can be reached; the folder of another user may be closed."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises what this one is silent about


def project_store(bounds: Bounds | None = None, start: Path | None = None) -> Store:
    """Return the journal of the project folder, which all of this process share; it is made where there is none.

    Args:
        bounds: its greatest size and age, where it is not open yet.
        start: a folder of the project; by default the working directory.

    Raises:
        JournalError: it cannot be opened.
    """
    folder = project_folder(start)
    with _opening:
        key = (os.getpid(), folder)  # SQLite's connections do not survive a fork
        if key not in _stores or not is_journal(_stores[key].path):
            _stores[key] = Store.open(folder, bounds)
        return _stores[key]
