"""The requests of the last minutes, as the slot table saw them: when each came, waited how long, and ran how long.

Pure: times are arguments, in seconds of any monotonic clock. A trace can be replayed with other workers (`what_if`),
and the replay's own trace is read in the same way as that of a deployment.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from byzer_magic.routing.capacity import Capacity

SECONDS = 600.0
"""How far back a trace goes."""
MOST = 20_000
"""Requests in a trace, at most: about 4 MB of memory."""
MOST_CHANGES = 500
"""Changes of the number of slots in a trace, at most."""
Outcome: TypeAlias = Literal["done", "failed", "left", "refused", "running", "queued"]
"""`left`: its client went away, or its deadline passed, while it was queued; `refused`: the queue was full."""


class TracedRequest(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request.

    Example:
        >>> request = TracedRequest(at=10.0, waited=2.0, seconds=0.5, worker=1, outcome="done")
        >>> request.began, request.ended
        (12.0, 12.5)
    """

    at: float
    """When it came."""
    waited: float
    """Seconds in the queue, so far if it is there."""
    seconds: float
    """Seconds for which it held a slot, so far if it does."""
    worker: int
    """The worker that ran it; -1 where none did."""
    outcome: Outcome

    @property
    def began(self) -> float:
        """Return when it left the queue."""
        return self.at + self.waited

    @property
    def ended(self) -> float:
        """Return when it ended, or when the trace was read."""
        return self.at + self.waited + self.seconds

    @property
    def ran(self) -> bool:
        """Return whether it has had a slot."""
        return self.worker >= 0


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A change of the number of slots."""

    at: float
    slots: int
    """Slots of the workers that are up, from then on."""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of one deployment that were running, queued or came since `since`."""

    now: float
    """When it was read."""
    since: float
    """All requests that came later are in it."""
    requests: list[TracedRequest]
    """In the order in which they ended; then those that have not."""
    changes: list[Change]
    """The number of slots at `since`, and its changes after that."""
    capacity: Capacity
    """At `now`."""
    is_cut: bool = False
    """Whether there were too many requests to go back as far as a trace does otherwise."""


class _Open(NamedTuple):
    """A request that has not ended."""

    at: float
    began: float
    worker: int


class Tracer:
    """Keeps the trace of a slot table, which calls it.

    Args:
        most: requests to keep.
        seconds: how long they are kept.

    Example:
        >>> tracer = Tracer()
        >>> tracer.came(7, now=1.0); tracer.began(7, worker=0, now=3.0); tracer.ended(7, now=3.5)
        >>> [(request.waited, request.seconds) for request in tracer.requests(now=4.0)]
        [(2.0, 0.5)]
    """

    def __init__(self, most: int = MOST, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._open: dict[int, _Open] = {}
        self._ended: deque[TracedRequest] = deque(maxlen=most)
        self._dropped = -math.inf
        """When the last request ended that there was no room for any longer."""
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)

    def came(self, ticket: int, now: float) -> None:
        """Note a request that runs or waits from now on."""
        self._open[ticket] = _Open(now, now, -1)

    def began(self, ticket: int, worker: int, now: float) -> None:
        """Note that it has a slot."""
        self._open[ticket] = _Open(self._open[ticket].at, now, worker)

    def ended(self, ticket: int, now: float, *, failed: bool = False) -> None:
        """Note that it has ended; one that is not known has left."""
        if (found := self._open.pop(ticket, None)) is not None:
            waited, seconds = found.began - found.at, now - found.began
            self._keep(TracedRequest(found.at, waited, seconds, found.worker, "failed" if failed else "done"))

    def left(self, ticket: int, now: float) -> None:
        """Note that it has gone, from the queue or before it did anything with its slot."""
        if (found := self._open.pop(ticket, None)) is not None:
            self._keep(TracedRequest(found.at, now - found.at, 0.0, -1, "left"))

    def refused(self, now: float) -> None:
        """Note a request that the queue had no room for."""
        self._keep(TracedRequest(now, 0.0, 0.0, -1, "refused"))

    def has_slots(self, slots: int, now: float) -> None:
        """Note the number of slots from now on."""
        if not self._changes or self._changes[-1].slots != slots:
            self._changes.append(Change(now, slots))

    def _keep(self, request: TracedRequest) -> None:
        if len(self._ended) == self._ended.maxlen and self._ended:
            self._dropped = self._ended[0].ended
        self._ended.append(request)

    def since(self, now: float) -> float:
        """Return since when all requests that came are known."""
        return max(now - self._seconds, self._dropped)

    def requests(self, now: float) -> list[TracedRequest]:
        """Return the requests that ended within the time of a trace, then those that run or wait."""
        since = self.since(now)
        found = [request for request in self._ended if request.ended >= since]
        for item in self._open.values():
            running = item.worker >= 0
            waited, seconds = (item.began - item.at, now - item.began) if running else (now - item.at, 0.0)
            found.append(TracedRequest(item.at, waited, seconds, item.worker, "running" if running else "queued"))
        return found

    def changes(self, now: float) -> list[Change]:
        """Return the number of slots at the beginning of the trace, and its changes since then."""
        since = self.since(now)
        before = [change for change in self._changes if change.at <= since][-1:]
        return [*before, *(change for change in self._changes if change.at > since)]

    def read(self, now: float, capacity: Capacity) -> Trace:
        """Return the trace.

        Args:
            now: current time.
            capacity: of the deployment.
        """
        return Trace(
            now=now, since=self.since(now), requests=self.requests(now), changes=self.changes(now), capacity=capacity,
            is_cut=self._dropped > now - self._seconds,
        )  # fmt: skip
