"""The loads that benchmarks put on a way to an answer, and what is measured of them; the standard library suffices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

IN_FLIGHT, WAIT_MS = 64, 50
TOKENS, RATE = 100, 50
ROUND_SECONDS = 90.0
"""More than the slowest way takes; a load that hangs ends then."""
MOST_ERRORS = 200


class Way(Protocol):
    """Sends a prompt one way (see provider.py for what prompts say) and yields the answer's texts."""

    def __call__(self, prompt: str, *, stream: bool = False) -> AsyncIterator[str]: ...


@dataclass(frozen=True)
class Load:
    """What a number of requests in flight at all times came to."""

    requests: int
    seconds: float
    p50: float
    """Milliseconds of a request."""
    p99: float
    cpu: float
    """CPU seconds of this process."""
    errors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Streams:
    """What a number of streams at once came to. Delays are ms from the provider's writing of a token to its arrival.

    64 requests that start in the same moment keep any client busy for a while, whatever comes between: p50 and p99
    are of tokens that were sent while all streams ran; `p99_all` is of all.
    """

    tokens: int
    seconds: float
    p50: float
    p99: float
    p99_all: float
    cpu: float
    """CPU seconds of this process."""


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of the values are below.

    Example:
        >>> quantile([3.0, 1.0, 2.0], 0.5)
        2.0
    """
    return sorted(values)[int(len(values) * part)]


async def ask(way: Way, prompt: str) -> str:
    """Return a complete answer."""
    return "".join([text async for text in way(prompt)])


async def one_by_one(way: Way, count: int = 25) -> list[float]:
    """Return how many ms each request took that is answered at once, with one in flight."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        await ask(way, "hi")
        found.append((time.perf_counter() - started) * 1000)
    return found


async def in_flight(way: Way, wait_ms: int = WAIT_MS, seconds: float = 1.0, flight: int = IN_FLIGHT) -> Load:
    """Keep requests in flight for a time, each answered after `wait_ms`.

    Raises:
        ConnectionError: most requests failed.
        TimeoutError: it took longer than a round may.
    """
    took: list[float] = []
    errors: list[str] = []
    prompt = f"wait:{wait_ms}" if wait_ms else "hi"
    cpu, started = time.process_time(), time.perf_counter()

    async def one_after_the_other() -> None:
        while (begun := time.perf_counter()) < started + seconds:
            try:
                await ask(way, prompt)
            except Exception as err:  # noqa: BLE001 - of any way: it is counted and shown
                errors.append(f"{type(err).__name__}: {err}"[:200])
                if len(errors) > MOST_ERRORS:
                    return
            else:
                took.append((time.perf_counter() - begun) * 1000)

    async with asyncio.timeout(ROUND_SECONDS):
        await asyncio.gather(*(one_after_the_other() for _ in range(flight)))
    if len(errors) > len(took):
        raise ConnectionError(f"{len(errors)} of {len(errors) + len(took)} requests failed: {errors[0]}")
    lasted, used = time.perf_counter() - started, time.process_time() - cpu
    return Load(len(took), lasted, quantile(took, 0.5), quantile(took, 0.99), used, tuple(sorted(set(errors))))


async def streams(way: Way, count: int = IN_FLIGHT, tokens: int = TOKENS, rate: int = RATE) -> Streams:
    """Ask for streams at once, each of so many tokens, `rate` a second.

    Raises:
        ConnectionError: a stream was not complete.
        TimeoutError: it took longer than a round may.
    """
    found: list[tuple[int, float]] = []
    begun: list[int] = []

    async def listen() -> int:
        received = 0
        async for text in way(f"tokens:{tokens}@{rate}", stream=True):
            now = time.monotonic_ns()
            for sent in text.split():  # some ways join tokens that wait
                if not received:
                    begun.append(now)
                found.append((int(sent), (now - int(sent)) / 1e6))
                received += 1
        return received

    cpu, started = time.process_time(), time.perf_counter()
    async with asyncio.timeout(ROUND_SECONDS):
        counts = await asyncio.gather(*(listen() for _ in range(count)))
    lasted, used = time.perf_counter() - started, time.process_time() - cpu
    if counts != [tokens] * count:
        raise ConnectionError(f"Of {count} streams of {tokens} tokens, these were received: {sorted(counts)}")
    every = [late for _, late in found]
    steady = [late for sent, late in found if sent > max(begun)] or every
    return Streams(len(found), lasted, quantile(steady, 0.5), quantile(steady, 0.99), quantile(every, 0.99), used)
