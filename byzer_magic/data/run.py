"""One run of a model over the rows of a frame: everything is checked first, then rows flow, then columns are made."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import hashlib
import pickle
import time
from collections.abc import Sequence
from typing import Any

from byzer_magic.catalog import prices
from byzer_magic.client import journaling
from byzer_magic.client.estimates import in_flight
from byzer_magic.client.manager import Manager
from byzer_magic.client.replaying import REPLAY
from byzer_magic.data import table
from byzer_magic.data.asking import Asker, Question, asker_for, shape_for
from byzer_magic.data.flow import OWN, Answered, Flow
from byzer_magic.data.kept import Kept, kept_for
from byzer_magic.data.pace import Pace
from byzer_magic.data.rows import Row, Rows, names_of
from byzer_magic.data.run_budget import RunBudget
from byzer_magic.data.schema import Shape
from byzer_magic.data.sums import Sums
from byzer_magic.data.table import Table
from byzer_magic.data.wanted import Wanted
from byzer_magic.errors import BadRequest, ByzerError, CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.stat import ModelStat
from byzer_magic.types import Request, RowProgress

OF_ITS_ROW = (*OWN, BadRequest)
"""Why one row fails, an equal one would fail, too."""
MOST_REFUSED = 1000
"""Rows of which that is remembered."""


class Run:
    """A run that can be started; `progress` can be read at any time, from any thread.

    Args:
        manager: connects to the deployment.
        alias: the deployment.
        frame: the rows, a DataFrame.
        wanted: what the user wants.
        stat: the deployment's counters.
        question: what is asked about each row.
        price: of the model, where it is known.
        kept: the journal, where one is used.
    """

    def __init__(
        self,
        manager: Manager,
        alias: str,
        frame: Any,
        wanted: Wanted,
        stat: ModelStat,
        question: Question,
        price: prices.Price | None = None,
        kept: Kept | None = None,
    ) -> None:
        self.model = alias
        self.frame = frame
        self.question = question
        self.rows = Rows(frame, question.names)
        self.price = price
        self._started = time.monotonic()
        self._wanted = wanted
        self._replayed = REPLAY.connection(manager.settings) is not None
        """Whether a tape answers, which costs nothing."""
        self.sums = Sums(len(self.rows), self._started)
        self.kept = kept
        self.asker: Asker = asker_for(manager, alias, question, self.sums.response, kept)
        self._asked: dict[Row, asyncio.Future[set[Row]]] = {}
        """Rows in flight: an equal one waits, and finds the answer in the journal. The result has those answered."""
        self._refused: dict[bytes | None, ByzerError] = {}
        """Why rows have failed, by their digest: equal ones would, too."""
        self.shape: Shape = shape_for(question, wanted.out)
        table.check_names(self.shape, frame)
        self.table = Table(self.shape)
        self.pace = Pace(wanted.concurrency or in_flight(stat))
        self.flow = Flow(
            self.rows, self._ask, self.table, self.pace, self.sums, at_once=self.asker.at_once, budget=self._budget()
        )

    def _budget(self) -> RunBudget | None:
        if self._wanted.budget is None or self._replayed:
            return None
        if self.price is None:
            raise CommandError(
                _("The price of {alias} is unknown, so that no budget can be kept.", alias=self.model),
                _("Leave budget out, and see dry_run=True for the number of rows and tokens."),
            )
        return RunBudget(self._wanted.budget, self.price, self.sums, self.requests)

    def known(self, requests: Sequence[Request]) -> list[bool]:
        """Return for each request whether the journal has its answer."""
        if self.kept is None:
            return [False] * len(requests)
        forms = [self.asker.forms(request) for request in requests]
        found = iter(self.kept.known([form for several in forms for form in several]))
        return [sum(next(found) for _form in several) > 0 for several in forms]

    def requests(self, rows: Sequence[Row]) -> list[Request]:
        """Return the requests that rows cost, without those that cannot be made, or whose answers are known."""
        found = []
        for row in rows:
            with contextlib.suppress(Exception):  # it becomes the row's own error when it is asked about
                found.append(self.asker.request(row))
        return [request for request, known in zip(found, self.known(found), strict=True) if not known]

    async def _ask(self, rows: Sequence[Row]) -> Answered:
        names = await self._alone(rows)
        with journaling.giving_later() as later:
            answered: set[Row] = set()
            try:
                values = await self.asker.ask(rows)
                answered = names
            except OF_ITS_ROW as err:
                self._refuse(rows, err)
                raise
            finally:
                written = _all_of(later)
                if written is None:
                    self._end(names, answered)
                else:
                    written.add_done_callback(functools.partial(self._end, names, answered))
        cells = [value if isinstance(value, Exception) else self.shape.split(value) for value in values]
        return Answered(cells, written)

    async def _alone(self, rows: Sequence[Row]) -> set[Row]:
        """Wait while equal rows are asked about, and return the names of the others.

        Raises:
            ByzerError: an equal row has failed, for a reason that is its own.
        """
        if self.kept is None:
            return set()
        names = set(map(_name, rows))
        while (running := next((found for name in names if (found := self._asked.get(name))), None)) is not None:
            await asyncio.wait([running])
            names -= running.result()
        if self._refused and len(rows) == 1 and (err := self._refused.get(_digest(rows[0]))) is not None:
            raise copy.copy(err)  # each row has its own
        self._asked |= dict.fromkeys(names, asyncio.get_running_loop().create_future())
        return names

    def _refuse(self, rows: Sequence[Row], err: ByzerError) -> None:
        """Remember why a row has failed that was asked about alone."""
        if len(rows) > 1 or self.kept is None or (name := _digest(rows[0])) is None:
            return
        if len(self._refused) >= MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[name] = err

    def _end(self, names: set[Row], answered: set[Row], _written: asyncio.Future[Any] | None = None) -> None:
        """Let rows go on that have waited for equal ones, of which these are answered."""
        for running in {self._asked.pop(name) for name in names}:
            running.set_result(answered)

    async def run(self) -> None:
        """Ask about all rows, or until the run ends early."""
        with journaling.using(self.kept.how) if self.kept else contextlib.nullcontext():
            await self.flow.run()

    # ---- what is shown meanwhile

    @property
    def progress(self) -> RowProgress:
        """Return how far it is."""
        return self.sums.progress(time.monotonic())

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return time.monotonic() - self._started


async def prepared(manager: Manager, alias: str, frame: Any, wanted: Wanted, *, priced: bool = False) -> Run:
    """Return a run, of which everything is checked that can be checked before a row is asked about.

    Args:
        manager: connects to the deployment.
        alias: the deployment, which the manager can reach.
        frame: the rows, a DataFrame.
        wanted: what the user wants.
        priced: whether the price is needed, as it is for a budget.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        CommandError: what is wanted does not fit the model or the rows.
    """
    capabilities = await manager.capabilities(alias)
    question = wanted.question(capabilities, names_of(frame))
    stat = await manager.stat(alias)
    price = (await manager.price(alias)).price if priced or wanted.budget is not None else None
    kept = await kept_for(manager, alias, fresh=wanted.fresh, folder=wanted.folder) if wanted.journal else None
    return Run(manager, alias, frame, wanted, stat, question, price, kept)


def _all_of(written: list[asyncio.Future[int]]) -> asyncio.Future[Any] | None:
    """Return what is done when all answers are in the journal; None where there is none to wait for."""
    if len(written) < 2:
        return written[0] if written else None
    return asyncio.gather(*written, return_exceptions=True)


def _name(row: Row) -> Row:
    """Return what equal rows have in common, as a key."""
    try:
        hash(row)
    except TypeError:  # lists of documents, arrays of pixels
        return (_digest(row) or id(row),)
    return row


def _digest(row: Row) -> bytes | None:
    """Return what equal rows have in common, in a few bytes; None for one that cannot be written, and equals none."""
    try:
        return hashlib.blake2b(pickle.dumps(row), digest_size=16).digest()
    except Exception:  # noqa: BLE001 - whatever is in it
        return None
