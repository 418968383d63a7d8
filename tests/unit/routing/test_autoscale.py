"""How many workers the queue asks for, for any load: in a time of the test's own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from byzer_magic.routing.autoscale import FIRST_PAUSE_SECONDS, GROW_SECONDS, LONGEST_PAUSE_SECONDS, Scaler, Scaling


@dataclass
class Service:
    """A deployment that does what its scaler says; requests take as long as they are told to."""

    limits: Scaling
    slots: int = 1
    load_seconds: int = 3
    now: int = 0
    queue: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)
    """When the number of workers changed, and to which."""

    def __post_init__(self) -> None:
        self.scaler = Scaler(0.0)
        self.workers = self.up = self.limits.base
        self.loading = 0

    def second(self, arriving: int = 0, takes: int = 1) -> None:
        """Let a second pass in which so many requests arrive."""
        self.now += 1
        self.queue += [takes] * arriving
        self.ends = [end for end in self.ends if end > self.now]
        while self.queue and len(self.ends) < self.up * self.slots:
            self.ends.append(self.now + self.queue.pop(0))
        if self.loading:
            self.loading -= 1
            if not self.loading:
                self.up = self.workers
                self.scaler.changed(self.now, self.load_seconds)
            return
        wanted = self.scaler.wanted(
            self.now, self.limits, self.workers, self.slots, running=len(self.ends), queued=len(self.queue)
        )
        assert self.limits.base <= wanted <= self.limits.high
        if wanted > self.workers:
            self.loading = self.load_seconds
        elif wanted < self.workers:
            self.up = wanted
            self.scaler.changed(self.now)
        if wanted != self.workers:
            self.workers = wanted
            self.changes.append((self.now, wanted))


LIMITS = Scaling(low=1, high=8, idle=60.0, auto=True)


def test_sustained_load_reaches_the_most_and_its_end_the_fewest() -> None:
    service = Service(LIMITS, slots=2)
    for _second in range(300):
        service.second(arriving=20)
    assert service.workers == 8
    assert [count for _now, count in service.changes] == [2, 4, 8]
    for _second in range(4000):
        service.second()
    assert service.workers == 1


def test_short_queues_change_nothing() -> None:
    service = Service(LIMITS)
    for second in range(600):
        service.second(arriving=3 if second % 10 == 0 else 0)
    assert service.changes == []


def test_load_that_comes_and_goes_faster_than_the_idle_time_keeps_its_workers() -> None:
    service = Service(LIMITS, load_seconds=1)
    for second in range(3600):
        service.second(arriving=4 if second % 40 < 20 else 0)
    assert service.workers == 4
    assert service.changes[-1][0] < 600, "workers went, although they were needed again soon"


def test_as_many_stay_as_the_busiest_moment_needed() -> None:
    service = Service(LIMITS)
    service.workers = service.up = 6
    for second in range(200):
        service.second(arriving=3 if second % 30 == 0 else 0, takes=2)
    assert service.workers == 3


def test_workers_that_took_long_to_load_stay_as_long() -> None:
    service = Service(Scaling(low=1, high=2, idle=10.0, auto=True), load_seconds=100)
    for second in range(600):
        service.second(arriving=1 if second < 150 else 0, takes=2)
    grown, shrunk = (now for now, _count in service.changes[:2])
    assert shrunk - grown >= 200


def test_zero_idle_time_never_shrinks() -> None:
    service = Service(Scaling(low=1, high=4, idle=0.0, auto=True))
    for second in range(5000):
        service.second(arriving=10 if second < 60 else 0)
    assert service.workers == 4


@given(
    st.integers(0, 3), st.integers(0, 6), st.integers(1, 4), st.integers(5, 90), st.integers(1, 30),
    st.lists(st.tuples(st.integers(1, 120), st.integers(0, 8), st.integers(1, 20)), min_size=1, max_size=12),
)  # fmt: skip
def test_nothing_flaps_for_any_load(
    low: int, more: int, slots: int, idle: int, load_seconds: int, load: list[tuple[int, int, int]]
) -> None:
    service = Service(Scaling(low, max(1, low + more), float(idle), auto=True), slots, load_seconds)
    for seconds, arriving, takes in load:  # square waves among others
        for _second in range(seconds):
            service.second(arriving, takes)
    when, before, has_grown = 0, service.limits.base, True
    for now, workers in service.changes:
        stay = max(idle, load_seconds) if has_grown else idle  # what was loaded is used for as long as that took
        assert now - when >= (stay if workers < before else GROW_SECONDS)
        when, before, has_grown = now, workers, workers > before
    shrunk = service.now / idle
    assert len(service.changes) <= (shrunk + 1) * (service.limits.high - service.limits.base + 1)


def test_failed_attempts_are_repeated_ever_more_rarely() -> None:
    scaler, attempts = Scaler(0.0), []
    for now in range(3600):
        if scaler.wanted(now, LIMITS, 2, 1, running=2, queued=5) > 2:
            attempts.append(now)
            scaler.failed(now)
    pauses = [after - before for before, after in itertools.pairwise(attempts)]
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS


@pytest.mark.parametrize(
    ("options", "low", "high", "sleeps"),
    [
        ((1, None, None, None), 1, 1, 0.0),
        ((2, None, None, 600.0), 0, 2, 600.0),
        ((1, 0, 4, None), 0, 4, 300.0),
        ((1, None, 4, None), 1, 4, 0.0),
        ((1, None, 4, 60.0), 0, 4, 60.0),
        ((1, 1, 4, 60.0), 1, 4, 0.0),
        ((1, 3, None, None), 3, 3, 0.0),
        ((1, 0, 4, 0.0), 0, 4, 0.0),
    ],
)
def test_limits_of_options(
    options: tuple[int, int | None, int | None, float | None], low: int, high: int, sleeps: float
) -> None:
    found = Scaling.of(*options)
    assert (found.low, found.high, found.sleeps_after) == (low, high, sleeps)
    assert found.base <= found.within(options[0]) <= found.high
