"""The one retry loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.backends.http import retry
from tests.clock import simulated


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY_SECONDS", 0.001)


class Source:
    """Fails the given number of times, then yields two items."""

    def __init__(self, *failures: errors.ByzerError, after: int = 0) -> None:
        self.failures = list(failures)
        self.after = after
        self.calls = 0

    async def items(self) -> AsyncIterator[int]:
        self.calls += 1
        for number in range(2):
            if self.failures and number == self.after:
                raise self.failures.pop(0)
            yield number


async def test_retried_repeats_temporary_errors() -> None:
    source = Source(errors.RateLimited("a"), errors.ProviderUnavailable("b"))
    assert [item async for item in retry.retried(source.items, 2)] == [0, 1]
    assert source.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        errors.BadRequest("a"),
        errors.AuthenticationFailed("a"),
        errors.ModelNotFound("a"),
        errors.DeadlineExceeded("a"),
        errors.ContextTooLong("a"),
        errors.ContentRefused("a"),
        errors.Unsupported("a"),
        errors.Overloaded("a"),
        errors.WorkerLost("a"),
        errors.ByzerError("a"),
        errors.ProviderUnavailable("gone for good", final=True),
        errors.RateLimited("later", retry_after=120.5),
        errors.StreamTruncated("a"),
        errors.RateLimited("no quota", final=True),
        errors.RateLimited("come back tomorrow", retry_after=5000.0),
    ],
)
async def test_retried_raises_permanent_errors_at_once(error: errors.ByzerError) -> None:
    source = Source(error)
    with pytest.raises(type(error)):
        [item async for item in retry.retried(source.items, 5)]
    assert source.calls == 1


async def test_retried_stops_after_the_last_retry() -> None:
    source = Source(*(errors.ProviderUnavailable("a") for _ in range(9)))
    with pytest.raises(errors.ProviderUnavailable):
        [item async for item in retry.retried(source.items, 3)]
    assert source.calls == 4


async def test_retried_does_not_repeat_after_the_first_item() -> None:
    source = Source(errors.ProviderUnavailable("a"), after=1)
    seen: list[int] = []
    with pytest.raises(errors.ProviderUnavailable):
        async for item in retry.retried(source.items, 5):
            seen.append(item)  # noqa: PERF401 - what came before the error counts
    assert (seen, source.calls) == ([0], 1)


@simulated
async def test_retried_delay_can_be_cancelled() -> None:
    source = Source(errors.RateLimited("a", retry_after=100.0))

    async def read() -> None:
        async with aclosing(retry.retried(source.items, 5)) as items:
            async for _ in items:
                pass

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait([reading], timeout=5)
    assert reading.cancelled()


@given(st.integers(0, 20), st.floats(0, 1))
def test_retry_delay_grows_and_is_bounded(attempt: int, jitter: float) -> None:
    wait = retry.retry_delay(attempt, errors.ProviderUnavailable("a"), jitter)
    assert wait is not None
    longest = min(retry.MAX_DELAY_SECONDS, retry.FIRST_DELAY_SECONDS * 2**attempt)
    assert 0.75 * longest <= wait <= longest
    assert retry.retry_delay(attempt, errors.RateLimited("a", retry_after=3.0), jitter) == 3.0


@pytest.mark.parametrize("seconds", [0.0, 3.25, 120.0])
async def test_retried_waits_as_the_provider_asks(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def noted(wait: float) -> None:
        waits.append(wait)

    monkeypatch.setattr(asyncio, "sleep", noted)
    source = Source(errors.RateLimited("a", retry_after=seconds), errors.ProviderUnavailable("a", retry_after=seconds))
    assert [item async for item in retry.retried(source.items, 5)] == [0, 1]
    assert waits == [seconds, seconds]


async def test_retried_with_zero_retries_raises() -> None:
    source = Source(errors.RateLimited("a"))
    with pytest.raises(errors.RateLimited):
        [item async for item in retry.retried(source.items, 0)]
    assert source.calls == 1


async def test_retried_raises_foreign_errors_at_once() -> None:
    calls = 0

    async def items() -> AsyncIterator[int]:
        nonlocal calls
        calls += 1
        raise ValueError("a fault in the program")
        yield 0

    with pytest.raises(ValueError, match="fault"):
        [item async for item in retry.retried(items, 5)]
    assert calls == 1


async def test_retried_closing_closes_the_source() -> None:
    closed = False

    async def items() -> AsyncIterator[int]:
        nonlocal closed
        try:
            yield 1
            yield 2
        finally:
            closed = True

    async with aclosing(retry.retried(items, 5)) as found:
        assert await anext(found) == 1
    assert closed


async def test_retried_closes_an_attempt_before_the_next() -> None:
    journal: list[str] = []

    async def items() -> AsyncIterator[int]:
        journal.append("open")
        try:
            if len(journal) < 4:
                raise errors.ProviderUnavailable("a")
            yield 1
        finally:
            journal.append("closed")

    assert [item async for item in retry.retried(items, 5)] == [1]
    assert journal == ["open", "closed"] * 3


def test_retry_delay_of_late_attempts_is_bounded() -> None:
    assert retry.retry_delay(5000, errors.ProviderUnavailable("a"), 1.0) == retry.MAX_DELAY_SECONDS
