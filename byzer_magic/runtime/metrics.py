"""Metrics of a pool: time to first token, token rate, cost and CPU, with a history second by second."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import msgspec

from byzer_magic.catalog.prices import Price
from byzer_magic.results.pace import Pace
from byzer_magic.stat import OutcomeStat, Sample
from byzer_magic.types import ChatChunk, Item, Usage

ENDED_BY_CLIENT = (GeneratorExit, asyncio.CancelledError)
"""What a request raises here when its client does not want it any longer."""
Check = Callable[[Usage], Usage]

WINDOW = 512
"""Number of latest responses over which percentiles and means are taken."""
HISTORY_SECONDS = 600
"""Length of the history, which has one sample a second."""
CPU_SECONDS = 5
"""Seconds over which the pool's share of a core is taken: it must last, to mean that the pool is full."""


class Outcomes:
    """Counts how requests end; a block of `async with` is one request."""

    def __init__(self) -> None:
        self.admitted = self.done = self.failed = self.cancelled = 0

    async def __aenter__(self) -> None:
        self.admitted += 1

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.done += 1
        elif issubclass(kind, ENDED_BY_CLIENT):
            self.cancelled += 1
        else:
            self.failed += 1

    def stat(self) -> OutcomeStat:
        """Return the counters."""
        return OutcomeStat(self.admitted, self.done, self.failed, self.cancelled)


class Metrics:
    """Metrics over the latest responses, and the history.

    Args:
        price: the price of the model's tokens; None where it is unknown.
    """

    def __init__(self, price: Price | None = None) -> None:
        self.usage = Usage()
        """Tokens of all responses so far."""
        self.cost: float | None = 0.0 if price else None
        """Cost of all responses so far; None once that of one response is unknown."""
        self.history: deque[Sample] = deque(maxlen=HISTORY_SECONDS)
        self.outcomes = Outcomes()
        self._price = price
        self._first: deque[float] = deque(maxlen=WINDOW)
        self._speeds: deque[float] = deque(maxlen=WINDOW)
        self._now = _Second()
        self._cpu = CpuShare()

    async def measured(self, items: AsyncIterator[Item], check: Check | None = None) -> AsyncIterator[Item]:
        """Pass a response on with its cost, and measure it; a cancelled one counts as far as it was received.

        Args:
            items: the response.
            check: adds to the usage of a chat what it shows.
        """
        self._now.requests += 1
        started = time.monotonic()
        pace = Pace()
        began = False
        chunks = 0
        reported: Usage | None = None
        try:
            async with aclosing(items) as response:  # type: ignore[type-var]  # async generators all
                async for found in response:
                    item = self._priced(found, check)
                    pace.add(item, time.monotonic() - started)
                    if pace.first is not None and not began:
                        began = True
                        self._began(pace.first)
                    if isinstance(item, ChatChunk):
                        chunks += self._count_chunk(item)
                        reported = item.usage or reported  # some providers report the sum so far with every chunk
                    elif (usage := getattr(item, "usage", None)) is not None:
                        self._count(usage, 0)
                    yield item
        finally:
            ended = time.monotonic()
            self._now.latencies.append(ended - started)
            if reported is not None:
                self._count(reported, chunks)
                if (speed := pace.tokens_per_second(reported.completion_tokens)) is not None:
                    self._speeds.append(speed)

    def use(self, price: Price | None) -> None:
        """Price tokens differently from now on; costs in another currency are counted anew."""
        if price is None or self._price is None or price.currency != self._price.currency:
            self.cost = 0.0 if price else None
        self._price = price

    def _priced(self, item: Item, check: Check | None) -> Item:
        """Return the item with the cost of its usage, where it has usage and the price is known."""
        usage: Usage | None = getattr(item, "usage", None)
        if usage is None:
            return item
        checked = check(usage) if check is not None and isinstance(item, ChatChunk) else usage
        checked = self._price.on(checked) if self._price else checked
        return item if checked is usage else msgspec.structs.replace(item, usage=checked)

    def _began(self, seconds: float) -> None:
        self._first.append(seconds)
        self._now.firsts.append(seconds)

    def _count_chunk(self, item: ChatChunk) -> int:
        """Count a chunk of text as one token until the true number is reported."""
        is_text = bool(item.text or item.reasoning)
        self._now.tokens += is_text
        return int(is_text)

    def _count(self, usage: Usage, chunks: int) -> None:
        """Count a response's tokens, of which `chunks` have been counted already."""
        self.usage += usage
        self._now.tokens += max(0, usage.completion_tokens - chunks)
        self._add_cost(usage)

    def _add_cost(self, usage: Usage) -> None:
        if usage.cost is None:  # one unknown cost makes the total unknown
            self.cost = None
        elif self.cost is not None:
            self.cost += usage.cost
            self._now.cost += usage.cost

    def ended(self, failed: bool) -> None:  # noqa: FBT001 - passed as a callback
        """Count the end of a request."""
        self._now.errors += failed

    def tick(self, busy: int, queued: int) -> None:
        """End a second of the history.

        Args:
            busy: slots in use now.
            queued: requests in the queue now.
        """
        pool_cpu = self._cpu.add(time.monotonic(), time.process_time())
        now, self._now = self._now, _Second()
        self.history.append(
            Sample(
                at=time.time(),
                requests=now.requests,
                errors=now.errors,
                tokens=now.tokens,
                ttft=_mean(now.firsts),
                latency=_mean(now.latencies),
                busy=busy,
                queued=queued,
                cost=None if self.cost is None else now.cost,
                pool_cpu=pool_cpu,
            )
        )

    async def samples(self, _nothing: None) -> AsyncIterator[Sample]:
        """Yield the history."""
        for sample in list(self.history):
            yield sample

    def ttft(self, share: float) -> float | None:
        """Return a percentile of the time to first token in seconds; None before the first response.

        Args:
            share: the percentile as a fraction, such as 0.99.
        """
        times = sorted(self._first)
        return times[min(int(len(times) * share), len(times) - 1)] if times else None

    @property
    def pool_cpu(self) -> float | None:
        """Return this process's share of a core over the last `CPU_SECONDS`, 0 to 1; None before they have passed."""
        return self._cpu.lasting

    @property
    def tokens_per_second(self) -> float | None:
        """Return the mean token rate after the first piece; None before a response in pieces that reports usage."""
        return _mean(self._speeds)


