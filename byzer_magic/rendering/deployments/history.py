"""The last ten minutes of a deployment, second by second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from byzer_magic.stat import ModelStat, Sample

SECONDS = 600
"""Seconds of history."""

T = TypeVar("T")


class History:
    """The last samples of one deployment: filled once with its own history, then from its counters."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=SECONDS)
        self._before: tuple[int, int, int, float] | None = None
        """Requests, errors, tokens and cost when the last sample ended."""
        self._rendered: dict[str, tuple[float, object]] = {}

    def fill(self, samples: Iterable[Sample]) -> None:
        """Replace the samples counted here by the deployment's own history."""
        known = list(samples)
        if known:
            later = [sample for sample in self.samples if sample.at > known[-1].at]
            self.samples = deque([*known, *later], maxlen=SECONDS)
            self._rendered.clear()

    def add(self, stat: ModelStat, at: float) -> bool:
        """Take the counters at a Unix time; return whether a second has ended."""
        now = (stat.requests, stat.errors, stat.completion_tokens, stat.cost or 0.0)
        before = self._before
        if before is not None and self.samples and int(at) <= int(self.samples[-1].at):
            return False
        self._before = now
        if before is None or now[0] < before[0]:  # the deployment has restarted
            before = now
        requests, errors, tokens, cost = (max(later - sooner, 0) for later, sooner in zip(now, before, strict=True))
        self.samples.append(
            Sample(
                at=at,
                requests=int(requests),
                errors=int(errors),
                tokens=int(tokens),
                busy=sum(worker.limit - worker.free for worker in stat.workers),
                queued=stat.queued,
                cost=None if stat.cost is None else cost,
                pool_cpu=stat.pool_cpu,
            )
        )
        return True

    def last(self, seconds: int) -> Sequence[Sample]:
        """Return the last samples, one a second."""
        return list(islice(self.samples, max(0, len(self.samples) - seconds - 1), None))

    def once(self, name: str, render: Callable[[], T]) -> T:
        """Return what `render` makes of the samples, cached until there is a new one."""
        newest = self.samples[-1].at if self.samples else 0.0
        kept = self._rendered.get(name)
        if kept is None or kept[0] != newest:
            kept = self._rendered[name] = (newest, render())
        return kept[1]  # type: ignore[return-value]  # a name is always of the same kind
