"""What the requests of this process have used, cell by cell: around `Manager.ask`, so whatever made them.

It is kept in memory and is small: a cell's requests to one model are one line, however many there are.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from byzer_magic.client.collect import Complete
from byzer_magic.results.pace import Pace
from byzer_magic.routing.tokens import TokenCount
from byzer_magic.safety.redaction import hide
from byzer_magic.types import Dispatched, FromJournal, Request, Routed, Usage, Waiting

BEFORE = (Waiting, Routed)
"""What comes before a response."""
MOST_CELLS = 1000
"""Cells that are listed; those that were run before them are in the total only."""
LONGEST_WORDS = 48
"""Characters of a cell's first words."""
ENDED_BY_CALLER = (GeneratorExit, asyncio.CancelledError)
"""What a request raises when it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    r"""A cell of a notebook, as it was run once.

    Example:
        >>> Cell.of("%%chat gpt4o\nWhat is an invoice?", number=3).words
        '%%chat gpt4o What is an invoice?'
    """

    number: int = 0
    """Its execution number; 0 for what runs between cells."""
    id: str = ""
    """Empty where the front end does not send one: each run is then a cell of its own."""
    words: str = ""

    @classmethod
    def of(cls, source: str, *, number: int, id: str = "") -> Self:  # noqa: A002 - the front end's own word
        """Return the cell with this source."""
        words = hide(" ".join(source[: 4 * LONGEST_WORDS].split()))
        return cls(number=number, id=id, words=words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}…")

    @property
    def key(self) -> str:
        """Return what is the same when it is run again."""
        return self.id or f"#{self.number}"


OUTSIDE = Cell()
"""What runs between cells: the chat window, recorders, tasks in the background."""


@dataclass(slots=True)
class Sums:
    """What several requests have used."""

    requests: int = 0
    failed: int = 0
    interrupted: int = 0
    journal: int = 0
    """Of these, those that were answered from the journal."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    saved: float = 0.0
    unknown: int = 0
    """Requests of which it is not known what they cost."""
    first_seconds: float = 0.0
    """Times to first token, added up."""
    timed: int = 0
    """Requests that have such a time."""

    def add(self, other: Sums) -> None:
        """Add what others have used."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def ttft(self) -> float | None:
        """Return the mean time to first token, in seconds; None where there is none."""
        return self.first_seconds / self.timed if self.timed else None


Model = tuple[str, str]
"""The alias that was asked, and the currency; it is empty for requests whose cost is not known."""


@dataclass(slots=True)
class Run:
    """One run of a cell."""

    cell: Cell
    serial: int = 0
    times: int = 1
    """How often the cell has run with requests."""
    models: dict[Model, Sums] = field(default_factory=dict)

    def add(self, model: Model, used: Sums) -> None:
        """Count a request."""
        self.models.setdefault(model, Sums()).add(used)


_RUN: ContextVar[Run | None] = ContextVar("byzer_run", default=None)
"""The run that requests belong to which are made after its end."""


class Ledger:
    """What was used: by the last run of each cell, and in all.

    Example:
        >>> ledger = Ledger()
        >>> ledger.begin(Cell(number=1, words="%chat gpt4o Hi"))
        >>> ledger.add(ledger.current, ("gpt4o", "USD"), Sums(requests=1, cost=0.01))
        >>> [(run.cell.words, run.models["gpt4o", "USD"].cost) for run in ledger.runs()]
        [('%chat gpt4o Hi', 0.01)]
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serial = 0
        self._outside = Run(OUTSIDE)
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._total = Run(OUTSIDE)
        self._now = self._outside

    @property
    def current(self) -> Run:
        """Return the run that a request belongs to which is made now."""
        return _RUN.get() or self._now

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Have the requests of tasks that begin in this block belong to the present run, also after its end.

        Example:
            >>> ledger = Ledger()
            >>> ledger.begin(Cell(number=1))
            >>> with ledger.holding():
            ...     ledger.begin(Cell(number=2))
            ...     ledger.current.cell.number
            1
        """
        token = _RUN.set(self.current)
        try:
            yield
        finally:
            _RUN.reset(token)

    def begin(self, cell: Cell) -> None:
        """Begin a run of a cell."""
        self._serial += 1
        self._now = Run(cell, self._serial)

    def end(self) -> None:
        """End the run; requests that come before the next one belong to no cell."""
        self._now = self._outside

    def add(self, run: Run, model: Model, used: Sums) -> None:
        """Count a request of a run, which may have ended."""
        with self._lock:
            self._total.add(model, used)
            known = self._runs.get(run.cell.key)
            if known is not None and known.serial > run.serial:
                return  # the cell has been run again meanwhile
            if known is not run:
                run.times = known.times + 1 if known else 1
                self._runs[run.cell.key] = run
                if len(self._runs) > MOST_CELLS:
                    self._runs.popitem(last=False)
            run.add(model, used)

    def runs(self) -> list[Run]:
        """Return the last run of each cell that has made requests, by execution number; first what belongs to none."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: run.cell.number)

    @property
    def total(self) -> dict[Model, Sums]:
        """Return what all runs have used, also those of cells that were run again."""
        with self._lock:
            return dict(self._total.models)


LEDGER = Ledger()
"""Of this process."""


class Counting:
    """Counts one request in a ledger when its block ends, however it ends."""

    def __init__(self, ledger: Ledger, alias: str, request: Request) -> None:
        self._ledger, self._run, self._alias = ledger, ledger.current, alias
        self._count, self._pace = TokenCount(request), Pace()
        self._journal = self._complete = False
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def add(self, item: Any) -> None:
        """Take an item of the response."""
        kind = type(item)
        if kind is FromJournal:
            self._journal = True
        elif kind is Complete:
            self._complete = True
        elif kind not in BEFORE:
            self._count.add(item)
            if self._pace.first is None and kind is not Dispatched:  # then it is known
                self._pace.add(item, time.monotonic() - self._started)

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        by_caller = kind is not None and issubclass(kind, ENDED_BY_CALLER)
        stopped = by_caller and not self._complete
        failed = kind is not None and not by_caller
        if failed:
            self._count.failed()
        elif not stopped:
            self._count.completed()
        usage = self._count.usage if self._journal else self._count.counted
        used = Sums(requests=1, failed=failed, interrupted=stopped, journal=self._journal)
        if usage is not None:
            self._use(used, usage)
        if (first := self._pace.first) is not None and not self._journal:
            used.first_seconds, used.timed = first, 1
        self._ledger.add(self._run, (self._alias, usage.currency if usage else ""), used)

    def _use(self, used: Sums, usage: Usage) -> None:
        if self._journal:
            used.saved = usage.cost or 0.0
            return
        used.prompt_tokens, used.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        used.cost, used.unknown = usage.cost or 0.0, int(usage.cost is None)
