from __future__ import annotations

import msgspec
import pytest

from byzer_magic.stat import FULL_SHARE, ModelStat, Sample, WorkerStat

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


@pytest.mark.parametrize(("share", "full"), [(None, False), (0.2, False), (FULL_SHARE, True)])
def test_model_stat_is_full_from_a_share_on(share: float | None, *, full: bool) -> None:
    assert msgspec.structs.replace(STAT, pool_cpu=share).is_full is full


def test_pool_that_is_loading_is_not_full() -> None:
    workers = [msgspec.structs.replace(worker, health="loading") for worker in STAT.workers]
    assert not msgspec.structs.replace(STAT, pool_cpu=1.0, workers=workers).is_full


@pytest.mark.parametrize("value", [msgspec.structs.replace(STAT, pool_cpu=0.5), Sample(at=1.0, pool_cpu=0.5)])
def test_pool_cpu_of_older_and_newer_pools(value: ModelStat | Sample) -> None:
    fields = msgspec.to_builtins(value)
    older = {name: given for name, given in fields.items() if name != "pool_cpu"}
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(older), type=type(value))
    assert read == msgspec.structs.replace(value, pool_cpu=None)
    newer = msgspec.msgpack.encode(fields | {"a_field_of_tomorrow": 1})
    assert msgspec.msgpack.decode(newer, type=type(value)) == value


def test_legacy_has_no_field_beside_the_eight() -> None:
    assert msgspec.structs.replace(STAT, pool_cpu=1.0).legacy() == STAT.legacy()


def test_model_stat_is_frozen() -> None:
    with pytest.raises(AttributeError):
        STAT.queued = 1
