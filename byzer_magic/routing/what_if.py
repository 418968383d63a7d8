"""How long requests would have waited with other workers, or if more of them had come.

The requests of a trace are replayed: they come when they came, and hold a slot as long as they did. The replay of the
deployment as it is stands beside what was measured, and shows how much a prediction is worth.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic.routing import slowdown
from byzer_magic.routing.capacity import Capacity
from byzer_magic.routing.replay import Arrival, replay
from byzer_magic.routing.trace import Change, Trace, TracedRequest


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the requests of a trace, or would have."""

    workers: tuple[int, int]
    """The fewest and the most."""
    slots: tuple[int, int]
    """Likewise."""
    requests: int
    wait_p50: float
    """Seconds in the queue: the median."""
    wait_p99: float
    total_p50: float
    """Seconds of waiting and of the answer, of requests that were answered: the median."""
    total_p99: float
    queued_mean: float
    """Requests in the queue: the mean over the time from the first request to the end of the last one."""
    queued_most: int
    utilization: float
    """Share of the slots that were in use, over the same time; 0 to 1."""
    refused: int
    """Requests that the queue had no room for."""
    left: int
    """Requests that left the queue, since their client went away or their deadline passed."""
    cost: float | None = None
    """Of the requests, in the currency of the deployment; None where it is not known."""

    @property
    def served(self) -> int:
        """Return the requests that have had a slot, or wait for one."""
        return self.requests - self.refused - self.left


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A deployment's last minutes, and what they would have been."""

    measured: Figures
    replayed: Figures
    """With the workers that there are."""
    predicted: Figures | None = None
    """With the changes; None without any."""
    in_turns: Figures | None = None
    """Likewise, if requests on one worker take turns; None where that is the same, or is known: see `slowdown`."""
    traces: tuple[Trace, Trace, Trace | None]
    """Those of the three; times are those of the deployment's clock."""
    since: float
    """When the first request came that is counted."""
    scale_load: float = 1.0
    slowdown: float | None = None
    """How much requests on one worker slow each other down; None where that cannot be seen, or is not assumed."""
    unfinished: int = 0
    """Requests that were running or queued when the trace was read."""
    changes: int = 0
    """How often the number of slots changed in that time."""

    @property
    def now(self) -> float:
        """Return when the trace was read."""
        return self.traces[0].now

    @property
    def error(self) -> float:
        """Return how far the replay is off what was measured: the difference of the p99, as a share of the larger."""
        waits = self.replayed.wait_p99, self.measured.wait_p99
        return abs(waits[0] - waits[1]) / max(waits) if max(waits) else 0.0


def what_if(
    trace: Trace, changes: Mapping[str, Any] | None = None, *, scale_load: float = 1.0, seconds: float = math.inf,
    batches: bool = False,
) -> WhatIf | None:  # fmt: skip
    """Replay a trace; return None where no request of it has run.

    Args:
        trace: of a deployment.
        changes: of its capacity, by the names of its fields; None of a value is no change.
        scale_load: how many times as many requests come.
        seconds: how far to go back at most.
        batches: whether its workers run several requests at once, each the slower for it.

    Example:
        >>> requests = [TracedRequest(float(at), 3.0 * at, 4.0, 0, "done") for at in range(9)]
        >>> capacity, slots = Capacity(num_workers=1), [Change(-600.0, slots=1)]
        >>> trace = Trace(now=40.0, since=-560.0, requests=requests, changes=slots, capacity=capacity)
        >>> found = what_if(trace, {"num_workers": 4})
        >>> found.measured.wait_p99, found.replayed.wait_p99, found.predicted.wait_p99
        (24.0, 24.0, 0.0)
    """
    since = max(trace.since, trace.now - seconds)
    counted = [item for item in trace.requests if item.at >= since]
    if not any(item.ran and item.outcome in ("done", "failed") for item in counted):
        return None
    slower = slowdown.estimate(trace.requests) if batches else None
    arrivals = arrivals_of(trace, slower or 0.0)
    begun = _begun_with(trace, since)
    as_it_is = replay(arrivals, begun, slower or 0.0)
    predicted = in_turns = None
    if scale_load != 1 or any(value is not None for value in (changes or {}).values()):
        changed = begun.changed(**(changes or {}))
        predicted = replay(scaled(arrivals, scale_load), changed, slower or 0.0)
        if batches and slower is None:
            in_turns = figures(replay(scaled(arrivals_of(trace, 1.0), scale_load), changed, 1.0), since)
    measured = figures(trace, since)
    expected = None if predicted is None else figures(predicted, since)
    first = min(item.at for item in counted)
    return WhatIf(
        measured=measured,
        replayed=figures(as_it_is, since),
        predicted=expected,
        in_turns=in_turns if in_turns != expected else None,
        traces=(trace, as_it_is, predicted),
        since=first,
        scale_load=scale_load,
        slowdown=slower,
        unfinished=sum(item.outcome in ("running", "queued") for item in counted),
        changes=sum(change.at > first for change in trace.changes),
    )


