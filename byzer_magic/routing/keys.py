"""Which of several keys of one provider the next request is sent with.

Requests take turns. A key that is limited rests for as long as the provider says; one that is refused, or whose credit
is used up, is left out and tried again now and then. Pure: times are arguments, in seconds of any monotonic clock.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from byzer_magic import errors
from byzer_magic.i18n import Text
from byzer_magic.routing.breaker import Breaker, is_fault
from byzer_magic.stat import KeyStat

PROXY_STATUS = 407
PAYMENT_STATUS = 402
TRYING_SECONDS = 1.0
"""How long it is assumed to take until it is known whether a key works that is being tried."""


class Says(Enum):
    """What an error says about the key that the request was sent with."""

    LIMITED = "limited"
    """It may be used again in a while."""
    REFUSED = "refused"
    """The provider does not take it, or its credit is used up."""
    FAILED = "failing"
    """The provider failed; several times in a row, this may be due to the key."""
    NOTHING = ""


def said_by(error: errors.ByzerError) -> Says:
    """Return what an error says about the key.

    Example:
        >>> said_by(errors.RateLimited("rate limit exceeded (429)", status=429)).value
        'limited'
    """
    status = error.details.get("status")
    if isinstance(error, errors.RateLimited):
        return Says.REFUSED if error.details.get("final") or status == PAYMENT_STATUS else Says.LIMITED
    if isinstance(error, errors.AuthenticationFailed):
        return Says.NOTHING if status == PROXY_STATUS else Says.REFUSED
    return Says.FAILED if isinstance(error, errors.ProviderError) and is_fault(error) else Says.NOTHING


class _Key:
    def __init__(self) -> None:
        self.breaker = Breaker()
        self.says = Says.NOTHING
        self.why: Text | str = ""
        self.requests = 0
        self.errors = 0

    def is_out(self, now: float) -> bool:
        return self.breaker.is_open or self.breaker.pause(now) > 0

    def rests(self, now: float) -> bool:
        return self.says is Says.LIMITED and self.breaker.pause(now) > 0


class Keys:
    """The keys of a deployment, by their place from 0.

    Args:
        count: how many there are.

    Example:
        >>> keys = Keys(2)
        >>> [keys.next(now=0.0) for _ in range(3)]
        [0, 1, 0]
        >>> keys.failed(0, errors.RateLimited("slow down", retry_after=30.0), now=0.0).value
        'limited'
        >>> [keys.next(now=1.0) for _ in range(2)], keys.pause(now=1.0)
        ([1, 1], 0.0)
    """

    def __init__(self, count: int) -> None:
        self._keys = [_Key() for _ in range(count)]
        self._last = -1

    def next(self, now: float, tried: Collection[int] = ()) -> int | None:
        """Return the key whose turn it is, but for those that a request has tried; None where all others rest.

        When no key is limited, and all have been refused or have failed, their turns go on: the provider may be back.
        """
        order = [(self._last + step) % len(self._keys) for step in range(1, len(self._keys) + 1)]
        order = [place for place in order if place not in tried]
        found = next((place for place in order if self._keys[place].breaker.lets_in(now)), None)
        if found is None and order and not self.is_limited(now):
            found = order[0]
        if found is not None:
            self._last = found
            self._keys[found].requests += 1
        return found

    def is_limited(self, now: float) -> bool:
        """Return whether a key rests for a limit, so that it is worth waiting."""
        return any(key.rests(now) for key in self._keys)

    def pause(self, now: float) -> float:
        """Return the seconds until the first key is there again; 0 while there is one."""
        pauses = (key.breaker.pause(now) for key in self._keys if not key.breaker.is_trying)
        return min(pauses, default=TRYING_SECONDS)

    def worked(self, place: int) -> None:
        """Note that a request with this key is being answered."""
        self._keys[place].breaker.worked()

    def failed(self, place: int, error: errors.ByzerError, now: float) -> Says:
        """Note that a request with this key has failed, and return what that says about the key."""
        key, says = self._keys[place], said_by(error)
        if says is Says.NOTHING:
            key.breaker.cancelled()
            return says
        key.errors += 1
        key.says, key.why = says, error.message
        if says is Says.LIMITED:
            key.breaker.rests(now, error.details.get("retry_after"))
        else:
            key.breaker.failed(now, at_once=says is Says.REFUSED)
        return says

    def cancelled(self, place: int) -> None:
        """Note that a request with this key ended before anything was known."""
        self._keys[place].breaker.cancelled()

    def stats(self, now: float) -> list[KeyStat]:
        """Return the counters of all keys."""
        return [
            KeyStat(
                place=place,
                state=key.says.value if key.is_out(now) else "up",
                seconds=key.breaker.pause(now),
                why=key.why if key.is_out(now) else "",
                requests=key.requests,
                errors=key.errors,
            )
            for place, key in enumerate(self._keys, 1)
        ]
