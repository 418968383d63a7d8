"""Sparklines."""

from __future__ import annotations

from byzer_magic.rendering.deployments import sparkline
from byzer_magic.stat import Sample
from tests.pages import Page


def test_rate_and_mean_by_steps() -> None:
    samples = [Sample(at=90.5, requests=4, ttft=0.2), Sample(at=91.5, requests=2, ttft=0.4),
               Sample(at=99.0, requests=1), Sample(at=50.0, requests=99)]  # fmt: skip
    assert sparkline.rate(samples, 100, 20, 10, lambda sample: sample.requests) == [0.0, 0.7]
    first = sparkline.mean(samples, 100, 20, 10, lambda sample: sample.ttft)
    assert first[0] is None
    assert first[1] is not None
    assert abs(first[1] - 0.3) < 1e-9


def test_spark_has_a_label() -> None:
    html = sparkline.spark([0, 1, None, 2, 3, None, 1], "a <name>")
    (svg, attrs), *_ = Page(html).elements
    assert (svg, attrs["role"], attrs["aria-label"]) == ("svg", "img", "a <name>")
    assert html.count("bz-dot") == 1, "a point alone is a dot"
    assert "bz-still" in sparkline.spark([0, 0, None], "nothing")
    assert "bz-still" in sparkline.spark([], "nothing")
