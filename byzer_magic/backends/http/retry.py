"""The one retry loop: a request that failed before anything of its answer came is asked again, a few times.

Backends raise what happened and retry nothing; SDKs are told to do the same.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

from byzer_magic import errors

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.5
"""The wait before the second try; each further one is twice as long."""
MAX_DELAY_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 120.0
"""A provider that asks to wait longer than this is believed, and not asked again."""


def retry_delay(attempt: int, err: errors.ByzerError, jitter: float) -> float | None:
    """Return the seconds to wait after `attempt` (0 is the first) failed with `err`; None: it is not worth a try.

    `jitter` is 0..1: it spreads the tries of many clients, unless the provider has said when to come back.
    """
    if not isinstance(err, errors.RateLimited | errors.ProviderUnavailable) or err.details.get("final"):
        return None
    asked: float | None = err.details.get("retry_after")
    if asked is not None:
        return asked if asked <= MAX_RETRY_AFTER_SECONDS else None
    longest: float = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 32))
    return longest * (0.75 + jitter / 4)


async def retried(start: Callable[[], AsyncIterator[T]], tries: int) -> AsyncGenerator[T, None]:
    """Yield what `start()` yields; start again up to `tries` times while it fails before its first item.

    Raises:
        ByzerError: the last try failed, or something that no try will change.
    """
    for attempt in itertools.count():
        begun = False
        try:
            async with aclosing(start()) as items:  # type: ignore[type-var]  # async generators all
                async for item in items:
                    begun = True
                    yield item
                return
        except errors.ByzerError as err:
            wait = retry_delay(attempt, err, random.random())  # noqa: S311 - no secret hangs on it
            if begun or attempt >= tries or wait is None:
                raise
        await asyncio.sleep(wait)
