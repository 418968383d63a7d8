"""The last ten minutes, and their pictures."""

from __future__ import annotations

import msgspec

from byzer_magic.rendering.deployments import sparkline
from byzer_magic.rendering.deployments.history import SECONDS, History
from byzer_magic.stat import ModelStat, Sample
from tests.fleets import model, steady
from tests.pages import Page


def at(requests: int, errors: int = 0, cost: float | None = 0.5, tokens: int = 0) -> ModelStat:
    stat = model(workers=1, cost=cost, completion_tokens=tokens)
    workers = [msgspec.structs.replace(stat.workers[0], requests=requests, errors=errors)]
    return msgspec.structs.replace(stat, workers=workers)


def test_counters_become_seconds() -> None:
    past = History()
    assert past.add(at(5), 100.0)
    assert not past.add(at(6), 100.4), "the same second"
    assert past.add(at(9, errors=1, cost=0.7, tokens=30), 101.1)
    first, second = past.samples
    assert first.requests == 0, "what was before nobody knows"
    assert (second.requests, second.errors, second.tokens, second.busy) == (4, 1, 30, 1)
    assert second.cost is not None
    assert abs(second.cost - 0.2) < 1e-9


def test_a_deployment_that_begins_anew_has_no_negative_requests() -> None:
    past = History()
    past.add(at(50), 100.0)
    past.add(at(1), 101.0)
    past.add(at(3), 102.0)
    assert [sample.requests for sample in past.samples] == [0, 0, 2]


def test_what_the_deployment_remembers_comes_first() -> None:
    past = History()
    past.add(at(5), 1000.2)
    past.add(at(8), 1001.3)
    past.fill(steady(1000.5, 600))
    assert len(past.samples) == SECONDS
    assert past.samples[-1].at == 1001.3
    assert past.samples[0].requests == 2
    past.fill([])
    assert past.samples[-1].at == 1001.3


def test_a_price_that_is_not_known_costs_nothing_known() -> None:
    past = History()
    past.add(at(5, cost=None), 100.0)
    past.add(at(6, cost=None), 101.0)
    assert past.samples[-1].cost is None


def test_the_last_ones() -> None:
    past = History()
    past.fill(steady(1000.0))
    assert [sample.at for sample in past.last(2)] == [998.0, 999.0, 1000.0]


def test_rates_and_means_by_steps() -> None:
    samples = [Sample(at=90.5, requests=4, ttft=0.2), Sample(at=91.5, requests=2, ttft=0.4),
               Sample(at=99.0, requests=1), Sample(at=50.0, requests=99)]  # fmt: skip
    assert sparkline.rate(samples, 100, 20, 10, lambda sample: sample.requests) == [0.0, 0.7]
    first = sparkline.mean(samples, 100, 20, 10, lambda sample: sample.ttft)
    assert first[0] is None
    assert first[1] is not None
    assert abs(first[1] - 0.3) < 1e-9


def test_a_spark_is_a_picture_with_a_name() -> None:
    html = sparkline.spark([0, 1, None, 2, 3, None, 1], "a <name>")
    (svg, attrs), *_ = Page(html).elements
    assert (svg, attrs["role"], attrs["aria-label"]) == ("svg", "img", "a <name>")
    assert html.count("bz-dot") == 1, "a point alone is a dot"
    assert "bz-still" in sparkline.spark([0, 0, None], "nothing")
    assert "bz-still" in sparkline.spark([], "nothing")
