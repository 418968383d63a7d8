"""The stream of rows through a model: rows in, a window of them in flight, values out in the order of the rows.

A row that is answered is done when it is in the journal; others are asked about meanwhile. No more than a window of
rows is held at a time: the requests in flight, and what has come before its turn. A row's error is its value. What is
no row's own (no such deployment, a wrong key) ends the run; no answer is lost.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol

from byzer_magic import errors
from byzer_magic.data.pace import Pace
from byzer_magic.data.rows import Row
from byzer_magic.data.run_budget import RunBudget
from byzer_magic.data.sums import Sums
from byzer_magic.data.template import NotAskable
from byzer_magic.errors import ByzerError
from byzer_magic.log import get_logger

LOG = get_logger("data")

WINDOW = 4096
"""Rows that may be answered before the oldest one that is not."""
SAME_FAILURES = 20
"""When so many rows fail for one reason and none succeeds, that is the reason of all."""
LOOK_SECONDS = 1.0
"""How often a row that waits looks whether the run has ended."""
AGAIN_SECONDS = (1.0, 2.0, 4.0)
"""The pauses before a row is asked again whose worker or deployment was lost while it was asked."""

LATER = (errors.RateLimited, errors.Overloaded, errors.LimitReached)
"""There is no room now."""
FINAL = (
    errors.DeployError, errors.ClusterError, errors.ConfigError, errors.AuthenticationFailed, errors.ModelNotFound,
    errors.BudgetSpent, errors.JournalError,
)  # fmt: skip
"""No row will be answered."""
OWN = (errors.ContextTooLong, errors.ContentRefused, errors.MalformedResponse, errors.DeadlineExceeded)
"""A row fails because of what is in it, however many do."""


def is_final(err: ByzerError) -> bool:
    """Return whether an error is that of all rows."""
    return isinstance(err, FINAL) or (isinstance(err, LATER) and bool(err.details.get("final")))


class Answered(NamedTuple):
    """The answers to rows."""

    values: list[Any]
    """For each row its value, or the error in its place."""
    written: asyncio.Future[Any] | None = None
    """Done when they are in the journal, until which the rows are not; None where nothing has to be waited for."""


Ask = Callable[[Sequence[Row]], Awaitable[Answered]]


class Sink(Protocol):
    """Takes the values, in the order of the rows."""

    def add(self, value: Any, /) -> None:
        """Take a row's value, or the error in its place."""

    def skip(self, count: int, /) -> None:
        """Take rows that have not been answered."""


