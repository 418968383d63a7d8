"""What arrives of a response, until it is an entry of the journal."""

from __future__ import annotations

import time
from typing import Any

from msgspec.structs import replace

from byzer_magic import errors
from byzer_magic.client.collect import Complete, collector_for
from byzer_magic.journal.entry import Entry, Piece
from byzer_magic.types import Dispatched, Request, Waiting


class Recording:
    """What has arrived of one response, with its times."""

    def __init__(self, entry: Entry, request: Request) -> None:
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
        if isinstance(item, Dispatched):
            self._worker, self.model, self.dispatched = item.worker, item.model, time.monotonic()
        elif not isinstance(item, Waiting | Complete):
            self._pieces.append((round(self._collector.seconds, 4), item))

    def entry(self, status: str, error: errors.ByzerError | None = None) -> Entry:
        """Return the entry of what has arrived."""
        timings = self._collector.timings
        return replace(
            self._entry, pieces=self._pieces, answer=self._collector.text, usage=self._collector.usage,
            ttft=timings.first_token, total=timings.total, queued=timings.queued, worker=self._worker, status=status,
            error=errors.to_wire(error) if error else None,
        )  # fmt: skip
