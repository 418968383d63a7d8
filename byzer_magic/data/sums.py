"""What a run has done so far: rows, failures, tokens, cost, and how fast; pure, time is an argument."""

from __future__ import annotations

from collections import deque
from typing import Any

from byzer_magic.types import RowProgress

SPAN_SECONDS = 20.0
"""The rate is that of the last seconds: what came from the journal at the beginning says nothing about the rest."""
SAMPLE_SECONDS = 0.5


class Sums:
    """Counts what a run has done.

    Args:
        total: rows.
        now: the time, in seconds.

    Example:
        >>> sums = Sums(4, now=0.0)
        >>> sums.rows(1, failed=0, now=2.0)
        >>> sums.progress(now=2.0).seconds_left
        6.0
    """

    def __init__(self, total: int, now: float) -> None:
        self.total = total
        self.done = 0
        self.failed = 0
        self.known = 0
        """Responses from the journal."""
        self.replayed = False
        """Whether these came from a tape."""
        self.asked = 0
        """Responses that were asked for."""
        self.cost = 0.0
        self.saved = 0.0
        """What those from the journal cost at first."""
        self.priced = 0
        """Responses asked for whose cost is known."""
        self.currency = ""
        self.tokens = [0, 0]
        """Of prompts and of answers asked for."""
        self.largest = 0.0
        """The highest cost of a response."""
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])

    def response(self, result: Any) -> None:
        """Count a response."""
        if getattr(result, "journal", None) is not None:
            self.known += 1
            self.replayed = result.journal.replayed
            self.saved += getattr(result, "saved", None) or 0.0
            self.currency = self.currency or result.currency
            return
        self.asked += 1
        if result.usage is not None:
            self.tokens[0] += result.usage.prompt_tokens
            self.tokens[1] += result.usage.completion_tokens
        if result.cost is not None:
            self.priced += 1
            self.cost += result.cost
            self.largest = max(self.largest, result.cost)
            self.currency = result.currency or self.currency

    def rows(self, count: int, failed: int, now: float) -> None:
        """Count rows that have come to an end.

        Args:
            count: how many.
            failed: how many of them failed.
            now: the time.
        """
        self.done += count
        self.failed += failed
        if now - self._samples[-1][0] >= SAMPLE_SECONDS:
            self._samples.append((now, self.done))
            while now - self._samples[0][0] > SPAN_SECONDS and len(self._samples) > 2:
                self._samples.popleft()

    def rate(self, now: float) -> float | None:
        """Return the rows per second over the last seconds; None before there are any."""
        since, before = self._samples[0]
        return (self.done - before) / (now - since) if self.done > before and now > since else None

    @property
    def mean_cost(self) -> float | None:
        """Return what a response costs on average; None while that is not known."""
        return self.cost / self.priced if self.priced else None

    def progress(self, now: float) -> RowProgress:
        """Return how far the run is."""
        left = self.total - self.done
        rate = self.rate(now)
        per_row = self.cost / self.done if self.priced and self.done else None
        return RowProgress(
            self.done, self.total, "rows",
            failed=self.failed,
            known=self.known,
            replayed=self.replayed,
            rate=rate,
            seconds_left=left / rate if rate else None,
            cost=self.cost if self.currency else None,
            cost_left=None if per_row is None else per_row * left,
            currency=self.currency,
        )  # fmt: skip
