"""Which of the workers that are up get requests: one that has failed several times in a row is left out for a while.

Pure: times are arguments, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection

from byzer_magic.routing.breaker import Breaker

UP = ("up", "failing", "trying")
"""Healths of a worker that is up, and left out at most for its failures."""


class Outages:
    """The workers of a deployment that are up, and how often each has failed in a row.

    Example:
        >>> outages = Outages()
        >>> for worker in (0, 1):
        ...     outages.reported(worker, "up")
        >>> for _ in range(3):
        ...     _ = outages.ended(0, works=False, now=0.0)
        >>> outages.healths(now=1.0), outages.healths(now=11.0)
        ({0: 'failing', 1: 'up'}, {0: 'trying', 1: 'up'})
    """

    def __init__(self) -> None:
        self._up: set[int] = set()
        self._breakers: dict[int, Breaker] = {}

    def reported(self, worker: int, health: str | None) -> None:
        """Take a worker's own health; None where it is gone. One that was not up begins without failures.

        Args:
            worker: its index.
            health: a value of `table.HEALTHS`.
        """
        if health in UP:
            self._up.add(worker)
        else:
            self._up.discard(worker)
            self._breakers.pop(worker, None)

    def ended(self, worker: int, *, works: bool | None, now: float) -> bool:
        """Note that a request has ended, and return whether that may change a health.

        Args:
            worker: who ran it.
            works: whether that shows that the worker works; None where it shows nothing.
            now: current time.
        """
        if works is None or worker not in self._up or (works and worker not in self._breakers):
            return False
        if works:
            del self._breakers[worker]
        else:
            self._breakers.setdefault(worker, Breaker()).failed(now)
        return True

    def healths(self, now: float, drained: Collection[int] = ()) -> dict[int, str]:
        """Return the healths of the workers that are up; if all have failed, none is left out.

        Args:
            now: current time.
            drained: workers that are to get no requests.
        """
        chosen = [worker for worker in sorted(self._up) if worker not in drained]
        out = {worker: each for worker, each in self._breakers.items() if each.is_open and worker in chosen}
        if len(out) == len(chosen):
            out = {}
        found = dict.fromkeys(sorted(self._up), "drained") | dict.fromkeys(chosen, "up")
        return found | {worker: "failing" if each.pause(now) else "trying" for worker, each in out.items()}
