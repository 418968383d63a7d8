"""The one retry loop, and batches that run side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.backends.http import batches, retry


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY_SECONDS", 0.001)


class Source:
    """Fails as often as it is told, then gives two items."""

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


async def test_what_may_pass_is_tried_again() -> None:
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
async def test_what_no_try_changes_is_not(error: errors.ByzerError) -> None:
    source = Source(error)
    with pytest.raises(type(error)):
        [item async for item in retry.retried(source.items, 5)]
    assert source.calls == 1


async def test_tries_are_counted() -> None:
    source = Source(*(errors.ProviderUnavailable("a") for _ in range(9)))
    with pytest.raises(errors.ProviderUnavailable):
        [item async for item in retry.retried(source.items, 3)]
    assert source.calls == 4


async def test_nothing_that_has_begun_is_asked_again() -> None:
    source = Source(errors.ProviderUnavailable("a"), after=1)
    seen: list[int] = []
    with pytest.raises(errors.ProviderUnavailable):
        async for item in retry.retried(source.items, 5):
            seen.append(item)  # noqa: PERF401 - what came before the error counts
    assert (seen, source.calls) == ([0], 1)


async def test_a_cancel_ends_the_wait() -> None:
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
def test_waits_grow_and_are_bounded(attempt: int, jitter: float) -> None:
    wait = retry.retry_delay(attempt, errors.ProviderUnavailable("a"), jitter)
    assert wait is not None
    longest = min(retry.MAX_DELAY_SECONDS, retry.FIRST_DELAY_SECONDS * 2**attempt)
    assert 0.75 * longest <= wait <= longest
    assert retry.retry_delay(attempt, errors.RateLimited("a", retry_after=3.0), jitter) == 3.0


async def test_batches_run_together_and_come_in_order() -> None:
    running, most = 0, 0

    async def work(start: int, items: Sequence[int]) -> list[int]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02 if start == 0 else 0.001)
        running -= 1
        return [start, *items]

    found = [batch async for batch in batches.in_order(list(range(25)), 3, work)]
    assert [batch[0] for batch in found] == list(range(0, 25, 3))
    assert [item for batch in found for item in batch[1:]] == list(range(25))
    assert most == batches.AT_ONCE


async def test_a_failure_ends_the_other_batches() -> None:
    cancelled = 0

    async def work(start: int, _: Sequence[int]) -> None:
        nonlocal cancelled
        if start == 0:
            await asyncio.sleep(0.01)
            raise errors.BadRequest("no")
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    with pytest.raises(errors.BadRequest):
        [item async for item in batches.in_order(list(range(10)), 1, work)]
    assert cancelled == batches.AT_ONCE - 1


@pytest.mark.parametrize("seconds", [0.0, 3.25, 120.0])
async def test_the_wait_is_what_the_provider_asks_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    async def noted(wait: float) -> None:
        waits.append(wait)

    monkeypatch.setattr(asyncio, "sleep", noted)
    source = Source(errors.RateLimited("a", retry_after=seconds), errors.ProviderUnavailable("a", retry_after=seconds))
    assert [item async for item in retry.retried(source.items, 5)] == [0, 1]
    assert waits == [seconds, seconds]


async def test_no_tries_are_none() -> None:
    source = Source(errors.RateLimited("a"))
    with pytest.raises(errors.RateLimited):
        [item async for item in retry.retried(source.items, 0)]
    assert source.calls == 1


async def test_errors_of_others_pass_at_once() -> None:
    calls = 0

    async def items() -> AsyncIterator[int]:
        nonlocal calls
        calls += 1
        raise ValueError("a fault in the program")
        yield 0

    with pytest.raises(ValueError, match="fault"):
        [item async for item in retry.retried(items, 5)]
    assert calls == 1


async def test_closing_closes_what_was_started() -> None:
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


async def test_a_try_is_closed_before_the_next_begins() -> None:
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


def test_a_very_late_try_has_a_wait_too() -> None:
    assert retry.retry_delay(5000, errors.ProviderUnavailable("a"), 1.0) == retry.MAX_DELAY_SECONDS
