"""What a pool counts: how soon answers began, how fast they went on, what they cost, second by second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec

from byzer_magic.catalog.prices import Price
from byzer_magic.stat import Sample
from byzer_magic.types import ChatChunk, Item, Usage

WINDOW = 512
"""Answers that the figures look back on."""
HISTORY_SECONDS = 600
"""How far back the history goes, with one sample a second."""


class Metrics:
    """Figures over the last answers, in seconds and tokens a second, and a history."""

    def __init__(self, price: Price | None = None) -> None:
        self.usage = Usage()
        """All tokens so far."""
        self.cost: float | None = 0.0 if price else None
        """What all answers have cost, where that is known."""
        self.history: deque[Sample] = deque(maxlen=HISTORY_SECONDS)
        self._price = price
        self._first: deque[float] = deque(maxlen=WINDOW)
        self._speeds: deque[float] = deque(maxlen=WINDOW)
        self._now = _Second()

    async def measured(self, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """Pass an answer on with what it costs, and take its times; one given up counts as far as it came."""
        self._now.requests += 1
        started = time.monotonic()
        first = 0.0
        pieces = 0
        told: Usage | None = None
        try:
            async with aclosing(items) as answer:  # type: ignore[type-var]  # async generators all
                async for found in answer:
                    item = self._priced(found)
                    if not first and (not isinstance(item, ChatChunk) or item.text or item.reasoning):
                        first = time.monotonic()
                        self._began(first - started)
                    if isinstance(item, ChatChunk):
                        pieces += self._piece(item)
                        told = item.usage or told  # some providers tell the sum so far with every piece
                    elif (usage := getattr(item, "usage", None)) is not None:
                        self._count(usage, 0)
                    yield item
        finally:
            ended = time.monotonic()
            self._now.latencies.append(ended - started)
            if told is not None:
                self._count(told, pieces)
                if first:  # an answer in one piece has no speed
                    self._speeds.append(told.completion_tokens / max(ended - first, 1e-3))

    def _priced(self, item: Item) -> Item:
        """Return an item of which the tokens, where it tells them, have their cost."""
        usage: Usage | None = getattr(item, "usage", None)
        if usage is None or self._price is None:
            return item
        return msgspec.structs.replace(item, usage=self._price.on(usage))

    def _began(self, seconds: float) -> None:
        self._first.append(seconds)
        self._now.firsts.append(seconds)

    def _piece(self, item: ChatChunk) -> int:
        """Count a piece of text as one token, until their true number is told."""
        is_text = bool(item.text or item.reasoning)
        self._now.tokens += is_text
        return int(is_text)

    def _count(self, usage: Usage, pieces: int) -> None:
        """Count tokens of which so many have been counted as pieces."""
        self.usage += usage
        self._now.tokens += max(0, usage.completion_tokens - pieces)
        self._pay(usage)

    def _pay(self, usage: Usage) -> None:
        if usage.cost is None:  # what is not known of one answer is not known of all
            self.cost = None
        elif self.cost is not None:
            self.cost += usage.cost
            self._now.cost += usage.cost

    def ended(self, *, failed: bool) -> None:
        """Count a request that has ended."""
        self._now.errors += failed

    def tick(self, busy: int, queued: int) -> None:
        """End a second."""
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
            )
        )

    def ttft(self, share: float) -> float | None:
        """Return the time within which this share of the answers had begun."""
        times = sorted(self._first)
        return times[min(int(len(times) * share), len(times) - 1)] if times else None

    @property
    def tokens_per_second(self) -> float | None:
        """Return the mean speed after the first token."""
        return _mean(self._speeds)


class _Second:
    """What is counted until the second ends."""

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        self.tokens = 0
        self.cost = 0.0
        self.firsts: list[float] = []
        self.latencies: list[float] = []


def _mean(values: list[float] | deque[float]) -> float | None:
    return sum(values) / len(values) if values else None