def _begun_with(trace: Trace, since: float) -> Capacity:
    """Return the deployment's capacity; where it scales by itself, with the workers that it had at the beginning."""
    now = trace.capacity
    if not now.scaling.auto:
        return now
    slots = [change.slots for change in trace.changes if change.at <= since][-1:] or [now.slots]
    workers = now.scaling.within(slots[0] // now.worker_concurrency)
    return msgspec.structs.replace(now, num_workers=workers)


def arrivals_of(trace: Trace, slower: float = 0.0) -> list[Arrival]:
    """Return the requests of a trace as they came.

    How long those take that have not ended, or have never run, is not known: they take as long as the others, in turn.

    Args:
        trace: with at least one request that has ended.
        slower: how much requests on one worker slow each other down.
    """
    works = {
        id(item): item.seconds / slowdown.pace(slower, together) for item, together in slowdown.company(trace.requests)
    }
    known = itertools.cycle([works[id(item)] for item in trace.requests if item.outcome in ("done", "failed")])
    come = sorted(trace.requests, key=lambda item: item.at)
    return [_arrival(item, works.get(id(item), 0.0), known) for item in come]


def _arrival(item: TracedRequest, work: float, known: Iterator[float]) -> Arrival:
    if item.outcome in ("done", "failed"):
        return Arrival(item.at, work)
    return Arrival(item.at, max(work, next(known)), item.waited if item.outcome == "left" else math.inf)


def scaled(arrivals: Sequence[Arrival], times: float) -> list[Arrival]:
    """Return as many times as many requests in the same time: further ones come between one and the next.

    Example:
        >>> come = [Arrival(at, work=1.0) for at in (0.0, 4.0, 6.0, 8.0)]
        >>> [each.at for each in scaled(come, 2)]
        [0.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.333333333333332]
        >>> [each.at for each in scaled(come, 0.5)]
        [4.0, 8.0]
    """
    gap = (arrivals[-1].at - arrivals[0].at) / (len(arrivals) - 1) if len(arrivals) > 1 else 0.0
    ends = [*(arrival.at for arrival in arrivals[1:]), arrivals[-1].at + gap]
    works = itertools.cycle([arrival.work for arrival in arrivals])
    found: list[Arrival] = []
    for place, (arrival, end) in enumerate(zip(arrivals, ends, strict=True)):
        copies = math.floor((place + 1) * times + _ROUNDING) - math.floor(place * times + _ROUNDING)
        for number in range(copies):
            at = arrival.at + (end - arrival.at) * number / copies
            found.append(Arrival(at, next(works) if number else arrival.work, arrival.patience))
    return found


_ROUNDING = 1e-9


def figures(trace: Trace, since: float) -> Figures:
    """Return what happened to the requests of a trace that came since a time."""
    counted = [item for item in trace.requests if item.at >= since]
    admitted = [item for item in counted if item.outcome != "refused"]
    start = min((item.at for item in counted), default=trace.now)
    end = max((item.ended for item in counted), default=trace.now)
    waits = sorted(item.waited for item in admitted) or [0.0]
    totals = sorted(item.waited + item.seconds for item in admitted if item.outcome == "done") or [0.0]
    slots = _slots(trace.changes, start, end)
    could = sum(count * seconds for count, seconds in slots)
    did = sum(_within(item.began, item.ended, start, end) for item in trace.requests)
    queued = sum(_within(item.at, item.began, start, end) for item in trace.requests)
    counts = [count for count, _seconds in slots]
    each = trace.capacity.worker_concurrency
    return Figures(
        workers=(min(counts) // each, max(counts) // each),
        slots=(min(counts), max(counts)),
        requests=len(counted),
        wait_p50=percentile(waits, 0.5),
        wait_p99=percentile(waits, 0.99),
        total_p50=percentile(totals, 0.5),
        total_p99=percentile(totals, 0.99),
        queued_mean=queued / (end - start) if end > start else 0.0,
        queued_most=_most(trace.requests, start),
        utilization=min(did / could, 1.0) if could else 0.0,
        refused=len(counted) - len(admitted),
        left=sum(item.outcome == "left" for item in counted),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Return a percentile of sorted values, as `stat` takes it.

    Example:
        >>> percentile([0.1, 0.2, 0.3, 9.0], 0.5), percentile([0.1, 0.2, 0.3, 9.0], 0.99)
        (0.3, 9.0)
    """
    return values[min(int(len(values) * share), len(values) - 1)]


def _within(begins: float, ends: float, start: float, end: float) -> float:
    return max(0.0, min(ends, end) - max(begins, start))


def _slots(changes: Sequence[Change], start: float, end: float) -> list[tuple[int, float]]:
    """Return the numbers of slots between two times, each with its seconds."""
    ends = [*(change.at for change in changes[1:]), math.inf]
    found = [
        (change.slots, _within(change.at, ended, start, end))
        for change, ended in zip(changes, ends, strict=True)
        if ended > start and change.at <= end
    ]
    return found or [(0, 0.0)]


def _most(requests: Iterable[TracedRequest], start: float) -> int:
    """Return the longest queue since a time."""
    moments = sorted(
        (at, step)
        for item in requests
        if item.waited and item.began >= start
        for at, step in ((item.at, 1), (item.began, -1))
    )
    return max(itertools.accumulate((step for _at, step in moments)), default=0)
