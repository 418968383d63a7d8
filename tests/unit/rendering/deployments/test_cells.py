"""Cells of the panel, its snapshot and `stat`."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from byzer_magic.i18n import using
from byzer_magic.rendering import tables
from byzer_magic.rendering.deployments import cells as stat_cells
from tests.fleets import ill, model, steady, worker
from tests.pages import Page

NO_RATE = stat_cells.plain("")


@pytest.mark.parametrize(
    ("healths", "failure", "age", "kind", "text"),
    [
        (("up", "up"), "", 0.0, "up", "up"),
        (("up", "down"), "", 0.0, "part", "1 of 2 up"),
        (("up", "drained"), "", 0.0, "part", "1 of 2 up"),
        (("loading", "loading"), "", 0.0, "loading", "loading"),
        (("loading", "down"), "", 0.0, "loading", "loading"),
        (("drained", "drained"), "", 0.0, "drained", "drained"),
        (("down", "down"), "", 0.0, "down", "down"),
        (("loading", "loading"), "no memory", 0.0, "down", "down"),
        (("up", "up"), "", 3.5, "stale", "no update for 4 s"),
        (("down", "down"), "", 700.0, "stale", "no update for 12 min"),
    ],
)
def test_state_of_deployments(healths: tuple[str, ...], failure: str, age: float, kind: str, text: str) -> None:
    stat = ill(model(error=failure), *healths)
    assert stat_cells.state_of(stat, age) == (kind, text)


def test_state_of_deployment_without_workers_is_loading() -> None:
    assert stat_cells.state_of(model(workers=0), 0.0).kind == "loading"


def test_model_cells_has_every_column() -> None:
    stat = model(workers=3, busy=1, queued=7)
    cells = stat_cells.model_cells(stat, NO_RATE, 0.0)
    assert tuple(cells) == stat_cells.COLUMNS
    assert [str(cells[name]) for name in ("model", "slots", "queue", "requests", "errors")] == [
        "m",
        "3/12",
        "7",
        "30",
        "0",
    ]
    assert [str(cells[name]) for name in ("speed", "first", "last", "cpu", "cost")] == [
        "52",
        "0.21 / 12 s",
        "5 s",
        "12%",
        "$1.50",
    ]


def test_model_cells_are_empty_where_nothing_is_known() -> None:
    stat = model(ttft_p50=None, ttft_p99=None, tokens_per_second=None, cost=None, currency="", pool_cpu=None)
    cells = stat_cells.model_cells(stat, NO_RATE, 0.0)
    assert [str(cells[name]) for name in ("speed", "first", "cpu", "cost")] == ["", "", "", ""]
    assert stat_cells.full(stat) == ""


@pytest.mark.parametrize(("share", "full"), [(0.0, False), (0.84, False), (0.85, True), (1.0, True)])
def test_pool_that_fills_its_core_is_marked_and_explained(share: float, *, full: bool) -> None:
    stat = model(pool_cpu=share)
    shown = f"{share:.0%}"
    assert stat_cells.cpu(stat) == shown
    assert ("bz-bad" in stat_cells.cpu(stat).html) == full
    assert (f"uses {shown} of a CPU core" in stat_cells.full(stat)) == full
    assert ("second alias" in stat_cells.full(stat)) == full


def test_workers_have_their_limits_where_they_scale() -> None:
    rows = stat_cells.stat_rows([model(min_workers=0, max_workers=4), model()])
    assert [str(row["Workers"]) for row in rows] == ["2/2 (0-4)", "2/2"]
    assert stat_cells.scaling(model()) == ""


def test_workers_have_their_nodes_where_there_are_several() -> None:
    apart = [worker(index, pid=9, node=f"10.0.0.{index}") for index in range(2)]
    spread, alone = model(placement="spread"), model(node="10.0.0.7")
    spread = replace(spread, workers=apart)
    rows = stat_cells.stat_rows([spread, replace(spread, placement=""), alone])
    assert [str(row["Workers"]) for row in rows] == ["2/2 (2 nodes, spread)", "2/2 (2 nodes)", "2/2"]
    assert "process 9 on 10.0.0.1" in stat_cells.worker_cells(apart[1])["model"].html


def test_full_pool_is_explained_in_chinese() -> None:
    with using("zh"):
        text = stat_cells.full(model(pool_cpu=0.97))
        assert "97%" in text
        assert "第二个别名" in text
        assert stat_cells.heading("cpu") == "CPU"


def test_model_cells_escape_names() -> None:
    stat = model("<b>x", title='"><script>', kind="saas/<i>")
    cells = stat_cells.model_cells(stat, NO_RATE, 0.0)
    page = Page(cells["model"].html)
    assert {tag for tag, _ in page.elements} == {"span"}
    assert "<b>x" in page.text


def test_slots_are_squares_then_a_bar() -> None:
    assert stat_cells.slots(3, 8).html.count('class="bz-on"') == 3
    assert stat_cells.slots(3, 8).html.count("<i ") == 8
    many = stat_cells.slots(50, 200)
    assert "<i " not in many.html
    assert "width:25%" in many.html
    assert many == "50/200"
    assert "0/0" in stat_cells.slots(0, 0).html


def test_count_marks_errors_and_zero() -> None:
    assert "bz-bad" in stat_cells.count(3, bad=True).html
    assert "bz-zero" in stat_cells.count(0, bad=True).html
    assert stat_cells.count(1234567).html == "1,234,567"


def test_worker_cells_without_requests() -> None:
    assert stat_cells.worker_cells(worker(requests=0))["last"] == "never"
    assert stat_cells.worker_cells(worker(idle_seconds=0.2))["last"] == "now"
    assert stat_cells.worker_cells(worker(2), "m")["model"] == "m worker 2"
    assert "drained" in stat_cells.worker_cells(worker(health="drained"))["model"]


def test_minute_is_a_rate_and_a_sparkline() -> None:
    cell = stat_cells.minute(steady(1000.0, 60), 1000.0)
    assert cell == "2.0/s"
    assert Page(cell.html).elements[0][0] == "svg"
    assert "peak 2.0" in cell.html


def test_stat_rows_are_the_cells_of_the_panel() -> None:
    rows = stat_cells.stat_rows([model(), ill(model("n"), "down", "down")])
    page = Page(tables.to_html(rows, "none"))
    assert "bz-squares" in tables.to_html(rows, "none")
    assert "down" in page.text
    lines = tables.to_text(rows, "none").splitlines()
    assert lines[0].split()[:4] == ["Model", "Type", "Capabilities", "Workers"]
    assert "saas/openai" in lines[1]
    assert "$1.50" in lines[1]
    assert lines[2].startswith("n (down)")
