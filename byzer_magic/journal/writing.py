"""Entries on their way into the journal's file: a thread of each process writes, and commits many at once.

What has come while it wrote before goes into its next transaction, so that a thousand entries a second cost a few
commits. Each step that leaves Python costs a change of threads, so those of many entries are made together, too.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from byzer_magic.errors import JournalError
from byzer_magic.journal import hiding, rows
from byzer_magic.journal.connecting import Following, unusable
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.media_files import MediaFiles
from byzer_magic.log import get_logger

log = get_logger("journal")

EXIT_SECONDS = 5.0
"""How long the end of the process waits for what is not written yet: requests that failed do not wait for that."""
MOST_AT_ONCE = 500
"""Entries of one transaction."""
GATHERING_SECONDS = 0.01
"""How long an entry that may wait for others does so."""

Outcome = int | JournalError
"""The id of an entry, or why it is not written."""


class Job(NamedTuple):
    """An entry to write."""

    entry: Entry
    attached: Sequence[bytes]
    done: Future[int] | asyncio.Future[int]
    loop: asyncio.AbstractEventLoop | None
    """The one to which `done` belongs, if it belongs to one."""
    may_wait: bool


class Writer:
    """The thread that writes into one journal; it is started when it is needed first, and in each process by itself.

    Args:
        path: the journal.
        media: its audio and images.
        written: called in the thread after a commit, with the number of entries.
    """

    def __init__(self, path: Path, media: MediaFiles, written: Callable[[sqlite3.Connection, int], None]) -> None:
        self._path, self._media, self._written = path, media, written
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def add(self, entry: Entry, attached: Sequence[bytes]) -> Future[int]:
        """Write an entry soon; see `Store.add`."""
        done: Future[int] = Future()
        done.set_running_or_notify_cancel()  # who does not wait for it any more cannot cancel it
        self._put(Job(entry, attached, done, None, may_wait=False))
        return done

    def add_here(self, entry: Entry, attached: Sequence[bytes], *, may_wait: bool) -> asyncio.Future[int]:
        """Write an entry for a task of the running loop; see `Store.add_here`."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[int] = loop.create_future()
        self._put(Job(entry, attached, done, loop, may_wait))
        return done

    def _put(self, job: Job) -> None:
        if self._thread is None or not self._thread.is_alive():
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="byzer-journal", daemon=True)
                    self._thread.start()
                    atexit.unregister(self.finish)
                    atexit.register(self.finish)
        self._queue.put(job)

    def finish(self, seconds: float | None = EXIT_SECONDS) -> None:
        """Write what is left, within so many seconds."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(seconds)
        if seconds is None:
            atexit.unregister(self.finish)

    # ---- in the thread

    def _run(self) -> None:
        """Write entries as they come."""
        writing = Following(self._path)
        try:
            while (first := self._queue.get()) is not None:
                if first.may_wait:
                    time.sleep(GATHERING_SECONDS)
                group, goes_on = [first], True
                with contextlib.suppress(queue.Empty):
                    while goes_on and len(group) < MOST_AT_ONCE:
                        more = self._queue.get_nowait()
                        goes_on = more is not None
                        group += [more] if more is not None else []
                self._write(writing, group)
                if not goes_on:
                    return
        finally:
            writing.close()

    def _write(self, writing: Following, group: list[Job]) -> None:
        """Write entries together, and tell those who wait."""
        try:
            connection = writing.get()
            outcomes = self._committed(connection, group)
        except Exception as err:  # whatever it is: nobody waits for ever, and what comes next is written
            log.warning("entries are not in the journal", exc_info=True)
            problem = unusable(self._path, err)
            _tell([(job, problem) for job in group])
            return
        _tell(outcomes)
        try:
            self._written(connection, len(outcomes))
        except (OSError, sqlite3.Error):
            log.warning("the bounds of the journal are not kept", exc_info=True)

    def _committed(self, connection: sqlite3.Connection, group: list[Job]) -> list[tuple[Job, Outcome]]:
        """Write entries in one transaction; return what became of each.

        Raises:
            sqlite3.Error: none of them is written.
        """
        secrets = hiding.of_environment()
        is_clean = hiding.are_clean([job.entry for job in group], secrets)
        made = [(job, self._row(job, None if is_clean else secrets)) for job in group]
        outcomes: list[tuple[Job, Outcome]] = []
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for job, row in made:
                outcomes.append((job, row if isinstance(row, JournalError) else self._inserted(connection, *row)))
        return outcomes

    def _inserted(self, connection: sqlite3.Connection, values: tuple[Any, ...], digests: list[str]) -> Outcome:
        try:
            number = connection.execute(rows.INSERT, values).lastrowid or 0
        except (ValueError, OverflowError, sqlite3.DataError) as err:  # the others are written
            return unusable(self._path, err)
        for digest in digests:
            connection.execute("INSERT OR IGNORE INTO media VALUES (?, ?)", (digest, number))
        return number

    def _row(self, job: Job, secrets: tuple[str, ...] | None) -> tuple[tuple[Any, ...], list[str]] | JournalError:
        """Return the values of an entry and the hashes of its media; an error where only this one cannot be written.

        Args:
            job: the entry.
            secrets: those to hide; None where it has none.
        """
        try:
            entry = job.entry if secrets is None else hiding.hidden(job.entry, secrets)
            pieces, digests = self._media.moved_out(entry.pieces)
            digests += [self._media.put(data) for data in job.attached]
            return rows.of(msgspec.structs.replace(entry, pieces=pieces)), digests
        except (OSError, TypeError, ValueError, NotImplementedError, OverflowError, RecursionError) as err:
            return unusable(self._path, err)


def _tell(outcomes: list[tuple[Job, Outcome]]) -> None:
    """Tell those who wait; a loop is woken once for all of its own."""
    of_loops: dict[asyncio.AbstractEventLoop | None, list[tuple[Job, Outcome]]] = defaultdict(list)
    for job, outcome in outcomes:
        of_loops[job.loop].append((job, outcome))
    for loop, some in of_loops.items():
        if loop is None:
            _set(some)
        else:
            with contextlib.suppress(RuntimeError):  # it was closed
                loop.call_soon_threadsafe(_set, some)


def _set(outcomes: list[tuple[Job, Outcome]]) -> None:
    for job, outcome in outcomes:
        if job.done.done():  # given up
            continue
        if isinstance(outcome, JournalError):
            job.done.set_exception(outcome)
        else:
            job.done.set_result(outcome)