class Flow:
    """One run.

    Args:
        rows: what to ask about.
        ask: asks about some of them.
        sink: where the values go.
        pace: how many requests may be in flight.
        sums: counts what is done.
        at_once: rows of one request.
        budget: what may be spent.
        clock: returns the time, in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        ask: Ask,
        sink: Sink,
        pace: Pace,
        sums: Sums,
        *,
        at_once: int = 1,
        budget: RunBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.error: ByzerError | None = None
        """Why the run has ended early."""
        self.out_of_money = False
        self._rows: Iterator[Row] = iter(rows)
        self._ask, self._sink, self._pace, self._sums = ask, sink, pace, sums
        self._at_once, self._budget = at_once, budget
        self._clock, self._sleep = clock, sleep
        self._taken = self._given = 0
        """Groups of rows that have been begun, and that the sink has."""
        self._early: dict[int, list[Any] | None] = {}
        """What has come before its turn; None where there is no answer."""
        self._sizes: dict[int, int] = {}
        """The rows of each group that the sink does not have yet."""
        self._handed = 0
        """The rows that the sink has."""
        self._writing: set[asyncio.Future[Any]] = set()
        """What rows wait for that are answered; others are asked about meanwhile."""
        self._closed = False
        self._failure: ByzerError | None = None
        """What the last rows have failed with."""
        self._reason: tuple[str, str] | None = None
        self._same = 0
        self._succeeded = 0
        self._change = asyncio.Event()
        self._waiting = 0

    async def run(self) -> None:
        """Ask about all rows; when it returns, or is cancelled, `close` completes the sink."""
        count = min(self._pace.most, -(-self._sums.total // self._at_once))
        try:
            async with asyncio.TaskGroup() as group:
                for _worker in range(count):
                    group.create_task(self._work())
        finally:
            if self._writing:
                await asyncio.wait(self._writing)
            self._closed = True
        if self.error is None and self._same > 1 and self._same == self._sums.done:
            self.error = self._failure

    def close(self) -> None:
        """Hand the sink what came before its turn, and what is missing in between and behind as not answered."""
        self._closed = True
        for number in range(self._given, self._taken):
            self._hand_over(number, self._early.pop(number, None))
        self._given = self._taken
        self._sink.skip(self._sums.total - self._handed)

    # ---- one group of rows after the other

    @property
    def _stopped(self) -> bool:
        return self._closed or self.error is not None or self.out_of_money

    async def _work(self) -> None:
        while await self._turn(new=True):
            rows = list(islice(self._rows, self._at_once))
            if not rows:
                return
            number = self._taken
            self._taken += 1
            self._sizes[number] = len(rows)
            reserved = await self._afford(rows)
            answered = None if reserved is None else await self._answered(rows)
            if self._budget is not None and reserved is not None:
                self._budget.settle(reserved)
            if answered is None or answered.written is None or answered.written.done():
                self._put(number, answered)
            else:
                self._writing.add(answered.written)
                answered.written.add_done_callback(functools.partial(self._written, number, answered))

    async def _turn(self, *, new: bool) -> bool:
        """Wait until a request may be sent; return whether it still should."""
        while not self._stopped:
            now = self._clock()
            if pause := self._pace.wait(now):
                await self._sleep(min(pause, LOOK_SECONDS))
            elif self._pace.has_room(now) and not (new and (self._is_ahead or self._is_unwritten)):
                return True
            else:
                await self._changed()
        return False

    @property
    def _is_ahead(self) -> bool:
        return (self._taken - self._given) * self._at_once >= max(WINDOW, 2 * self._pace.most * self._at_once)

    @property
    def _is_unwritten(self) -> bool:
        """Return whether too many rows are not in the journal yet: a process that is killed loses them."""
        return self._pace.in_flight + len(self._writing) >= 2 * self._pace.most

    async def _changed(self) -> None:
        """Wait until a request has ended."""
        self._waiting += 1
        try:
            await self._change.wait()
        finally:
            self._waiting -= 1

    def _wake(self) -> None:
        if self._waiting:
            self._change.set()
            self._change = asyncio.Event()

    async def _afford(self, rows: Sequence[Row]) -> float | None:
        """Reserve what rows may cost; None where there is not so much left."""
        if self._budget is None:
            return 0.0
        expected = self._budget.expected(rows)
        while self._budget.must_wait(expected):
            if not self._budget.running:
                self.out_of_money = True
                self._wake()
            if self._stopped:
                return None
            await self._changed()
        return self._budget.reserve(expected)

    async def _answered(self, rows: Sequence[Row]) -> Answered | None:
        """Return the answers to rows, errors among them; None where they are not answered."""
        lost = 0
        while self._pace.has_room(self._clock()) or await self._turn(new=False):
            sent = self._pace.begin(self._clock())
            try:
                answered = await self._ask(rows)
            except Exception as err:  # noqa: BLE001 - it is the value of its row, whatever it is
                pause = self._after(err, sent, lost)
                if pause is None:
                    return None if isinstance(err, ByzerError) and is_final(err) else Answered([err] * len(rows))
                lost += isinstance(err, errors.WorkerLost)
                await self._sleep(pause)
            except BaseException:  # the run is cancelled
                self._pace.dropped()
                raise
            else:
                self._pace.ended()
                return answered
        return None

    def _after(self, err: Exception, sent: float, lost: int) -> float | None:
        """Take note of an error; return the seconds after which the rows are asked again, None where they are not."""
        if isinstance(err, LATER) and not is_final(err):
            after = err.details.get("retry_after")
            self._pace.refused(sent, self._clock(), after if isinstance(after, int | float) else None)
            if not self._pace.is_hopeless(self._clock()):
                self._wake()
                return 0.0
            err.details["final"] = True
            self._end(err)
        elif isinstance(err, errors.WorkerLost) and lost < len(AGAIN_SECONDS):
            self._pace.dropped()
            return AGAIN_SECONDS[lost]
        else:
            self._pace.ended()
            if isinstance(err, ByzerError) and is_final(err):
                self._end(err)
            elif not isinstance(err, ByzerError | NotAskable):
                LOG.warning("a row has failed", exc_info=err)
        return None

    def _end(self, err: ByzerError) -> None:
        """End the run for a reason that is no row's own."""
        self.error = self.error or err
        self._wake()

    # ---- values in the order of the rows

    def _written(self, number: int, answered: Answered, done: asyncio.Future[Any]) -> None:
        self._writing.discard(done)
        self._put(number, answered)

    def _put(self, number: int, answered: Answered | None) -> None:
        if self._closed:
            return
        values = None if answered is None else answered.values
        for value in values or ():
            self._judge(value)
        self._early[number] = values
        while self._given in self._early:
            self._hand_over(self._given, self._early.pop(self._given))
            self._given += 1
        self._wake()

    def _hand_over(self, number: int, values: list[Any] | None) -> None:
        size = self._sizes.pop(number)
        self._handed += size
        if values is None:
            self._sink.skip(size)
            return
        for value in values:
            self._sink.add(value)

    def _judge(self, value: Any) -> None:
        """Count a row; end the run where all fail for one reason."""
        is_error = isinstance(value, Exception)
        self._sums.rows(1, failed=is_error, now=self._clock())
        if not is_error:
            self._succeeded += 1
            return
        if not isinstance(value, ByzerError) or isinstance(value, OWN):
            return
        reason = (value.code, str(value.message))
        self._same = self._same + 1 if reason == self._reason else 1
        self._reason, self._failure = reason, value
        if self._same >= SAME_FAILURES and not self._succeeded:
            self._end(value)
