"""The panel's rows, how they change, and its snapshot."""

from __future__ import annotations

import json
import time

import msgspec
import pytest

from byzer_magic.rendering.deployments import table
from byzer_magic.rendering.deployments.cells import COLUMNS
from byzer_magic.rendering.deployments.history import History
from byzer_magic.stat import ArmStat, Fleet, Followed
from tests.fleets import fleet, ill, model, steady
from tests.pages import Page


def seen(found, opened=(), at=None, histories=None):
    return table.view(found, histories or {}, opened, (at or time.time(), time.monotonic()))


def test_view_has_workers_of_opened_deployments_only() -> None:
    found = fleet(model("a", workers=100), model("b", workers=3))
    assert list(seen(found).rows) == ["a", "b"]
    assert list(seen(found, {"b", "nobody"}).rows) == ["a", "b", "b/~", "b/0", "b/1", "b/2"]


def test_view_has_the_deployments_of_an_opened_route() -> None:
    arms = [ArmStat("a", 0.9, requests=9), ArmStat("b", 0.1, requests=3, errors=3, paused_seconds=8.0)]
    shown = seen(fleet(model("ab", arms=arms)), {"ab"})
    assert list(shown.rows) == ["ab", "ab/~", "ab/>a", "ab/>b", "ab/0", "ab/1"]
    assert "left out: tried again in 8 s" in str(shown.rows["ab/>b"]["model"])
    row = table.row("ab/>a", shown.rows["ab/>a"], live=True)
    assert "90%" in row
    assert "<button" not in row, "there is nothing to do to it here"


def test_view_has_an_error_below_its_row() -> None:
    shown = seen(fleet(ill(model("a", error="no <memory>"), "down", "down")))
    assert list(shown.rows) == ["a", "a/!"]
    assert "no &lt;memory&gt;" in table.row("a/!", shown.rows["a/!"], live=True)


def test_view_and_snapshot_explain_a_full_pool_below_its_row() -> None:
    found = fleet(model("a", pool_cpu=0.91), model("b"))
    shown = seen(found)
    assert list(shown.rows) == ["a", "a/^", "b"]
    assert "bz-full" in table.row("a/^", shown.rows["a/^"], live=True)
    html, text = table.snapshot(shown, [each.stat for each in found.models.values()], "now")
    assert "bz-full" in html
    assert "a: The deployment's process uses 91% of a CPU core" in text
    calm = table.difference(shown, seen(fleet(model("a"), model("b"))))
    assert calm["order"] == ["a", "b"], "the note goes when the load does"


def test_view_says_between_which_numbers_of_workers_a_deployment_scales_and_why() -> None:
    why = "from 1 to 2: 3 requests were waiting"
    shown = seen(fleet(model("a", min_workers=1, max_workers=4, scaled=why), model("b")))
    assert list(shown.rows) == ["a", "a/+", "b"]
    assert str(shown.rows["a/+"]["note"]) == f"2 workers (limits 1-4): {why}"
    assert f"a: 2 workers (limits 1-4): {why}" in table.snapshot(shown, [], "now")[1]


def test_row_says_whether_its_model_can_sleep_sleeps_or_wakes_and_why() -> None:
    awake = model("a", local=True)
    asleep = ill(model("b", local=True, note="no requests for 10m"), "asleep", "asleep")
    waking = ill(model("c", local=True, waking=True, note="waiting for resources used by a"), "asleep", "asleep")
    shown = seen(fleet(awake, asleep, waking, model("d")))
    rows = {key: table.row(key, cells, live=True) for key, cells in shown.rows.items()}
    assert ["data-local" in rows[key] for key in "abcd"] == [True, True, True, False]
    assert "bz-sign bz-asleep" in rows["b"]
    assert "asleep: no requests for 10m" in rows["b"]
    assert "bz-sign bz-waking" in rows["c"]
    assert "waking: waiting for resources used by a" in rows["c"]
    assert "1 not up · 1 asleep" in shown.summary
    text = table.snapshot(shown, [], "now")[1]
    assert "b (asleep: no requests for 10m)" in text


def test_view_names_the_endpoint_of_the_cluster() -> None:
    found, now = fleet(model("a")), (time.time(), time.monotonic())
    shown = table.view(found, {}, (), now, "http://127.0.0.1:8000")
    assert shown.summary.endswith("endpoint http://127.0.0.1:8000")
    assert "endpoint" not in table.view(found, {}, (), now).summary
    assert "http://127.0.0.1:8000" in table.snapshot(shown, [], "now")[1]


