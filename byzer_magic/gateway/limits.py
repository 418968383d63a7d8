"""Limits per minute: buckets that fill up evenly, so that there is no moment at which everything is allowed again."""

from __future__ import annotations

MINUTE = 60.0


class Bucket:
    """So many units a minute, all of which may be taken at once; time is an argument, in seconds.

    What is taken may turn out to be more than was asked for: then the bucket is in debt for a while.

    Args:
        limit: units a minute; 0 is no limit.

    Example:
        >>> bucket = Bucket(2)
        >>> bucket.wait(now=0.0, units=1)
        0.0
        >>> bucket.take(2)
        >>> bucket.wait(now=0.0, units=1)
        30.0
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._level = float(limit)
        self._at: float | None = None

    def wait(self, now: float, units: float) -> float:
        """Return the seconds until so many units can be taken; 0 where they can now.

        More than the limit can be taken when the bucket is full: a large request is delayed, not refused for ever.
        """
        if not self.limit:
            return 0.0
        if self._at is not None:
            self._level = min(self.limit, self._level + (now - self._at) * self.limit / MINUTE)
        self._at = now
        missing = min(units, self.limit) - self._level
        return max(0.0, missing * MINUTE / self.limit)

    def take(self, units: float) -> None:
        """Take units; fewer than 0 gives some back."""
        if self.limit:
            self._level = min(self.limit, self._level - units)

    @property
    def left(self) -> int:
        """Return the units that can be taken now."""
        return max(0, int(self._level))
