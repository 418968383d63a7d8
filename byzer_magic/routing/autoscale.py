"""How many workers a deployment is to have: more while requests wait, fewer when they were not needed for a while.

Pure: times and counters are arguments. Nothing flaps, because the two directions differ: growing takes requests that
have waited for seconds, shrinking a whole idle time in which fewer workers would have done, and then as many stay as
the busiest moment of that time needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GROW_SECONDS = 5.0
"""How long requests must have been waiting before workers are added."""
IDLE_SECONDS = 300.0
"""After how long without need a worker is removed, where the deployment does not say it."""
FIRST_PAUSE_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 300.0
"""The pause after workers could not be added: it doubles each time."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Between which numbers of workers a deployment scales by itself.

    Args:
        low: the fewest; 0 where it may sleep.
        high: the most.
        idle: seconds after which workers that are not needed go; 0 for never.
        auto: whether it scales at all.
    """

    low: int
    high: int
    idle: float
    auto: bool

    @classmethod
    def of(cls, workers: int, fewest: int | None, most: int | None, idle: float | None) -> Scaling:
        """Return the scaling of a deployment's options.

        Args:
            workers: the number of workers to begin with.
            fewest: as given, None where it is not.
            most: likewise.
            idle: seconds, likewise.

        Example:
            >>> Scaling.of(1, 0, 4, None)
            Scaling(low=0, high=4, idle=300.0, auto=True)
            >>> Scaling.of(2, None, None, 600.0)
            Scaling(low=0, high=2, idle=600.0, auto=False)
        """
        if fewest is None and most is None:
            return cls(0 if idle else workers, workers, idle or 0.0, auto=False)
        low = fewest if fewest is not None else 0 if idle else 1
        return cls(low, max(workers, low) if most is None else most, IDLE_SECONDS if idle is None else idle, auto=True)

    @property
    def base(self) -> int:
        """Return how many workers there are at least while it is awake."""
        return max(1, self.low)

    @property
    def sleeps_after(self) -> float:
        """Return the seconds without a request after which it may sleep; 0 for never."""
        return 0.0 if self.low else self.idle

    def within(self, workers: int) -> int:
        """Return the nearest number of workers that is allowed.

        Example:
            >>> [Scaling(0, 4, 60.0, True).within(number) for number in (0, 3, 9)]
            [1, 3, 4]
        """
        return min(max(workers, self.base), max(self.high, self.base))


class Scaler:
    """Decides how many workers a deployment is to have, from what it is told every second or so.

    Args:
        now: seconds of any clock that only goes forward.

    Example:
        >>> scaler = Scaler(now=0.0)
        >>> limits = Scaling(low=1, high=4, idle=60.0, auto=True)
        >>> [scaler.wanted(float(now), limits, 1, 2, running=2, queued=3) for now in range(7)]
        [1, 1, 1, 1, 1, 2, 2]
    """

    def __init__(self, now: float) -> None:
        self._waiting_since: float | None = None
        """Since when requests have been waiting at each look."""
        self._spare_since = now
        """Since when fewer workers would have done."""
        self._peak = 0
        """How many the busiest moment since then needed."""
        self._stay = 0.0
        """Seconds that the last load took: as long it is of use at least."""
        self._pause = FIRST_PAUSE_SECONDS
        self._blocked_until = -math.inf

    def wanted(self, now: float, limits: Scaling, workers: int, slots: int, *, running: int, queued: int) -> int:
        """Return the number of workers to have now.

        Args:
            now: the time.
            limits: of the deployment.
            workers: how many it has.
            slots: requests that one worker runs at once.
            running: requests that run.
            queued: requests that wait.
        """
        if workers != (allowed := limits.within(workers)):
            return allowed if allowed < workers or now >= self._blocked_until else workers
        if not queued:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = now
        needed = max(limits.base, math.ceil((running + queued) / slots))
        if queued or needed >= workers:
            self._spare_since, self._peak = now, 0
        else:
            self._peak = max(self._peak, needed)
        if self._must_grow(now):
            return min(limits.high, workers + min(workers, math.ceil(queued / slots)))
        if limits.idle and self._peak and now - self._spare_since >= max(limits.idle, self._stay):
            return self._peak
        return workers

    def _must_grow(self, now: float) -> bool:
        since = self._waiting_since
        return since is not None and now - since >= GROW_SECONDS and now >= self._blocked_until

    def changed(self, now: float, took: float = 0.0) -> None:
        """Take note that the number of workers has changed.

        Args:
            now: the time.
            took: seconds until new workers were up.
        """
        self._waiting_since, self._spare_since, self._peak = None, now, 0
        self._stay = took
        self._pause, self._blocked_until = FIRST_PAUSE_SECONDS, -math.inf

    def failed(self, now: float) -> float:
        """Take note that workers could not be added; return the seconds until the next attempt."""
        pause = self._pause
        self._blocked_until = now + pause
        self._pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return pause
