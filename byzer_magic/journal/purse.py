"""The purse: what the requests of a project may cost, shared by all of its processes.

It is in the journal's file. What a request may cost is held before it is sent, in a transaction that no other process
takes part in, and what it did cost is taken in its place. What a process had held when it died counts as it probably
was.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from byzer_magic.errors import JournalError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.connecting import connected, file_of

T = TypeVar("T")

ROUNDING = 1e-9
"""Of sums of costs."""
ELSEWHERE_SECONDS = 3600.0
"""What a process on another machine has held for so long is not held any more: whether it lives cannot be seen."""
BORN_SECONDS = 2.0
"""A process that began at another time, give or take this, is another one with the same number."""
LATEST = 1000
"""Of so many entries of the journal, the lengths of answers are taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What is in a purse.

    Example:
        >>> Purse(amount=0.5, spent=0.25, held=0.125, currency="USD").left
        0.25
    """

    amount: float
    """What was put into it."""
    spent: float = 0.0
    held: float = 0.0
    """What requests in flight may cost."""
    currency: str = "USD"
    strict: bool = False
    """Whether requests whose cost cannot be known are refused."""

    @property
    def left(self) -> float:
        """Return what is not spent; requests in flight may spend what is held of it."""
        return max(0.0, self.amount - self.spent)


Outcome = Literal["held", "busy", "short", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What came of the wish to hold money."""

    outcome: Outcome
    """``busy``: there is enough once others have ended and have cost less than they might; ``short``: there is not
    enough; ``none``: there is no purse."""
    id: int = 0
    amount: float = math.inf
    """How much is held; without a purse, there is no end to it."""
    purse: Purse | None = None


