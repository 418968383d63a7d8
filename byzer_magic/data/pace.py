"""How many requests may be in flight: fewer at once after a refusal, one more at a time while all goes well (AIMD).

Pure: times are arguments, in seconds of any clock that does not jump. What a provider or a deployment refuses for the
moment (429, a full queue, its limit of requests a minute) is not an answer: the row is asked again when there is room.
"""

from __future__ import annotations

SLOWER = 0.5
"""What is left of the requests in flight after a refusal."""
FIRST_PAUSE_SECONDS = 1.0
"""The pause after a refusal that does not say how long it lasts; it doubles with each that follows."""
LONGEST_PAUSE_SECONDS = 60.0
PATIENCE_SECONDS = 900.0
"""When nothing has been taken for so long, going on is of no use."""


class Pace:
    """The requests that may be in flight.

    Args:
        most: so many at any time, and at the beginning.

    Example:
        >>> pace = Pace(8)
        >>> sent = pace.begin(now=0.0)
        >>> pace.refused(sent, now=0.1, retry_after=2.0)
        >>> pace.limit, pace.wait(now=0.1), pace.wait(now=2.1)
        (4.0, 2.0, 0.0)
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(most)
        self.in_flight = 0
        self.refusals = 0
        """Refusals so far."""
        self._until = 0.0
        self._slowed = float("-inf")
        """When it became slower last: what was sent before says nothing new."""
        self._in_a_row = 0
        self._refused_since: float | None = None

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent, as far as time decides it."""
        return max(0.0, self._until - now)

    def has_room(self, now: float) -> bool:
        """Return whether a request may be sent now."""
        return self.in_flight < max(1, int(self.limit)) and now >= self._until

    def begin(self, now: float) -> float:
        """Note that a request is sent; return the time for `refused`."""
        self.in_flight += 1
        return now

    def ended(self) -> None:
        """Note that a request has been answered, with a result or with an error of its own."""
        self.in_flight -= 1
        self._in_a_row = 0
        self._refused_since = None
        if self.limit < self.most:
            self.limit = min(self.most, self.limit + 1 / self.limit)

    def dropped(self) -> None:
        """Note that a request has ended in a way that says nothing."""
        self.in_flight -= 1

    def refused(self, sent: float, now: float, retry_after: float | None = None) -> None:
        """Note that there was no room for a request.

        Args:
            sent: when it was sent.
            now: the time.
            retry_after: seconds to wait, where the provider says so.
        """
        self.in_flight -= 1
        self.refusals += 1
        self._refused_since = now if self._refused_since is None else self._refused_since
        if retry_after is not None:
            self._until = max(self._until, now + retry_after)
        if sent <= self._slowed:  # one of those that were in flight when it became slower
            return
        self._slowed = now
        self.limit = max(1.0, self.limit * SLOWER)
        self._in_a_row += 1
        if retry_after is None:
            pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (self._in_a_row - 1))
            self._until = max(self._until, now + pause)

    def is_hopeless(self, now: float) -> bool:
        """Return whether nothing but refusals has come for too long, or will: some last until tomorrow."""
        if self.wait(now) > PATIENCE_SECONDS:
            return True
        return self._refused_since is not None and now - self._refused_since > PATIENCE_SECONDS
