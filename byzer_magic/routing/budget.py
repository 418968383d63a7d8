"""A budget of a deployment: what may be spent in all, or on one day, with what requests in flight may still cost.

Pure: times are arguments, in seconds of Unix time. Days are those of UTC, so that neither daylight saving time nor a
node in another time zone makes one longer.
"""

from __future__ import annotations

import msgspec

DAY_SECONDS = 86_400
PERIODS = ("deployment", "day")
"""What a budget is for; the first one is the default."""
DAYS = 40
"""Days that are remembered: a clock that is set back gives no second budget of one of these."""
_ROUNDING = 1e-9


class Spent(msgspec.Struct, frozen=True):
    """What a deployment has spent."""

    total: float = 0.0
    days: dict[int, float] = {}
    """By day, counted from 1970."""

    def plus(self, cost: float, now: float) -> Spent:
        """Return it with more, spent now.

        Example:
            >>> Spent().plus(1.5, now=86_400.0).plus(0.5, now=2 * 86_400.0)
            Spent(total=2.0, days={1: 1.5, 2: 0.5})
        """
        today = int(now // DAY_SECONDS)
        days = {day: self.days[day] for day in sorted({*self.days} - {today})[-DAYS:]}
        return Spent(self.total + cost, days | {today: self.days.get(today, 0.0) + cost})


class Budget:
    """What may be spent.

    Several requests at once must all fit in with what they may cost. One alone needs room for its prompt only: how long
    its answer will be is not known. What is running may finish, so the last requests may cost more than was left.

    Args:
        limit: what may be spent; 0 is no limit.
        per: one of `PERIODS`.
        spent: what has been spent before.

    Example:
        >>> budget = Budget(1.0)
        >>> budget.reserve(0.6)
        >>> budget.must_wait(0.1, 0.4, now=0.0)
        True
        >>> budget.settle(0.6, 0.2, now=1.0)
        >>> budget.must_wait(0.1, 0.4, now=1.0), budget.spent(now=1.0)
        (False, 0.2)
    """

    def __init__(self, limit: float, per: str = PERIODS[0], spent: Spent | None = None) -> None:
        self.limit = limit
        self.per = per
        self._spent = spent or Spent()
        self._reserved = 0.0
        self._running = 0

    def spent(self, now: float) -> float:
        """Return what has been spent of it."""
        today = self._spent.days.get(int(now // DAY_SECONDS), 0.0)
        return today if self.per == "day" else self._spent.total

    def can_afford(self, prompt: float, now: float) -> bool:
        """Return whether a request may run, at the latest when those in flight have ended.

        Args:
            prompt: what its prompt costs, roughly.
            now: the time.
        """
        left = self.limit - self.spent(now)
        return not self.limit or (left > _ROUNDING and prompt <= left + _ROUNDING)

    def must_wait(self, prompt: float, answer: float, now: float) -> bool:
        """Return whether a request must wait until others have ended, and it is known what they cost.

        Args:
            prompt: what its prompt costs, roughly.
            answer: what its answer may cost.
            now: the time.
        """
        needed = prompt + answer + self._reserved if self._running else prompt
        return bool(self.limit) and self.spent(now) + needed > self.limit + _ROUNDING

    def free_in(self, now: float) -> float | None:
        """Return the seconds until it is renewed; None where it is not."""
        return DAY_SECONDS - now % DAY_SECONDS if self.per == "day" else None

    def reserve(self, cost: float) -> None:
        """Reserve what a request may cost."""
        self._running += 1
        self._reserved += cost

    def settle(self, reserved: float, cost: float, now: float) -> None:
        """Count what a request has cost in place of what was reserved for it."""
        self._running -= 1
        self._reserved = self._reserved - reserved if self._running else 0.0
        if cost:
            self._spent = self._spent.plus(cost, now)

    def to_keep(self, now: float) -> Spent:
        """Return what is to be kept in case that the process dies: requests in flight as they may cost."""
        return self._spent.plus(self._reserved, now) if self._reserved else self._spent
