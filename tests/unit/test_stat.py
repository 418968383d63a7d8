from __future__ import annotations

import msgspec
import pytest

from byzer_magic.stat import ModelStat, WorkerStat

STAT = ModelStat(
    model="deepseek_chat",
    kind="saas/openai",
    strategy="lru",
    capabilities=["chat"],
    workers=[
        WorkerStat(index=0, free=3, limit=3, requests=7, errors=0, idle_seconds=631.7133535240428),
        WorkerStat(index=1, free=2, limit=3, requests=8, errors=1, idle_seconds=0.5, health="down", pid=12),
        WorkerStat(index=2, free=0, limit=3, requests=9, errors=2, idle_seconds=4.0),
    ],
    concurrency=3,
)


@pytest.mark.parametrize(("free", "busy"), [(3, False), (2, True), (0, True)])
def test_worker_is_busy_with_one_request(free: int, busy: bool) -> None:
    assert WorkerStat(index=0, free=free, limit=3, requests=0, errors=0, idle_seconds=0.0).busy is busy


def test_model_stat_sums_over_its_workers() -> None:
    assert (STAT.busy, STAT.requests, STAT.errors) == (2, 24, 3)


def test_legacy_has_the_eight_fields_of_byzer_llm_in_order() -> None:
    legacy = STAT.legacy()
    assert list(legacy.items()) == [
        ("total_workers", 3),
        ("busy_workers", 2),
        ("idle_workers", 1),
        ("load_balance_strategy", "lru"),
        ("total_requests", [7, 8, 9]),
        ("state", [3, 2, 0]),
        ("worker_max_concurrency", 3),
        ("workers_last_work_time", ["631.7133535240428s", "0.5s", "4.0s"]),
    ]


def test_model_stat_without_workers_is_idle() -> None:
    empty = msgspec.structs.replace(STAT, workers=[])
    assert (empty.busy, empty.requests, empty.errors) == (0, 0, 0)
    assert empty.legacy()["state"] == []


def test_model_stat_survives_msgpack() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(STAT), type=ModelStat) == STAT


def test_model_stat_is_frozen() -> None:
    with pytest.raises(AttributeError):
        STAT.queued = 1
