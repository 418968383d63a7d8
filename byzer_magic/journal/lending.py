"""The journal, purse and locks of a project for processes on other machines, on the machine that has the files.

A file of SQLite cannot be shared between machines. Processes on others send what they want of it in groups, one after
the other, and show by these that they live: what one had that does so no longer is given back, and counted.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

from byzer_magic.errors import ByzerError, JournalError, JournalOutOfReach
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal.bounds import MEGABYTE, Bounds
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.purse import Hold, Purse, PurseFile
from byzer_magic.journal.store import project_store
from byzer_magic.log import get_logger

log = get_logger("journal")

LEASE_SECONDS = 30.0
"""A process that was not heard of for so long has died, or its machine cannot be reached."""
PURSE_SECONDS = 0.5
"""How long what is in the purse is believed; a request looks again when it holds money."""
MOST_BYTES = 16 * MEGABYTE
"""Of a group of calls, and of their results, beyond the last one."""
PIECE_BYTES = 100
"""About what a piece of an answer takes besides its text."""


class Call(NamedTuple):
    """Something that a process wants: a verb of `Lender`, and its arguments."""

    verb: str
    arguments: tuple[Any, ...]


class Reply(NamedTuple):
    """What came of a group of calls."""

    results: list[Any]
    """Of each call its result, or the error in its place; of as many calls, from the first, as there was room for."""
    purse: Purse | JournalError | None
    """What is in the purse."""


class Borrower:
    """A process on another machine.

    Args:
        now: the time at which it was heard of.
    """

    def __init__(self, now: float) -> None:
        self.seen = now
        self.running = 0
        self.turn = threading.Lock()
        self.last: tuple[int, Reply] | None = None
        """The number of its last group, and the reply, which may not have arrived."""
        self.keys: set[str] = set()
        """Of the locks that it has."""
        self.holds: set[int] = set()
        """What it holds of the purse."""


class Lender:
    """The files of one project; safe in threads.

    Args:
        folder: the project folder.
        host: the machine that it is on.
        bounds: those of its journal.
        clock: returns the time, in seconds.

    Raises:
        JournalError: the folder is not on this machine, or its journal cannot be used.
    """

    def __init__(self, folder: str, host: str, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        if socket.gethostname() != host or not Path(folder).is_dir():
            raise JournalOutOfReach(
                _(
                    "The journal and the purse of {folder} are on {host}, which is not in the cluster.",
                    folder=folder,
                    host=host,
                ),
                _("Run this on a machine of the cluster, or go without both: journal=False, and no purse."),
            )
        self._store = project_store(bounds, Path(folder))
        self._purse: PurseFile | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._borrowers: dict[str, Borrower] = {}
        self._owners: dict[str, Borrower] = {}
        """Who has the lock of a key: to the file of locks, they all are this process."""
        self._seen = clock()
        self._state: tuple[float, Purse | JournalError | None] | None = None

    def do(self, name: str, number: int, calls: Sequence[Call]) -> Reply:
        """Do what a process wants; a group that comes again is not done again.

        Args:
            name: of the process, different from all others.
            number: of the group, different from the last one's.
            calls: none, where it just lives.
        """
        with self._lock:
            self._expire()
            borrower = self._borrowers.setdefault(name, Borrower(self._clock()))
            borrower.running += 1
        try:
            with borrower.turn:
                if borrower.last is None or borrower.last[0] != number:
                    borrower.last = number, self._done(borrower, calls)
                return borrower.last[1]
        finally:
            with self._lock:
                borrower.running -= 1
                borrower.seen = self._seen = self._clock()

    def tend(self) -> float:
        """Give back what dead processes had; return for how many seconds none was heard of."""
        with self._lock:
            self._expire()
            return 0.0 if any(each.running for each in self._borrowers.values()) else self._clock() - self._seen

    def _expire(self) -> None:
        """Give back what was lent to processes that were not heard of for too long."""
        dead = [name for name, each in self._borrowers.items() if not each.running and self._is_late(each)]
        for name in dead:
            borrower = self._borrowers.pop(name)
            self._give_back_now(borrower, [*borrower.keys])
            try:
                self._file().lose(borrower.holds)
            except JournalError as err:
                log.warning("what %s held is not settled: %s", name, err)

    def _is_late(self, borrower: Borrower) -> bool:
        return self._clock() - borrower.seen > LEASE_SECONDS

    def _done(self, borrower: Borrower, calls: Sequence[Call]) -> Reply:
        results: list[Any] = []
        size = 0
        for call in calls:
            if size > MOST_BYTES:
                break
            result = self._result(borrower, call)
            size += sum(map(bytes_of, result.values())) if isinstance(result, dict) else 0
            results.append(result)
        return Reply([_committed(result) for result in results], self._purse_now())

    def _result(self, borrower: Borrower, call: Call) -> Any:
        """Return what comes of a call: a result, an error, or the future of an entry."""
        try:
            return _VERBS[call.verb](self, borrower, *call.arguments)
        except ByzerError as err:
            return err
        except Exception as err:  # whatever it is: the others are done
            log.warning("%s has failed", call.verb, exc_info=True)
            return JournalError(_("The journal cannot be used: {error}.", error=repr(err)))

    # ---- the journal

    def _look(self, _borrower: Borrower, keys: Sequence[str]) -> dict[str, Entry]:
        return self._store.look_now(keys)

    def _find(self, _borrower: Borrower, key: str, by: str) -> Entry | None:
        return self._store.find(key, by=by)

    def _has(self, _borrower: Borrower, keys: Sequence[str]) -> set[str]:
        return self._store.has(keys)

    def _add(self, _borrower: Borrower, entry: Entry, attached: Sequence[bytes]) -> Future[int]:
        return self._store.add(entry, attached)

    # ---- its locks

    def _take(self, borrower: Borrower, keys: Sequence[str]) -> list[str]:
        with self._lock:
            own = [key for key in keys if self._owners.get(key) is borrower]
            taken = self._store.locks.take_now([key for key in keys if key not in self._owners])
            self._owners |= dict.fromkeys(taken, borrower)
            borrower.keys.update(taken)
            return own + taken

    def _give_back(self, borrower: Borrower, keys: Sequence[str]) -> None:
        with self._lock:
            self._give_back_now(borrower, keys)

    def _give_back_now(self, borrower: Borrower, keys: Sequence[str]) -> None:
        held = borrower.keys.intersection(keys)
        borrower.keys -= held
        for key in held:
            del self._owners[key]
        self._store.locks.give_back(held)

    # ---- the purse

    def _hold(self, borrower: Borrower, most: float, likely: float, least: float | None) -> Hold:
        found = self._file().hold(most, likely, least)
        if found.outcome == "held":
            borrower.holds.add(found.id)
        return found

    def _grow(self, _borrower: Borrower, hold: int, most: float) -> Hold:
        return self._file().grow(hold, most)

    def _settle(self, borrower: Borrower, hold: int, cost: float) -> None:
        self._file().settle(hold, cost)
        borrower.holds.discard(hold)

    def _answers(self, _borrower: Borrower, alias: str) -> list[tuple[int, int]]:
        return self._file().answers(alias)

    def _put_in(self, _borrower: Borrower, amount: float) -> Purse | None:
        return self._file().add(amount)

    def _file(self) -> PurseFile:
        if self._purse is None or not self._purse.usable:
            self._purse = PurseFile(self._store.path)
        return self._purse

    def _purse_now(self) -> Purse | JournalError | None:
        now = self._clock()
        if self._state is None or now - self._state[0] > PURSE_SECONDS:
            try:
                self._state = now, self._file().read()
            except JournalError as err:
                self._state = now, err
        return self._state[1]


_VERBS: dict[str, Callable[..., Any]] = {
    "look": Lender._look, "find": Lender._find, "has": Lender._has, "add": Lender._add,
    "take": Lender._take, "give_back": Lender._give_back,
    "hold": Lender._hold, "grow": Lender._grow, "settle": Lender._settle, "answers": Lender._answers,
    "put_in": Lender._put_in,
}  # fmt: skip


def _committed(result: Any) -> Any:
    """Return a result, that of an entry once it is in the file."""
    if not isinstance(result, Future):
        return result
    try:
        return result.result()
    except JournalError as err:
        return err


def bytes_of(entry: Entry, attached: Sequence[bytes] = ()) -> int:
    """Return about how many bytes an entry takes, with the media of its request.

    Example:
        >>> bytes_of(Entry(key="", asked="", at=0.0, alias="m", method="chat"), [b"picture"])
        7
    """
    pieces = sum(PIECE_BYTES + len(getattr(item, "data", b"")) for _seconds, item in entry.pieces)
    return len(entry.request) + len(entry.answer) + pieces + sum(map(len, attached))
