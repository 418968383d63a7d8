"""When something that fails is left out, and when it is tried again: a deployment of a route, a worker, a key.

Pure: times are arguments, in seconds of any monotonic clock.
"""

from __future__ import annotations

from byzer_magic import errors

FAILURES = 3
"""Failures in a row after which it is left out for a while."""
FIRST_PAUSE_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 300.0
"""How long it is left out: twice as long each time that the request which tries it again fails, too."""
FIRST_REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 60.0
"""How long it rests for a limit that does not say until when: twice as long each time, until a request works."""

OF_THE_REQUEST = (
    errors.BadRequest, errors.Unsupported, errors.CommandError, errors.Cancelled,
)  # fmt: skip
"""Errors that say nothing about who was asked: whoever gets that request answers so."""


def is_fault(error: errors.ByzerError) -> bool:
    """Return whether an error is one of whoever was asked, and not of the request.

    Example:
        >>> is_fault(errors.WorkerLost("the worker died")), is_fault(errors.ContextTooLong("too long"))
        (True, False)
    """
    return not isinstance(error, OF_THE_REQUEST)


class Breaker:
    """Leaves out what fails, and lets one request try it again after a while.

    Example:
        >>> breaker = Breaker()
        >>> for _ in range(FAILURES):
        ...     breaker.failed(now=0.0)
        >>> breaker.lets_in(now=1.0), breaker.lets_in(now=11.0), breaker.lets_in(now=11.0)
        (False, True, False)
    """

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self._until = 0.0
        self._rests_until = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._rest = FIRST_REST_SECONDS
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Return whether it leaves everything out, but for a try."""
        return self.failures >= FAILURES

    @property
    def is_trying(self) -> bool:
        """Return whether a request tries it now."""
        return self._trying

    def pause(self, now: float) -> float:
        """Return the seconds until it lets a request in."""
        return max(0.0, self._rests_until - now, self._until - now if self.is_open else 0.0)

    def lets_in(self, now: float) -> bool:
        """Return whether a request may go there now; one that may is to end in `worked`, `failed` or `cancelled`."""
        if now < self._rests_until:
            return False
        if not self.is_open:
            return True
        if self._trying or now < self._until:
            return False
        self._trying = True
        return True

    def worked(self) -> None:
        """Note that a request was answered; one that was sent before a limit does not end it."""
        self.failures, self._pause, self._rest, self._trying = 0, FIRST_PAUSE_SECONDS, FIRST_REST_SECONDS, False

    def failed(self, now: float, *, at_once: bool = False) -> None:
        """Note that a request failed.

        Args:
            now: the time.
            at_once: whether one failure is enough: another request would fail, too.
        """
        self.failures = max(self.failures + 1, FAILURES if at_once else 0)
        if self.is_open:
            self._until = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
        self._trying = False

    def rests(self, now: float, seconds: float | None) -> None:
        """Note a limit that passes by itself: all may go there again once it has.

        Args:
            now: the time.
            seconds: how long it lasts; None where that is not known.
        """
        if seconds is None:
            seconds = self._rest
            self._rest = min(2 * self._rest, LONGEST_REST_SECONDS)
        self._rests_until = max(self._rests_until, now + seconds)
        self._trying = False

    def cancelled(self) -> None:
        """Note that a request ended before anything was known."""
        self._trying = False
