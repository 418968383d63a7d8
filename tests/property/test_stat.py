"""The deltas that followers of a deployment receive suffice to rebuild its counters."""

from __future__ import annotations

import msgspec
from hypothesis import given, strategies as st

from byzer_magic.stat import ModelStat, WorkerStat, delta, merged

workers = st.builds(
    WorkerStat,
    index=st.integers(0, 5),
    free=st.integers(0, 2),
    limit=st.just(2),
    requests=st.integers(0, 2),
    errors=st.integers(0, 1),
    idle_seconds=st.just(0.0),
    health=st.sampled_from(["up", "down"]),
)
stats = st.builds(
    ModelStat,
    model=st.just("m"),
    kind=st.just("saas/openai"),
    strategy=st.just("lru"),
    capabilities=st.just(["chat"]),
    workers=st.lists(workers, unique_by=lambda worker: worker.index, max_size=6).map(
        lambda found: sorted(found, key=lambda worker: worker.index)
    ),
    concurrency=st.just(2),
    queued=st.integers(0, 2),
    pool_cpu=st.sampled_from([None, 0.0, 1.0]),
)


@given(st.lists(stats, min_size=1, max_size=6))
def test_merged_deltas_equal_the_latest_stat(states: list[ModelStat]) -> None:
    reported: ModelStat | None = None
    known: ModelStat | None = None
    for state in states:
        known = merged(known, delta(reported, state), 0.0)
        reported = state
        assert known == state


@given(stats, stats)
def test_delta_has_only_changed_workers(before: ModelStat, now: ModelStat) -> None:
    old = {worker.index: worker for worker in before.workers}
    assert all(worker != old.get(worker.index) for worker in delta(before, now).workers)


@given(stats, st.floats(0, 100))
def test_delta_ignores_idle_time(state: ModelStat, seconds: float) -> None:
    later = [msgspec.structs.replace(worker, idle_seconds=seconds) for worker in state.workers]
    now = msgspec.structs.replace(state, workers=later, uptime_seconds=seconds)
    assert delta(state, now).workers == []
    assert merged(state, delta(state, now), seconds) == now