class PurseFile:
    """The purse in a journal's file; safe in threads."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            JournalError: the file cannot be used.
        """
        self.path = path
        self._pid = os.getpid()
        self._lock = threading.Lock()
        try:
            self._connection, self._reading = connected(path), connected(path)
            self._file = file_of(path)
        except (OSError, sqlite3.Error) as err:
            raise self._unusable(err) from None

    @property
    def usable(self) -> bool:
        """Return whether it is this process's own, and its file is there, and not another one by now."""
        return self._pid == os.getpid() and self._file is not None and self._file == file_of(self.path)

    # ---- the user's

    def read(self) -> Purse | None:
        """Return what is in it; None where there is no purse.

        Raises:
            JournalError: the file cannot be used.
        """
        try:
            return self._read(self._reading)
        except sqlite3.Error as err:
            raise self._unusable(err) from None

    def put(self, amount: float, currency: str, *, strict: bool, afresh: bool = False) -> Purse:
        """Have a purse of this amount; what was spent stays spent.

        Args:
            amount: what may be spent in all.
            currency: ``USD`` or ``CNY``; what was spent in another one is forgotten.
            strict: see `Purse.strict`.
            afresh: forget what was spent.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> Purse:
            known = self._read(connection)
            spent = known.spent if known and known.currency == currency and not afresh else 0.0
            values = (amount, spent, currency, strict)
            connection.execute("INSERT OR REPLACE INTO purse VALUES (1, ?, ?, ?, ?)", values)
            return self._known(connection)

        return self._run(work)

    def add(self, amount: float) -> Purse | None:
        """Put more into the purse; None where there is none.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> Purse | None:
            connection.execute("UPDATE purse SET amount = amount + ?", (amount,))
            return self._read(connection)

        return self._run(work)

    def remove(self) -> bool:
        """Have no purse; return whether there was one.

        Raises:
            JournalError: the file cannot be used.
        """
        return self._run(lambda connection: connection.execute("DELETE FROM purse").rowcount > 0)

    # ---- the requests'

    def hold(self, most: float, likely: float, least: float | None = None) -> Hold:
        """Hold what a request may cost.

        Args:
            most: what it may cost.
            likely: what counts if this process dies before it is settled.
            least: with how much it would do: where less than `most` is left, all that is left is held, once others have
                ended. By default it needs all of `most`.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> Hold:
            _release_dead(connection)
            purse = self._read(connection)
            if purse is None:
                return Hold(outcome="none")
            if (most if least is None else min(most, least)) > purse.left + ROUNDING:
                return Hold(outcome="short", purse=purse)
            amount = most if least is None else min(most, purse.left)
            if amount > purse.left - purse.held + ROUNDING:
                return Hold(outcome="busy", purse=purse)
            values = (amount, min(likely, amount), time.time(), *_me(os.getpid()))
            row = connection.execute(
                "INSERT INTO holds (most, likely, at, host, pid, born) VALUES (?, ?, ?, ?, ?, ?)", values
            )
            return Hold(outcome="held", id=row.lastrowid or 0, amount=amount, purse=purse)

        return self._run(work)

    def grow(self, hold: int, most: float) -> Hold:
        """Hold more for a request that runs, as far as there is more; the outcome is ``short`` where it is not enough.

        Args:
            hold: the number that `hold` has returned.
            most: what the request may cost by now.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> Hold:
            purse = self._read(connection)
            row = connection.execute("SELECT most FROM holds WHERE id = ?", (hold,)).fetchone()
            if purse is None or row is None:  # it was removed
                return Hold(outcome="none", id=hold)
            amount = max(row["most"], min(most, row["most"] + max(0.0, purse.left - purse.held)))
            query = "UPDATE holds SET most = ?, likely = max(likely, ?) WHERE id = ?"
            connection.execute(query, (amount, amount, hold))
            enough = most <= amount + ROUNDING
            return Hold(outcome="held" if enough else "short", id=hold, amount=amount, purse=purse)

        return self._run(work)

    def settle(self, hold: int, cost: float) -> None:
        """Take what a request has cost in place of what was held for it.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM holds WHERE id = ?", (hold,))
            connection.execute("UPDATE purse SET spent = spent + ?", (cost,))

        self._run(work)

    def lose(self, holds: Iterable[int]) -> None:
        """Count what was held as it probably was: whoever held it has died.

        Raises:
            JournalError: the file cannot be used.
        """

        def work(connection: sqlite3.Connection) -> None:
            for hold in holds:
                connection.execute(
                    "UPDATE purse SET spent = spent + (SELECT total(likely) FROM holds WHERE id = ?)", (hold,)
                )
                connection.execute("DELETE FROM holds WHERE id = ?", (hold,))

        self._run(work)

    def answers(self, alias: str) -> list[tuple[int, int]]:
        """Return the tokens, and the bytes of the text, of the latest answers of a deployment, the newest first.

        Raises:
            JournalError: the file cannot be used.
        """
        query = f"""SELECT completion_tokens, length(CAST(answer AS BLOB)) FROM
            (SELECT alias, status, completion_tokens, answer FROM entries ORDER BY id DESC LIMIT {LATEST})
            WHERE alias = ? AND status = 'complete' AND completion_tokens > 0"""  # noqa: S608 - a number of ours
        found = self._run(lambda connection: connection.execute(query, (alias,)).fetchall())
        return [(tokens, size or 0) for tokens, size in found]

    # ---- the file

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in a transaction in which no other process writes."""
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                return work(self._connection)
        except sqlite3.Error as err:
            raise self._unusable(err) from None

    @staticmethod
    def _read(connection: sqlite3.Connection) -> Purse | None:
        query = "SELECT amount, spent, (SELECT total(most) FROM holds) AS held, currency, strict FROM purse"
        row = connection.execute(query).fetchone()
        return Purse(**{**row, "strict": bool(row["strict"])}) if row is not None else None

    def _known(self, connection: sqlite3.Connection) -> Purse:
        purse = self._read(connection)
        assert purse is not None  # noqa: S101 - just written
        return purse

    def _unusable(self, err: Exception) -> JournalError:
        return JournalError(
            _("The purse in {path} cannot be used: {error}.", path=self.path, error=err),
            _("Check the disk and the file, or move the file away: a new one is made."),
        )


@functools.cache
def _me(pid: int) -> tuple[str, int, float]:
    """Return what tells this process from others: the machine, its number, and when it began (Unix time)."""
    import psutil

    return platform.node(), pid, psutil.Process(pid).create_time()


def _release_dead(connection: sqlite3.Connection) -> None:
    """Count what processes that have died had held."""
    here, me, mine = _me(os.getpid())
    for host, pid, born in connection.execute("SELECT DISTINCT host, pid, born FROM holds").fetchall():
        if host == here and ((pid, born) == (me, mine) or _lives(pid, born)):
            continue
        before = time.time() + 1 if host == here else time.time() - ELSEWHERE_SECONDS  # dates of rows
        whose = (host, pid, born, before)
        where = "host = ? AND pid = ? AND born = ? AND at < ?"
        likely = connection.execute(f"SELECT total(likely) FROM holds WHERE {where}", whose).fetchone()[0]  # noqa: S608 - a condition of ours
        connection.execute("UPDATE purse SET spent = spent + ?", (likely,))
        connection.execute(f"DELETE FROM holds WHERE {where}", whose)  # noqa: S608 - as above


def _lives(pid: int, born: float) -> bool:
    import psutil

    try:
        return abs(psutil.Process(pid).create_time() - born) < BORN_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:  # of another user
        return True
