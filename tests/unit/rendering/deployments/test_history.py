"""The last ten minutes, and their plots."""

from __future__ import annotations

import msgspec

from byzer_magic.rendering.deployments.history import SECONDS, History
from byzer_magic.stat import ModelStat
from tests.fleets import model, steady


def at(requests: int, errors: int = 0, cost: float | None = 0.5, tokens: int = 0) -> ModelStat:
    stat = model(workers=1, cost=cost, completion_tokens=tokens)
    workers = [msgspec.structs.replace(stat.workers[0], requests=requests, errors=errors)]
    return msgspec.structs.replace(stat, workers=workers)


def test_history_turns_counters_into_seconds() -> None:
    past = History()
    assert past.add(at(5), 100.0)
    assert not past.add(at(6), 100.4), "the same second"
    assert past.add(at(9, errors=1, cost=0.7, tokens=30), 101.1)
    first, second = past.samples
    assert first.requests == 0, "what happened before is unknown"
    assert (second.requests, second.errors, second.tokens, second.busy) == (4, 1, 30, 1)
    assert second.pool_cpu == 0.12
    assert second.cost is not None
    assert abs(second.cost - 0.2) < 1e-9


def test_history_of_a_restart_has_no_negative_requests() -> None:
    past = History()
    past.add(at(50), 100.0)
    past.add(at(1), 101.0)
    past.add(at(3), 102.0)
    assert [sample.requests for sample in past.samples] == [0, 0, 2]


def test_history_fill_prefers_the_deployments_samples() -> None:
    past = History()
    past.add(at(5), 1000.2)
    past.add(at(8), 1001.3)
    past.fill(steady(1000.5, 600))
    assert len(past.samples) == SECONDS
    assert past.samples[-1].at == 1001.3
    assert past.samples[0].requests == 2
    past.fill([])
    assert past.samples[-1].at == 1001.3


def test_history_without_a_price_has_no_cost() -> None:
    past = History()
    past.add(at(5, cost=None), 100.0)
    past.add(at(6, cost=None), 101.0)
    assert past.samples[-1].cost is None


def test_history_last_samples() -> None:
    past = History()
    past.fill(steady(1000.0))
    assert [sample.at for sample in past.last(2)] == [998.0, 999.0, 1000.0]
