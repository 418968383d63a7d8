"""Keep requests and answers in the project's journal, and answer from it what it knows: around `Manager.ask`.

What is known is decided by the model, the request and the sample (see `byzer_magic.journal.keys`). A request that may
have several answers is counted: the second time that the same cell asks it, its second answer is meant, so that running
the cell again gives the same ones.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec.structs import replace

from byzer_magic import errors
from byzer_magic.capabilities import method_for
from byzer_magic.client.recording import Keeping, Recording, attached_to
from byzer_magic.client.replaying import REPLAY
from byzer_magic.client.scope import SCOPE
from byzer_magic.i18n import gettext as _
from byzer_magic.journal import keys
from byzer_magic.journal.entry import COMPLETE, Entry, Origin, Piece
from byzer_magic.log import get_logger
from byzer_magic.results.pace import Pace
from byzer_magic.types import Dispatched, FromJournal, Request, Routed

if TYPE_CHECKING:
    from byzer_magic.config import Settings
    from byzer_magic.journal.shared import SharedJournal
    from byzer_magic.journal.store import Store
    from byzer_magic.runtime.transport.messages import ModelIdentity

log = get_logger("client.journal")

Send = Callable[[], AsyncIterator[Any]]


class Asking(Protocol):
    """What is needed of a manager."""

    settings: Settings

    async def identity(self, alias: str, since: float | None = None) -> ModelIdentity | None:
        """Return which model an alias is, not before a time of `time.monotonic`; None where its pool cannot say it."""
        ...

    def warn(self, text: str) -> None:
        """Say what is wrong."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How the requests of a task go with the journal."""

    fresh: bool = False
    """Ask also what is known; the new answer is the one that is known then."""
    sample: int | None = None
    """Which answer to a request is meant; by default its n-th time in this cell, from 0."""
    store: SharedJournal | None = None
    """A journal to use even where none is kept otherwise."""
    read: bool = True
    """Whether answers may come from the journal."""
    known: bool = True
    """Whether others may find the answer there."""
    once: bool = False
    """Whether to wait where another process asks the same at this moment, so that it is paid once."""
    later: bool = False
    """Whether an answer may be given before it is committed, where `WRITTEN` can say when it is."""
    origin: Origin | None = None
    """Where requests come from; by default what `SCOPE` has."""


USUAL = How()
HOW: ContextVar[How] = ContextVar("byzer_journal", default=USUAL)
WRITTEN: ContextVar[list[asyncio.Future[int]] | None] = ContextVar("byzer_journal_written", default=None)
"""Takes the answers of a task that are not committed yet: each is done when it is."""


@contextmanager
def giving_later() -> Iterator[list[asyncio.Future[int]]]:
    """Have the answers of this task in a list while they are not committed, instead of waiting for that (`How.later`).

    Example:
        >>> with giving_later() as later:
        ...     len(later)
        0
    """
    found: list[asyncio.Future[int]] = []
    token = WRITTEN.set(found)
    try:
        yield found
    finally:
        WRITTEN.reset(token)


@contextmanager
def using(how: How) -> Iterator[None]:
    """Let the requests of this block, and of tasks that begin in it, go with the journal in another way.

    Example:
        >>> with using(How(fresh=True)):
        ...     HOW.get().fresh
        True
    """
    token = HOW.set(how)
    try:
        yield
    finally:
        HOW.reset(token)


class Journal:
    """Whether this process keeps a journal: as its settings say, until it is turned on or off."""

    def __init__(self) -> None:
        self._on: bool | None = None
        self._project: Path | None = None
        self._known: tuple[int, Store] | None = None
        self._elsewhere: SharedJournal | None = None
        self._warned = False

    def turn(self, *, on: bool | None, project: Path | None = None) -> None:
        """Keep a journal from now on, or none; None: as the settings say.

        Args:
            on: whether to keep one.
            project: the folder of the project; by default that in which the process works.
        """
        self._on, self._project, self._known = on, project, None

    def use(self, store: SharedJournal) -> None:
        """Have the requests of this process in a journal that is on another machine."""
        self._elsewhere = store

    def shared(self, settings: Settings) -> SharedJournal:
        """Return the journal for requests: as `store`, or the one on another machine."""
        return self._elsewhere or self.store(settings)

    def is_on(self, settings: Settings) -> bool:
        """Return whether requests are kept."""
        return settings.journal if self._on is None else self._on

    def store(self, settings: Settings) -> Store:
        """Return the journal of the project in which this process has begun to keep one.

        Raises:
            JournalError: it cannot be opened.
        """
        from byzer_magic.journal.bounds import Bounds
        from byzer_magic.journal.store import project_store

        if self._known is None or self._known[0] != os.getpid():  # no connection survives a fork
            bounds = Bounds(megabytes=settings.journal_mb, days=settings.journal_days)
            self._known = os.getpid(), project_store(bounds, self._project)
        return self._known[1]

    def problem(self, asking: Asking, err: errors.ByzerError) -> None:
        """Say once that the journal cannot be used: no answer is lost for that."""
        log.warning("%s", err)
        if not self._warned:
            self._warned = True
            asking.warn(_("Requests are not in the journal: {error}", error=err.localized()))


JOURNAL = Journal()
"""Of this process."""


def store_for(asking: Asking) -> SharedJournal | None:
    """Return the journal for a request of this task; None where it goes without, as all do where a tape answers."""
    if REPLAY.connection(asking.settings) is not None:
        return None
    if (how := HOW.get()).store is not None:
        return how.store
    if not JOURNAL.is_on(asking.settings):
        return None
    try:
        return JOURNAL.shared(asking.settings)
    except errors.JournalError as err:
        JOURNAL.problem(asking, err)
        return None


