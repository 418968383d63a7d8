"""Limits per minute: sliding windows, so that no minute has more than the limit, wherever it begins.

A bucket that fills up evenly would let twice as much through in a minute that begins with a full one, more than a
provider with the same limit takes. Pure: times are arguments, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

MINUTE = 60.0
SPAN = MINUTE + 0.5
"""Seconds of a minute: requests do not all take equally long to the provider, which counts them there."""
_ROUNDING = 1e-6
"""Units that sums of fractions may be off."""


@dataclass(slots=True, eq=False)
class Taken:
    """Units that were taken at one moment."""

    at: float
    units: float
    is_past: bool = False
    """Whether it counts no longer."""


class Window:
    """So many units in any minute.

    Args:
        limit: units a minute; 0 is no limit.
        span: seconds that a minute is taken to have; a little more where what is counted arrives elsewhere later.

    Example:
        >>> window = Window(2)
        >>> for now in (0.0, 20.0):
        ...     _ = window.take(1, now)
        >>> window.wait(now=30.0, units=1), window.wait(now=60.0, units=1)
        (30.0, 0.0)
    """

    def __init__(self, limit: int, span: float = MINUTE) -> None:
        self.limit = limit
        self._span = span
        self._taken: deque[Taken] = deque()
        self._sum = 0.0

    def wait(self, now: float, units: float) -> float:
        """Return the seconds until so many units can be taken; 0 where they can now.

        More than the limit can be taken when nothing was for a minute: a large request is delayed, not refused for
        ever.
        """
        self._forget(now)
        missing = self._sum + min(units, self.limit) - self.limit
        if not self.limit or missing <= _ROUNDING:
            return 0.0
        for item in self._taken:
            missing -= item.units
            if missing <= _ROUNDING:
                return item.at + self._span - now
        return 0.0  # what was taken has been given back meanwhile

    def wait_behind(self, now: float, others: int) -> float:
        """Return the seconds until one unit can be taken after so many others, who take one each as soon as they can.

        Example:
            >>> window = Window(2)
            >>> [window.wait_behind(now=0.0, others=count) for count in range(5)]
            [0.0, 0.0, 60.0, 60.0, 120.0]
        """
        if not self.limit:
            return 0.0
        self._forget(now)
        times = [item.at for item in self._taken for _unit in range(round(item.units))]
        rounds, place = divmod(others, self.limit)  # each minute, as many more of them as the limit
        before = place + len(times) - self.limit
        return rounds * self._span + (times[before] + self._span - now if before >= 0 else 0.0)

    def take(self, units: float, now: float) -> Taken:
        """Take units, as many as may be; return what `change` corrects once it is known better."""
        taken = Taken(now, units, is_past=not self.limit)
        if self.limit:
            self._taken.append(taken)
            self._sum += units
        return taken

    def change(self, taken: Taken, units: float, now: float) -> None:
        """Correct how many units were taken: fewer from the beginning, or more from now on."""
        more = units - taken.units
        if more > 0:
            self.take(more, now)
        elif not taken.is_past:
            taken.units = units
            self._sum += more

    def used(self, now: float) -> float:
        """Return the units that were taken in the last minute."""
        self._forget(now)
        return max(0.0, self._sum)

    @property
    def left(self) -> int:
        """Return the units that could be taken at the last call."""
        return max(0, int(self.limit - self._sum + _ROUNDING))

    def _forget(self, now: float) -> None:
        while self._taken and now - self._taken[0].at >= self._span:
            item = self._taken.popleft()
            item.is_past = True
            self._sum -= item.units
        if not self._taken:
            self._sum = 0.0  # free of what rounding has left


class TokenWindow(Window):
    """So many tokens a minute, of requests whose tokens are estimated until they are known.

    Example:
        >>> window = TokenWindow(1000)
        >>> taken = window.reserve(400, now=0.0)
        >>> window.settle(taken, 100, now=1.0)
        >>> window.left
        900
    """

    def __init__(self, limit: int, span: float = MINUTE) -> None:
        super().__init__(limit, span)
        self._running = 0
        """Requests for which tokens are reserved."""

    def wait_for(self, prompt: float, answer: float, now: float, *, answers: int = 1) -> float:
        """Return the seconds until a request may begin.

        Several requests at once must all fit in. One alone needs room for its prompt only: how long its answer will be
        is not known, and few are as long as they may be.

        Args:
            prompt: an estimate of its tokens.
            answer: as many tokens as its answer may have.
            now: the time.
            answers: how many it asks for.
        """
        return self.wait(now, prompt if self._running == 0 else (prompt + answer) * answers)

    def reserve(self, tokens: float, now: float) -> Taken:
        """Take tokens, the limit at most, until it is known how many a request has."""
        self._running += 1
        return self.take(min(tokens, self.limit), now)

    def settle(self, taken: Taken, tokens: float, now: float) -> None:
        """Count the tokens of a request that has ended in place of those that were reserved."""
        self._running -= 1
        self.change(taken, tokens, now)
