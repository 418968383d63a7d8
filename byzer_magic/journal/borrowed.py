"""The journal, purse and locks of a project whose files are on another machine; `lending` is the other end.

What is wanted of them while a group of calls is on its way goes with the next one: thousands of requests a second take
a few round trips.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias

from byzer_magic.errors import JournalError, JournalOutOfReach
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.journal import hiding
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.key_locks import Locks
from byzer_magic.journal.lending import MOST_BYTES, Call, Reply, bytes_of
from byzer_magic.journal.purse import Hold, Purse, PurseFile
from byzer_magic.journal.shared import SharedJournal
from byzer_magic.log import get_logger

log = get_logger("journal")

Send = Callable[[str, int, Sequence[Call]], Reply]
"""Sends a group of calls (see `Lender.do`); raises ConnectionError where it has not arrived, or no reply has."""

Wanted = tuple[Call, Future[Any]]

BEAT_SECONDS = 1.0
"""How often this process shows that it lives, and looks into the purse, where it wants nothing else."""
LOST_SECONDS = 60.0
"""How long the other machine is called again; the file's transactions may wait for 30 s as well."""
AGAIN_SECONDS = 1.0
MOST_AT_ONCE = 500
"""Calls of one group."""


class Line:
    """What this process says to the machine with the files; a thread of its own speaks, one group after the other.

    Args:
        send: sends a group.
        host: the other machine, for errors.
        clock: returns the time, in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        send: Send,
        host: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._send, self._host, self._clock, self._sleep = send, host, clock, sleep
        self._name = uuid.uuid4().hex
        self._number = 0
        self._lost: JournalError | None = None
        self._purse: Purse | JournalError | None = None
        self._queue: queue.SimpleQueue[Wanted | None] = queue.SimpleQueue()
        self._left: deque[Wanted] = deque()
        """What did not go with the last group."""
        self._ends = False
        self._thread = threading.Thread(target=self._serve, name="byzer-journal-line", daemon=True)
        self._thread.start()

    def call(self, verb: str, *arguments: Any) -> Future[Any]:
        """Have something done on the other machine; the future has the result, or a JournalError.

        Args:
            verb: one of those of `Lender`.
            arguments: of the verb.
        """
        done: Future[Any] = Future()
        done.set_running_or_notify_cancel()  # it is done, whether anyone waits for it or not
        self._queue.put((Call(verb, arguments), done))
        return done

    def reach(self) -> None:
        """Wait until the other machine responds.

        Raises:
            JournalOutOfReach: it does not.
        """
        self.call("has", []).result()

    @property
    def purse(self) -> Purse | None:
        """Return what was in the purse when the other machine last responded.

        Raises:
            JournalError: it is out of reach, or the purse cannot be used.
        """
        for found in (self._lost, self._purse):
            if isinstance(found, JournalError):
                raise found
        return self._purse if isinstance(self._purse, Purse) else None

    def close(self) -> None:
        """Send what is left, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    # ---- the thread

    def _serve(self) -> None:
        while not self._ends or self._left:
            group = self._group()
            try:
                reply = self._reply([call for call, _done in group])
            except Exception as err:  # whatever it is: nobody waits for ever
                if not isinstance(err, JournalError):
                    log.warning("calls to %s have failed", self._host, exc_info=True)
                self._fail(group, err if isinstance(err, JournalError) else self._out_of_reach(err))
                continue
            self._purse = reply.purse
            self._left.extendleft(reversed(group[len(reply.results) :]))
            for (_call, done), result in zip(group, reply.results, strict=False):
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)

    def _group(self) -> list[Wanted]:
        """Return what is wanted by now; nothing where it is time to show that this process lives."""
        group: list[Wanted] = []
        size = 0
        secrets: tuple[str, ...] | None = None
        while len(group) < MOST_AT_ONCE and size < MOST_BYTES:
            try:
                if not (item := self._left.popleft() if self._left else self._wanted(wait=not group)):
                    self._ends = True
                    break
            except queue.Empty:
                break
            if item[0].verb == "add":
                secrets = hiding.of_environment() if secrets is None else secrets  # takes longer than an entry
                try:
                    item, added = _hidden(item, secrets)
                except Exception as err:  # noqa: BLE001 - whatever it is: the others are sent
                    item[1].set_exception(JournalError(_("The journal cannot be used: {error}.", error=repr(err))))
                    continue
                size += added
            group.append(item)
        return group

    def _wanted(self, *, wait: bool) -> Wanted | None:
        return self._queue.get(timeout=BEAT_SECONDS) if wait and not self._ends else self._queue.get_nowait()

    def _reply(self, calls: Sequence[Call]) -> Reply:
        """Send a group until it has arrived.

        Raises:
            JournalOutOfReach: it has not, for too long.
            JournalError: the other machine has no such project.
        """
        self._number += 1
        until = self._clock() + (LOST_SECONDS if calls and self._lost is None else 0.0)
        while True:
            try:
                reply = self._send(self._name, self._number, calls)
            except ConnectionError as err:
                if self._clock() >= until:
                    raise self._out_of_reach(err) from None
                self._sleep(AGAIN_SECONDS)
            else:
                self._lost = None
                return reply

    def _fail(self, group: Sequence[Wanted], err: JournalError) -> None:
        if group:  # that a sign of life has not arrived is no loss yet
            self._lost = err
        for _call, done in group:
            done.set_exception(err)

    def _out_of_reach(self, err: Exception) -> JournalOutOfReach:
        return JournalOutOfReach(
            _("The journal of the project, on {host}, cannot be reached from here: {error}.", host=self._host,
              error=str(err) or type(err).__name__),
            _("Check that {host} runs and is in the cluster, and run this again: what is known is not asked again.",
              host=self._host),
        )  # fmt: skip


