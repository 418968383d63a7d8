"""What arrives of a response, until it is an entry of the journal."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from byzer_magic import errors
from byzer_magic.client.collect import Complete, collector_for
from byzer_magic.journal import keys
from byzer_magic.journal.entry import COMPLETE, FAILED, INTERRUPTED, Entry, Piece
from byzer_magic.types import Dispatched, Request, Waiting

if TYPE_CHECKING:
    from byzer_magic.journal.shared import SharedJournal
    from byzer_magic.runtime.transport.messages import ModelIdentity


class Recording:
    """What has arrived of one response, with its times."""

    def __init__(self, entry: Entry, request: Request) -> None:
        self.request = request
        self._entry = entry
        self._collector = collector_for(entry.alias, request)
        self._collector.start()
        self._pieces: list[Piece] = []
        self._worker: int | None = None
        self.model = ""
        """The digest of the model that answers, where the pool has said it."""
        self.dispatched: float | None = None
        """When it was heard that the request was dispatched, by `time.monotonic`."""

    @property
    def alias(self) -> str:
        """Return what was asked."""
        return self._entry.alias

    @property
    def complete(self) -> bool:
        """Return whether all of the response has arrived."""
        return self._collector.complete

    @property
    def has_key(self) -> bool:
        """Return whether the answer is to be found again."""
        return bool(self._entry.key)

    def forget_key(self) -> None:
        """Have the answer written, and not found: another model has made it."""
        self._entry = replace(self._entry, key="")

    def add(self, item: Any, seconds: float | None = None) -> None:
        """Take the next item, which comes now, or came so many seconds after the request; None for its end."""
        self._collector.moment = seconds
        if item is None:
            return
        self._collector.add(item)
        kind = type(item)
        if kind is Dispatched:
            self._worker, self.model, self.dispatched = item.worker, item.model, time.monotonic()
        elif kind is not Waiting and kind is not Complete:
            self._pieces.append((round(self._collector.seconds, 4), item))

    def entry(self, status: str, error: errors.ByzerError | None = None) -> Entry:
        """Return the entry of what has arrived."""
        timings = self._collector.timings
        return replace(
            self._entry, pieces=self._pieces, answer=self._collector.text, usage=self._collector.usage,
            ttft=timings.first_token, total=timings.total, queued=timings.queued, worker=self._worker, status=status,
            error=errors.to_wire(error) if error else None,
        )  # fmt: skip


@dataclass(slots=True)
class Keeping:
    """Writes a response down when its block ends, however it ends, and gives locks back when it is written."""

    recording: Recording
    store: SharedJournal
    locked: list[str]
    """The keys whose locks are held."""
    meant: ModelIdentity | None
    """The model that was to answer."""
    later: list[asyncio.Future[int]] | None
    """Takes what is done when the answer is committed, where this block does not wait for it."""
    identify: Callable[[str, float | None], Awaitable[ModelIdentity | None]]
    """Returns which model an alias is, not before a time."""
    problem: Callable[[errors.JournalError], object]
    """Called where it cannot be written."""

    async def __aenter__(self) -> None:
        """Nothing is written before there is a response."""

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        status, is_still = INTERRUPTED, False
        if isinstance(error, errors.ByzerError):
            status = FAILED
        elif error is None or self.recording.complete:
            status = COMPLETE
        try:
            is_still = status == COMPLETE and (not self.recording.has_key or await self._is_still())
        finally:
            if status == COMPLETE and not is_still:
                self.recording.forget_key()
            written = self._write(status, error if isinstance(error, errors.ByzerError) else None)
        if status == COMPLETE:  # who has the answer has it in the journal, too
            if self.later is not None:
                self.later.append(written)
            else:
                await asyncio.wait([written])

    def _write(self, status: str, error: errors.ByzerError | None) -> asyncio.Future[int]:
        entry = self.recording.entry(status, error)
        attached = attached_to(self.recording.request) if keys.HASH in entry.request else []
        written = self.store.add_here(entry, attached, may_wait=self.later is not None)
        # This holds nothing of the response: many wait for a commit, and Python's GC would look at all that they have.
        written.add_done_callback(functools.partial(_written, self.store, self.locked, self.problem))
        return written

    async def _is_still(self) -> bool:
        """Return whether the answer is of the model that was meant: the deployment may have been updated."""
        recording, meant = self.recording, self.meant
        if meant is None:
            return False
        if recording.model and not meant.members:  # a route's members may be updated without it
            return recording.model == meant.digest
        try:
            found = await self.identify(recording.alias, recording.dispatched or time.monotonic())
        except errors.ByzerError:
            return False
        return found is not None and found.digest == meant.digest


def _written(
    store: SharedJournal,
    locked: list[str],
    problem: Callable[[errors.JournalError], object],
    done: asyncio.Future[int],
) -> None:
    """Give locks back, and say why an entry could not be written."""
    if locked:
        store.locks.give_back(locked)
    if not done.cancelled() and isinstance(err := done.exception(), errors.JournalError):
        problem(err)


def attached_to(request: Request) -> list[bytes]:
    """Return the bytes of the media in a request."""
    return [item.data for item in keys.media_of(request) if item.data]