async def asked(
    asking: Asking, store: SharedJournal, alias: str, request: Request, request_id: str, send: Send
) -> AsyncIterator[Any]:
    """Yield the response from the journal, where it is known, else as it arrives, and keep it.

    Args:
        asking: the manager.
        store: the journal.
        alias: the deployment.
        request: what is asked.
        request_id: its id.
        send: sends it, and yields what arrives.

    Raises:
        ByzerError: the response is incomplete; what has arrived is in the journal.
    """
    how = HOW.get()
    canonical = keys.canonical(request)
    sample = sample_of(alias, request, canonical)
    identity = await asking.identity(alias)
    key = keys.key_of(identity.digest, canonical, sample) if identity and how.known else ""
    looks = bool(key) and how.read and not how.fresh
    locked = await store.locks.taken([key]) if looks and how.once else []
    try:  # another process may have asked until its lock was free: nothing is looked up before that
        if looks and (known := await _known(asking, store, key)) is not None:
            for item in _items_of(known):
                yield item
            return
        recording = Recording(_entry(alias, request, canonical, sample, request_id, identity, key), request)
        keeping = Keeping(
            recording, store, locked, identity, later=WRITTEN.get() if how.later else None,
            identify=asking.identity, problem=functools.partial(JOURNAL.problem, asking),
        )  # fmt: skip
        locked = []
        async with keeping, aclosing(send()) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                recording.add(item)
                yield item
    finally:
        if locked:
            store.locks.give_back(locked)


def _items_of(known: Entry) -> Iterator[Any]:
    """Yield an answer of the journal as it is shown."""
    yield from_journal(known)
    if (worker := dispatched(known)) is not None:
        yield worker
    for _seconds, item in known.pieces:
        yield item


async def kept(
    asking: Asking,
    store: SharedJournal,
    alias: str,
    request: Request,
    request_id: str,
    at: float,
    items: Sequence[Piece],
) -> None:
    """Put a complete answer into the journal that came without it, with the times at which it came.

    Args:
        asking: the manager.
        store: the journal.
        alias: the deployment.
        request: what was asked.
        request_id: its id.
        at: when it was sent, in seconds since 1970.
        items: what arrived and after how many seconds; the last one may be None, for the end.

    Raises:
        JournalError: it cannot be written.
    """
    canonical, identity = keys.canonical(request), await asking.identity(alias)
    key = keys.key_of(identity.digest, canonical) if identity else ""
    entry = _entry(alias, request, canonical, 0, request_id, identity, key)
    recording = Recording(replace(entry, at=at), request)
    for seconds, item in items:
        recording.add(item, seconds)
    await store.add_here(recording.entry(COMPLETE), attached_to(request))


def _entry(
    alias: str,
    request: Request,
    canonical: bytes,
    sample: int,
    request_id: str,
    identity: ModelIdentity | None,
    key: str,
) -> Entry:
    """Return the entry of a request that is sent now."""
    return Entry(
        key=key, asked=keys.key_of(f"alias {alias}", canonical, sample), sample=sample,
        at=time.time(),  # a date
        alias=alias, provider=identity.kind if identity else "", title=identity.title if identity else "",
        method=method_for(request).value, request=canonical.decode(), prompt=keys.prompt_of(request),
        origin=HOW.get().origin or SCOPE.origin, request_id=request_id,
    )  # fmt: skip


async def is_known(asking: Asking, alias: str, request: Request) -> bool:
    """Return whether the journal has the answer that a request would get now.

    Args:
        asking: the manager.
        alias: the deployment, without an adapter.
        request: what may be asked, with its adapter.
    """
    how, store = HOW.get(), store_for(asking)
    if store is None or how.fresh or not how.read or (identity := await asking.identity(alias)) is None:
        return False
    canonical = keys.canonical(request)
    key = keys.key_of(identity.digest, canonical, sample_of(alias, request, canonical, count=False))
    return await _known(asking, store, key) is not None


def sample_of(alias: str, request: Request, canonical: bytes, *, count: bool = True) -> int:
    """Return which of several answers to a request is meant, and count it."""
    if (sample := HOW.get().sample) is not None:
        return sample
    return 0 if keys.is_repeatable(request) or not HOW.get().read else SCOPE.next_sample(alias, canonical, count=count)


def from_journal(entry: Entry, *, replayed: bool = False) -> FromJournal:
    """Return what comes before the items of an answer that is known, with the times at which they had arrived."""
    pace = Pace()
    for seconds, item in entry.pieces:
        if not isinstance(item, Routed):
            pace.add(item, seconds)
    after = (pace.last, pace.after_first) if pace.first is not None else (None, None)
    return FromJournal(entry.id, entry.at, replayed, entry.total, entry.ttft, *after)


def dispatched(entry: Entry) -> Dispatched | None:
    """Return which worker had made an answer; None where that is unknown."""
    return None if entry.worker is None else Dispatched(entry.worker, entry.queued, entry.request_id)


async def _known(asking: Asking, store: SharedJournal, key: str) -> Entry | None:
    try:
        return (await store.look([key])).get(key)
    except errors.JournalOutOfReach:  # an answer that another machine has would be paid again
        raise
    except errors.JournalError as err:
        JOURNAL.problem(asking, err)
        return None