def _hidden(item: Wanted, secrets: tuple[str, ...]) -> tuple[Wanted, int]:
    """Return an entry to add as it may leave this process, and its size in bytes."""
    (_verb, (entry, attached)), done = item
    entry = hiding.hidden(entry, secrets)
    return (Call("add", (entry, attached)), done), bytes_of(entry, attached)


class BorrowedLocks(Locks):
    """The locks of a journal on another machine.

    Args:
        line: to that machine.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    async def take(self, keys: Sequence[str]) -> list[str]:
        """Take the locks that no other process has; if this task is cancelled meanwhile, they are given back."""
        asked = self._line.call("take", [*keys])
        try:
            found: list[str] = await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._return)
            raise
        return found

    def _return(self, done: Future[list[str]]) -> None:
        if done.exception() is None:
            self.give_back(done.result())

    def give_back(self, keys: Iterable[str]) -> None:
        """Give locks back that were taken."""
        if some := [*keys]:
            self._line.call("give_back", some)


class BorrowedStore(SharedJournal):
    """A journal on another machine.

    Args:
        line: to that machine.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self.locks = BorrowedLocks(line)

    def add(self, entry: Entry, attached: Sequence[bytes] = ()) -> Future[int]:
        """Write an entry soon; see `SharedJournal.add`."""
        return self._line.call("add", entry, tuple(attached))

    def find(self, key: str, *, by: str = "key") -> Entry | None:
        """Return the newest complete answer of a key; see `SharedJournal.find`."""
        found: Entry | None = self._line.call("find", key, by).result()
        return found

    def has(self, keys: Sequence[str]) -> set[str]:
        """Return those of several keys that have a complete answer; see `Answers.has`."""
        found: set[str] = self._line.call("has", [*keys]).result()
        return found

    async def look(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the newest complete answers of several keys; see `Answers.look`."""
        found: dict[str, Entry] = await asyncio.wrap_future(self._line.call("look", [*keys]))
        return found


class BorrowedPurse:
    """The purse of a project on another machine; as `PurseFile` to the requests that it pays for.

    Args:
        line: to that machine.
    """

    usable = True

    def __init__(self, line: Line) -> None:
        self._line = line

    def read(self) -> Purse | None:
        """Return what is in it; see `PurseFile.read`."""
        return self._line.purse

    def add(self, amount: float) -> Purse | None:
        """Put more into the purse; see `PurseFile.add`."""
        found: Purse | None = self._line.call("put_in", amount).result()
        return found

    def hold(self, most: float, likely: float, least: float | None = None) -> Hold:
        """Hold what a request may cost; see `PurseFile.hold`."""
        found: Hold = self._line.call("hold", most, likely, least).result()
        return found

    def grow(self, hold: int, most: float) -> Hold:
        """Hold more for a request that runs; see `PurseFile.grow`."""
        found: Hold = self._line.call("grow", hold, most).result()
        return found

    def settle(self, hold: int, cost: float) -> None:
        """Take what a request has cost in place of what was held for it; see `PurseFile.settle`."""
        self._line.call("settle", hold, cost).result()

    def answers(self, alias: str) -> list[tuple[int, int]]:
        """Return how long the latest answers of a deployment were; see `PurseFile.answers`."""
        found: list[tuple[int, int]] = self._line.call("answers", alias).result()
        return found


AnyPurse: TypeAlias = PurseFile | BorrowedPurse
"""The purse of a project, as the requests that it pays for use it."""
