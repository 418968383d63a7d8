"""The one retry loop: a request that failed before the first item of its response is sent again, a few times.

Backends raise what happened and retry nothing; SDKs are configured to do the same. Not with tenacity or backoff: they
retry calls, and what is retried here is a stream that must not have begun, and that is closed before the next attempt.
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
"""The delay before the first retry; each further one is twice as long."""
MAX_DELAY_SECONDS = 8.0
MAX_RETRY_AFTER_SECONDS = 120.0
"""When a provider asks to wait longer than this, the request is not sent again."""


def retry_delay(attempt: int, error: errors.ByzerError, jitter: float) -> float | None:
    """Return the seconds to wait before the next attempt; None when another one is of no use.

    Args:
        attempt: the number of the attempt that failed; 0 is the first.
        error: what it failed with.
        jitter: 0..1; spreads the attempts of many clients, unless the provider states when to retry
            (https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/).

    Example:
        >>> retry_delay(2, errors.ProviderUnavailable("server error (500)"), jitter=1.0)
        2.0
        >>> retry_delay(0, errors.RateLimited("rate limit exceeded (429)", retry_after=30.0), jitter=1.0)
        30.0
        >>> retry_delay(0, errors.AuthenticationFailed("invalid API key (401)"), jitter=1.0) is None
        True
    """
    if not isinstance(error, errors.RateLimited | errors.ProviderUnavailable) or error.details.get("final"):
        return None
    requested: float | None = error.details.get("retry_after")
    if requested is not None:
        return requested if requested <= MAX_RETRY_AFTER_SECONDS else None
    delay: float = min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2 ** min(attempt, 32))
    return delay * (0.75 + jitter / 4)


async def retried(start: Callable[[], AsyncIterator[T]], retries: int) -> AsyncGenerator[T, None]:
    """Yield what `start()` yields; start again up to `retries` times while it fails before its first item.

    Raises:
        ByzerError: the last attempt failed, or the error is not one that another attempt could change.

    Example:
        >>> failures = [errors.ProviderUnavailable("server error (503)", retry_after=0.0)]
        >>> async def chat():
        ...     if failures:
        ...         raise failures.pop()
        ...     yield "Hello"
        >>> async def run():
        ...     return [chunk async for chunk in retried(chat, retries=2)]
        >>> asyncio.run(run())
        ['Hello']
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
            delay = retry_delay(attempt, err, random.random())  # noqa: S311 - not for cryptography
            if begun or attempt >= retries or delay is None:
                raise
        await asyncio.sleep(delay)
