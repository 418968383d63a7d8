"""The figure of `plot`."""

from __future__ import annotations

import msgspec
import pytest

from byzer_magic.rendering.deployments import figure
from byzer_magic.stat import Sample
from tests.fleets import steady
from tests.pages import Page

NOW = 1_800_000_000.0


def made(samples, minutes=10.0, currency="USD"):
    shown = figure.window(minutes, NOW)
    return shown, figure.plots(samples, shown, currency)


def test_plots_have_their_values() -> None:
    _, plots = made(steady(NOW))
    values = {plot.name: plot.known for plot in plots}
    assert values["Time to first token, s"][0] == pytest.approx(0.2)
    assert values["Total time, s"][0] == pytest.approx(1.5)
    assert values["Requests/s"][5] == pytest.approx(2)
    assert values["Tokens/s"][5] == pytest.approx(40)
    assert values["Busy slots"][5] == 2
    assert values["CPU, % of a core"][5] == pytest.approx(40)
    assert values["Cost, $"][-1] == pytest.approx(0.6, rel=0.01), "it adds up"


def test_plots_have_cpu_only_of_pools_that_report_it() -> None:
    older = [msgspec.structs.replace(sample, pool_cpu=None) for sample in steady(NOW)]
    assert "CPU, % of a core" not in {plot.name for plot in made(older)[1]}
    mixed = [*older[:-9], Sample(at=NOW - 3, pool_cpu=1.0)]
    assert made(mixed)[1][5].known == [100.0], "a gap where nothing is known, not zero"


def test_plots_have_a_cost_only_with_a_price() -> None:
    free = [Sample(at=NOW - 5, requests=1)]
    assert "Cost, $" not in {plot.name for plot in made(free)[1]}
    assert len(made(steady(NOW), currency="")[1]) == 6


@pytest.mark.parametrize(("minutes", "points"), [(10, 120), (1, 60), (0.1, 6), (3, 90)])
def test_window_has_a_readable_number_of_points(minutes: float, points: int) -> None:
    shown, plots = made(steady(NOW), minutes)
    assert len(plots[0].values) == points
    assert shown.seconds >= minutes * 60


@pytest.mark.parametrize("high", [0.0, 0.0003, 0.07, 0.9, 1, 3, 7.2, 99, 1234, 5e6])
def test_ticks_are_round_and_reach_the_maximum(high: float) -> None:
    marks = figure.ticks(high)
    assert marks[0] == 0
    assert marks[-1] >= high
    assert 2 <= len(marks) <= 5
    assert len({figure.number(mark) for mark in marks}) == len(marks)
    assert all(len(figure.number(mark)) <= 7 for mark in marks)


def test_svg_lines_stay_within_the_axes() -> None:
    shown, plots = made(steady(NOW))
    for plot in plots:
        page = Page(figure.svg(plot, shown))
        svg = page.elements[0][1]
        assert svg["role"] == "img"
        assert plot.name in svg["aria-label"]
    assert figure.height(0.0, 4.0) == figure.HEIGHT - figure.BOTTOM
    assert figure.height(4.0, 4.0) == figure.TOP


def test_svg_has_gaps_and_dots() -> None:
    samples = [Sample(at=NOW - 100, ttft=0.3, requests=1), Sample(at=NOW - 20, ttft=0.3, requests=1)]
    shown, plots = made(samples)
    html = figure.svg(plots[0], shown)
    assert "bz-dot" in html
    assert html.count("h.01") == 2


def test_svg_has_a_line_of_errors_only_where_there_are_some() -> None:
    assert figure.without_zeros([0, 0, 1, 0, 0, 0]) == [None, 0, 1, 0, None, None]
    shown, plots = made(steady(NOW))
    assert "bz-second" not in figure.svg(plots[2], shown)
    broken = [*steady(NOW), Sample(at=NOW - 9, errors=3)]
    assert "bz-second" in figure.svg(made(broken)[1][2], shown)


def test_svg_without_data_has_a_note() -> None:
    shown, plots = made([Sample(at=NOW - 3, requests=1)])
    assert "no data" in figure.svg(plots[0], shown)


def test_page_and_text_have_all_plots() -> None:
    shown, plots = made(steady(NOW))
    page = Page(figure.page("m <1>", "2 requests", plots, shown))
    assert "m <1>" in page.text
    assert [tag for tag, _ in page.elements].count("svg") == 7
    text = figure.text("m", "2 requests", plots)
    assert text.splitlines()[:2] == ["m", "2 requests"]
    assert any(line.startswith("Requests/s ") and "█" in line for line in text.splitlines())
    assert max(map(len, text.splitlines())) < 100


def test_blocks_of_a_series() -> None:
    assert figure.blocks([0, 1, 2, None]) == "▁▅█ "
    assert figure.blocks([0, 0]) == "▁▁"
    assert len(figure.blocks([1.0] * 120)) == figure.LETTERS