def test_summary_of_deployments() -> None:
    stats = [model("a"), model("b", cost=2.0, currency="CNY", queued=3), ill(model("c", cost=None), "down", "down")]
    line = table.summary(stats)
    assert line == "3 deployments · 1 not up · 6/24 slots busy · 3 queued · ¥2.00 + $1.50"
    assert table.summary([]) == "Nothing is deployed."


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize("key", ["a<b", "a<b/0", "a<b/~", "a<b/!", "a<b/^"])
def test_row_is_well_formed(key: str, *, live: bool) -> None:
    shown = seen(fleet(model("a<b", error="x", pool_cpu=1.0)), {"a<b"})
    html = table.row(key, shown.rows[key], live=live)
    page = Page(f"<table><tbody>{html}</tbody></table>")
    width = sum(int(attrs.get("colspan", 1)) for tag, attrs in page.elements if tag in ("td", "th"))
    assert width == len(COLUMNS) + live
    assert ("button" in {tag for tag, _ in page.elements}) == (live and key in ("a<b", "a<b/0"))


def test_row_buttons_name_action_and_alias() -> None:
    shown = seen(fleet(model("gpt")), {"gpt"})
    html = "".join(table.row(key, cells, live=True) for key, cells in shown.rows.items())
    labels = [attrs["aria-label"] for tag, attrs in Page(html).elements if tag == "button"]
    assert len(labels) == len(set(labels)) == 1 + 9 + 2 * 2
    assert all("gpt" in label for label in labels)


def test_difference_has_new_rows_and_changed_cells() -> None:
    one = seen(fleet(model("a"), model("b")), at=1000.0)
    first = table.difference(None, one)
    assert first["order"] == ["a", "b"]
    assert set(first["rows"]) == {"a", "b"}
    assert table.difference(one, one) == {"cells": {}}
    two = seen(fleet(model("a", queued=5), model("b")), at=1000.0)
    assert table.difference(one, two)["cells"] == {"a": {"queue": "5"}}
    three = seen(fleet(model("a"), model("b"), model("c")), at=1000.0)
    reported = table.difference(one, three)
    assert reported["order"] == ["a", "b", "c"]
    assert set(reported["rows"]) == {"c"}
    assert "3 deployments" in reported["summary"]
    gone = table.difference(three, seen(fleet(model("b"), error="No Ray."), at=1000.0))
    assert (gone["order"], gone["rows"], gone["error"]) == (["b"], {}, "No Ray.")


def test_difference_is_small_for_fifty_deployments_of_a_hundred_workers() -> None:
    models = [model(f"m{number:02}", workers=100) for number in range(50)]
    reported = table.difference(None, seen(fleet(*models)))
    assert reported["many"]
    assert len(json.dumps(reported)) < 50 * 6_000
    busier = [msgspec.structs.replace(each, queued=1) for each in models]
    small = table.difference(seen(fleet(*models), at=1000.0), seen(fleet(*busier), at=1000.0))
    assert len(json.dumps(small)) < 50 * 60


def test_frame_is_well_formed_and_labelled() -> None:
    page = Page(table.frame())
    fields = [attrs for tag, attrs in page.elements if tag == "input"]
    assert [field["type"] for field in fields] == ["search", "number"]
    assert "aria-label" in fields[0]
    trays = {attrs["data-tray"] for tag, attrs in page.elements if tag == "template"}
    assert trays == {"more", "scale", "drain", "undeploy", "logs", "line", "status"}


def test_snapshot_has_all_rows_and_no_controls() -> None:
    found = fleet(model("a"), ill(model("b", error="no memory"), "down", "down"), error="Ray does not respond.")
    stats = [each.stat for each in found.models.values()]
    html, text = table.snapshot(seen(found, {"a"}), stats, "2026-11-23 19:00:00")
    page = Page(html)
    names = [tag for tag, _ in page.elements]
    assert {"button", "input", "script", "template"}.isdisjoint(names)
    assert names.count("table") == 2, "the deployments, and the workers folded away"
    assert "as of 2026-11-23 19:00:00" in page.text
    assert "b worker 1" in page.text
    for part in (
        "a ",
        "b (down)",
        "b: loading failed: no memory",
        "Ray does not respond.",
        "as of 2026-11-23 19:00:00",
    ):
        assert part in text


def test_snapshot_does_not_list_very_many_workers() -> None:
    found = fleet(model("a", workers=200))
    html, _ = table.snapshot(seen(found), [found.models["a"].stat], "now")
    assert "<details>" not in html


def test_view_shows_the_age_of_stale_rows() -> None:
    now = time.monotonic()
    found = Fleet({"a": Followed(model("a"), now - 14)})
    shown = table.view(found, {}, (), (time.time(), now))
    assert "no update for 14 s" in shown.rows["a"]["model"].html


def test_view_renders_the_past_once_a_second() -> None:
    past = History()
    past.fill(steady(1000.0))
    found = fleet(model("a"))
    one = seen(found, {"a"}, 1000.2, {"a": past}).rows
    two = seen(found, {"a"}, 1000.7, {"a": past}).rows
    assert one["a"]["rate"] is two["a"]["rate"]
    assert one["a/~"]["note"] is two["a/~"]["note"]
    assert one["a/~"]["note"].html.count("<svg") == 3
