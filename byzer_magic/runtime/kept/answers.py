"""Answers that outlive the clients that asked for them: their items so far, within bounds. Time is an argument."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from byzer_magic import errors, request_ids
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.runtime.transport.messages import KeepRequest, KeptAnswer

ITEM_BYTES = 64
"""What an item counts in addition to its bytes: roughly its own size in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much is kept; what has ended longest ago goes first."""

    answer_bytes: int = 32 * 1024 * 1024
    """Of one answer, with its request."""
    total_bytes: int = 128 * 1024 * 1024
    answers: int = 100
    seconds: float = 24 * 3600.0
    """After their end."""
    dropped: int = 20
    """Answers of which it is remembered why they are gone."""


@dataclass(eq=False)
class Record:
    """One answer."""

    about: KeepRequest
    capability: str
    words: str
    """How its prompt begins."""
    request: bytes
    """As msgpack, without large media."""
    started: float
    items: list[tuple[float, Any]] = field(default_factory=list)
    """Seconds since the start, and the encoded item."""
    size: int = 0
    ended: float | None = None
    error: dict[str, Any] | None = None
    """What ended it, as `errors.to_wire` encodes it."""
    dropped: Text | None = None
    """Why it is no longer kept."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at the next item, or at the end; then there is a new one."""

    @property
    def state(self) -> str:
        """Return how it is: running, done, failed, cancelled or dropped."""
        if self.dropped:
            return "dropped"
        if self.ended is None:
            return "running"
        if self.error is None:
            return "done"
        return "cancelled" if self.error.get("code") == errors.Cancelled.__name__ else "failed"

    def shown(self, now: float, *, complete: bool = False) -> KeptAnswer:
        """Return what clients see of it.

        Args:
            now: the time, in seconds.
            complete: with its request.
        """
        return KeptAnswer(
            id=self.about.id,
            capability=self.capability,
            state=self.state,
            words=self.words,
            age=now - self.started,
            size=self.size,
            folder=self.about.folder,
            session=self.about.session,
            error=self.dropped or (errors.from_wire(self.error).message if self.error else ""),
            request=self.request if complete else b"",
        )

    def wake(self) -> None:
        """Let those that follow it look again."""
        self.changed.set()
        self.changed = asyncio.Event()


class Answers:
    """The answers of one pool, oldest first.

    Args:
        bounds: how much is kept.
    """

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._records: OrderedDict[str, Record] = OrderedDict()
        self.size = 0
        """Bytes of all."""

    def begin(self, about: KeepRequest, capability: str, words: str, request: bytes, now: float) -> Record:
        """Return the record of an answer that begins.

        Args:
            about: what its client says about it.
            capability: what was asked for.
            words: how the prompt begins.
            request: the request, encoded.
            now: the time, in seconds.

        Raises:
            Overloaded: as many as are kept are still running.
        """
        if about.id in self._records:  # the client could not tell the two apart
            raise errors.CommandError(_("There is an answer {id} already.", id=request_ids.short(about.id)))
        self.expire(now)
        kept = [record for record in self._records.values() if not record.dropped]
        if len(kept) >= self._bounds.answers and not self._drop_oldest():
            raise errors.Overloaded(
                _("As many answers are running in the background as are kept ({count}).", count=len(kept)),
                _("End one with attach ID --cancel (`answers` lists them), or ask without --background."),
            )
        record = Record(about, capability, words, request, now)
        self._count(record, len(request))
        self._records[about.id] = record
        return record

    def add(self, record: Record, item: Any, now: float) -> None:
        """Keep an encoded item.

        Raises:
            RequestError: there is no room for it.
        """
        self._count(record, len(item) + ITEM_BYTES)
        record.items.append((now - record.started, item))
        record.wake()

    def _count(self, record: Record, size: int) -> None:
        bounds = self._bounds
        while self.size + size > bounds.total_bytes and self._drop_oldest():
            pass
        if record.size + size > bounds.answer_bytes or self.size + size > bounds.total_bytes:
            most = min(bounds.answer_bytes, bounds.total_bytes)
            raise errors.RequestError(
                _("The answer is larger than what the deployment keeps ({size:.0f} MB).", size=most / 1e6),
                _("Ask without --background."),
            )
        record.size += size
        self.size += size

    def end(self, record: Record, error: errors.ByzerError | None, now: float) -> None:
        """Note that an answer is complete, or what ended it."""
        record.ended, record.error = now, errors.to_wire(error) if error else None
        record.wake()

    def expire(self, now: float) -> None:
        """Drop what has ended too long ago."""
        for record in self._ended():
            if record.ended is None or now - record.ended <= self._bounds.seconds:
                return
            self._drop(record, _("it ended more than {hours:.0f} h ago", hours=self._bounds.seconds / 3600))

    def _ended(self) -> list[Record]:
        """Return the answers that have ended and are kept, in the order of their ends."""
        found = [record for record in self._records.values() if record.ended is not None and not record.dropped]
        return sorted(found, key=lambda record: record.ended or 0.0)

    def _drop_oldest(self) -> bool:
        found = self._ended()
        if found:
            self._drop(found[0], _("later ones took its place"))
        return bool(found)

    def _drop(self, record: Record, why: Text) -> None:
        self.size -= record.size
        record.size = 0
        record.dropped = why
        record.items, record.request = [], b""
        gone = [known for known in self._records.values() if known.dropped]
        for known in gone[: max(0, len(gone) - self._bounds.dropped)]:
            del self._records[known.about.id]

    def find(self, identity: str) -> Record:
        """Return an answer that is kept.

        Raises:
            RequestError: it is no longer kept; the message has the reason.
            CommandError: there never was one, or that is no longer known.
        """
        record = self._records.get(identity)
        if record is None:
            raise errors.CommandError(
                _("There is no answer {id}.", id=request_ids.short(identity)), _("`answers` lists those that are kept.")
            )
        if record.dropped:
            raise errors.RequestError(
                _("The answer {id} is no longer kept: {why}.", id=request_ids.short(identity), why=record.dropped),
                _("Ask again."),
            )
        return record

    def all(self) -> list[Record]:
        """Return all answers, oldest first, with those that were dropped lately."""
        return list(self._records.values())


async def follow(record: Record, position: int = 0) -> AsyncIterator[tuple[float, Any]]:
    """Yield the items of an answer: those that are there, then each as it comes.

    Args:
        record: the answer.
        position: how many items to leave out.

    Raises:
        ByzerError: what ended the answer.
    """
    items = record.items  # those of an answer that is dropped meanwhile, too
    while True:
        changed = record.changed
        while position < len(items):
            yield items[position]
            position += 1
        if record.ended is not None and position >= len(items):
            break
        await changed.wait()
    if record.error is not None:
        raise errors.from_wire(record.error)