class CpuShare:
    """The share of one core that a process uses, from readings of its CPU time once a second.

    Python runs one thread at a time, so a process that uses a whole core cannot do more. Threads that compute outside
    of Python may use more than one core; that counts as 1.

    Example:
        >>> share = CpuShare()
        >>> [share.add(wall, cpu) for wall, cpu in [(10.0, 1.0), (11.0, 1.5), (12.0, 2.5)]]
        [None, 0.5, 1.0]
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[float, float]] = deque(maxlen=CPU_SECONDS + 1)

    def add(self, wall: float, cpu: float) -> float | None:
        """Take a reading and return the share since the previous one; None for the first.

        Args:
            wall: now in seconds, on a clock that only goes forward.
            cpu: seconds of CPU time that the process has used so far.
        """
        before = self._readings[-1] if self._readings else None
        self._readings.append((wall, cpu))
        return None if before is None else _share(before, (wall, cpu))

    @property
    def lasting(self) -> float | None:
        """Return the share over the last `CPU_SECONDS` readings; None before there are as many."""
        full = len(self._readings) == self._readings.maxlen
        return _share(self._readings[0], self._readings[-1]) if full else None


def _share(before: tuple[float, float], now: tuple[float, float]) -> float | None:
    wall, cpu = (late - early for early, late in zip(before, now, strict=True))
    return min(cpu / wall, 1.0) if wall > 0 else None


class _Second:
    """Counters of the current second."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.tokens = 0
        self.cost = 0.0
        self.firsts: list[float] = []
        self.latencies: list[float] = []


def _mean(values: list[float] | deque[float]) -> float | None:
    return sum(values) / len(values) if values else None
