"""The table of a grid: readable without a script, safe, and with everything in it."""

from __future__ import annotations

import json

import pytest

from byzer_magic.errors import BadRequest
from byzer_magic.i18n import using
from byzer_magic.rendering.answer import grid
from byzer_magic.rendering.answer.columns import Column
from byzer_magic.rendering.answer.grid import Row, Table
from byzer_magic.results import ChatResult
from byzer_magic.results.grid import Combination
from byzer_magic.results.metadata import Timings
from byzer_magic.results.ranking import Outcome, ranked
from byzer_magic.types import FromJournal, Usage
from tests.pages import Page

EVIL = "<img src=x onerror=alert(1)>"
LONG = "A **long** answer. " * 20


def done(text: str, model: str = "a", seconds: float = 1.5, cost: float = 0.002, journal: bool = False) -> Column:
    known = FromJournal(1, 0.0) if journal else None
    usage = Usage(7, 9, cost, "USD")
    result = ChatResult(model=model, text=text, usage=usage, timings=Timings(total=seconds), journal=known)
    return Column(alias=model, state="done", result=result)


def rows() -> list[Row]:
    failed = ChatResult(model="b", text="part", error=BadRequest(f"No {EVIL}"), interrupted=True)
    return [
        Row(asked=Combination({"who": EVIL}, {"temperature": 0.0}), columns=[done(LONG), done("Paris", "b", 0.25)]),
        Row(
            asked=Combination({"who": "Bob"}, {"temperature": 0.7}),
            columns=[done("x", journal=True), Column(alias="b", state="failed", result=failed)],
        ),
    ]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_table_has_all_answers_in_plain_html(lang: str) -> None:
    with using(lang):
        shown = Table("markdown", "k").bundle(rows(), "the note")
    page = Page(shown["text/html"])
    assert len(page.all("tr")) == 3
    assert [head["scope"] for head in page.all("th")[:4]] == ["col"] * 4
    assert "img" not in page.tags()
    assert len(page.all("details")) == 1, "long answers are folded, short ones shown"
    assert shown["text/html"].count("<strong>long</strong>") == 20
    assert page.text.index("the note") < page.text.index("Paris")
    if lang == "en":
        assert "1.50 s · $0.0020" in page.text
        assert "from the journal, saved $0.0020" in page.text
        assert "== b · who=Bob · temperature=0.7 ==\npart\nfailed: No <img" in shown["text/plain"]


def test_rows_have_what_they_are_sorted_by() -> None:
    page = Page(Table("markdown", "k").bundle(rows(), "")["text/html"])
    table = page.all("div", "bz-grid")[0]
    heads = json.loads(table["data-sorts"])
    assert heads == ["who", "temperature", "a: time", "a: cost", "b: time", "b: cost"]
    values = [json.loads(row["data-sort"]) for row in page.all("tr") if "data-sort" in row]
    assert values == [[EVIL, "0", 1.5, 0.002, 0.25, 0.002], ["Bob", "0.7", 1.5, 0.0, None, None]]


def test_table_while_it_is_asked_shows_ends_of_answers() -> None:
    column = Column(alias="a", state="answering", seconds=3.4, text=f"{LONG} now")
    waiting = Column(alias="b", state="waiting")
    shown = Table("markdown", "k").bundle([Row(asked=Combination(), columns=[column, waiting])], "note")
    page = Page(shown["text/html"])
    assert "answer. now" in page.text
    assert "◐ answering · 3 s" in page.text
    assert "○ waiting" in page.text
    assert not page.all("details")


def test_large_table_has_its_answers_at_the_end_only() -> None:
    full = [Row(asked=Combination({"n": number}), columns=[done(LONG)]) for number in range(grid.LIVE)]
    open_one = Row(asked=Combination({"n": -1}), columns=[Column(alias="a", state="waiting")])
    table = Table("markdown", "k")
    live = table.bundle([*full, open_one], "note")
    assert live["text/html"].count("<details") == 0
    assert live["text/plain"] == "note"
    over = table.bundle([*full, Row(asked=open_one.asked, columns=[done("x")])], "note")
    assert over["text/html"].count("<details") == grid.LIVE


def test_summary_says_what_a_tape_has_answered() -> None:
    result = ChatResult(model="a", text="x", journal=FromJournal(1, 0.0, replayed=True))
    column = Column(alias="a", state="done", result=result)
    assert "1 replayed" in grid.summary([Row(asked=Combination(), columns=[column])], 1.0)


def test_summary_counts_what_is_done_and_paid() -> None:
    assert (
        grid.summary(rows(), 4.2)
        == "3 of 4 answered · 1 failed · 1 from the journal · saved $0.0020 · $0.0040 · 4.20 s"
    )


def test_standings_are_rows_with_intervals() -> None:
    first, second = grid.standings(ranked("model", [Outcome("a", "b", 1.0)] * 5))
    assert (first["model"], first["wins"], second["losses"]) == ("a", 5, 5)
    assert str(first["95% interval"]).endswith("%")


@pytest.mark.parametrize(
    ("costs", "text"),
    [(({"USD": 0.5}, []), "9 requests · about $0.5000"), (({}, ["a", "b"]), "9 requests · price unknown: a, b")],
)
def test_estimate_is_one_line(costs: tuple[dict[str, float], list[str]], text: str) -> None:
    assert grid.estimate(9, 0, *costs) == text
    assert "3 from the journal" in grid.estimate(9, 3, *costs)
