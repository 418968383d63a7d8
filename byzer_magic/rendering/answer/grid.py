"""A grid of answers as one table: a row per combination, a column per model, and the rankings of a judge below."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from byzer_magic.i18n import gettext as _, listed, localized, ngettext
from byzer_magic.rendering import assets, footer
from byzer_magic.rendering.amounts import duration, money
from byzer_magic.rendering.answer import columns
from byzer_magic.rendering.answer.columns import SIGNS, Column
from byzer_magic.rendering.answer.view import View
from byzer_magic.rendering.markup import style, tag
from byzer_magic.rendering.media import base as media
from byzer_magic.results import ChatResult, Result
from byzer_magic.results.grid import Combination
from byzer_magic.results.ranking import Ranking
from byzer_magic.results.results import Displayed

PREVIEW = 120
"""Characters of an answer that are shown before it is opened."""
LIVE = 100
"""Cells of a table that can be opened while others are being asked; in a larger one, at the end."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row at one moment."""

    asked: Combination
    columns: Sequence[Column]
    """One per model."""


def value_text(value: Any) -> str:
    """Return a value of a variable or an option as it is shown.

    Example:
        >>> value_text(0.0), value_text("France")
        ('0', 'France')
    """
    return f"{value:g}" if isinstance(value, float) else str(value)


def values_of(asked: Combination, *, sampled: bool) -> dict[str, str]:
    """Return what a row is asked with, by the heads of the columns.

    Args:
        asked: the row's combination.
        sampled: whether each prompt is asked several times.
    """
    known = {name: value_text(value) for name, value in (*asked.variables.items(), *asked.options.items())}
    return known | ({_("sample"): str(asked.sample)} if sampled else {})


class Table:
    """Renders a growing grid repeatedly; an answer that is complete is rendered once.

    Args:
        style: how answers are shown, as in `--format`.
        key: tells what is open in this table from what is in others.
    """

    def __init__(self, style: str, key: str) -> None:
        self._style = style
        self._key = key
        self._done: dict[tuple[int, int], Markup] = {}

    def bundle(self, rows: Sequence[Row], note: str) -> dict[str, str]:
        """Return the table as a MIME bundle.

        Args:
            rows: in order.
            note: what is said above it.
        """
        over = all(column.result is not None for row in rows for column in row.columns)
        opens = over or sum(len(row.columns) for row in rows) <= LIVE
        sampled = any(row.asked.sample for row in rows)
        names = list(values_of(rows[0].asked, sampled=sampled))
        models = [column.alias for column in rows[0].columns]
        head = tag("tr", *(tag("th", name, scope="col") for name in (*names, *models)))
        body = (self._row(place, row, sampled=sampled, over=over, opens=opens) for place, row in enumerate(rows))
        shown = tag("table", tag("thead", head), tag("tbody", *body), class_="bz-table")
        script = tag("script", Markup(assets.read("grid.js")))  # noqa: S704 - our own file
        words = {"sort": _("Sort by"), "order": _("as asked"), "reverse": _("Reverse")}
        whole = tag(
            "div", tag("p", note, class_="bz-quiet", role="status"), tag("div", shown, class_="bz-scroll"), script,
            class_="bz-grid", data_key=self._key, data_words=json.dumps(words),
            data_sorts=json.dumps(_sorts(names, models)),
        )  # fmt: skip
        has_media = any(isinstance(column.result, Displayed) for row in rows for column in row.columns)
        styles = style("answer.css", "table.css", "columns.css", "footer.css", "grid.css")
        return {
            "text/html": str(styles + (media.output(whole) if has_media else whole)),
            "text/plain": "\n\n".join([note, *(plain(row, column) for row in rows for column in row.columns)])
            if opens
            else note,
        }

    def _row(self, place: int, row: Row, *, sampled: bool, over: bool, opens: bool) -> Markup:
        values = values_of(row.asked, sampled=sampled).values()
        cells = (
            self._cell((place, number), column, over=over, opens=opens) for number, column in enumerate(row.columns)
        )
        return tag(
            "tr", *(tag("th", value, scope="row", class_="bz-wrap") for value in values), *cells,
            data_sort=json.dumps([*values, *_measured(row.columns)]),
        )  # fmt: skip

    def _cell(self, place: tuple[int, int], column: Column, *, over: bool, opens: bool) -> Markup:
        if (known := self._done.get(place)) is not None:
            return known
        made = self._made(place, column, over=over, opens=opens)
        if opens and isinstance(column.result, ChatResult):
            self._done[place] = made
        return made

    def _made(self, place: tuple[int, int], column: Column, *, over: bool, opens: bool) -> Markup:
        text = self._answer(place, column, over=over) if opens and _has_answer(column) else tag("div", _preview(column))
        error = tag("div", column.error.localized(), class_="bz-error", role="note") if column.error else ""
        state = tag("div", _state(column), class_="bz-footer")
        return tag("td", error, text, state, class_=f"bz-wrap bz-{column.state}")

    def _answer(self, place: tuple[int, int], column: Column, *, over: bool) -> Markup:
        """Return a complete answer: folded, unless it is short."""
        name, preview = f"{place[0]}-{place[1]}", _preview(column)
        answer = columns.shown(column, View(self._style, key=f"{self._key}-{name}"), over=over)
        if (
            isinstance(column.result, ChatResult)
            and preview == column.result.text.strip()
            and not column.result.reasoning
        ):
            return answer
        figures = tag("p", columns.footer_of(column), class_="bz-footer")
        body = tag("div", answer, figures, class_="bz-body")
        return tag("details", tag("summary", tag("span", preview)), body, data_cell=name)


def plain(row: Row, column: Column) -> str:
    """Return one cell as text under a heading."""
    values = (f"{name}={value}" for name, value in values_of(row.asked, sampled=bool(row.asked.sample)).items())
    lines = columns.plain(column).split("\n")
    return "\n".join([f"== {' · '.join([column.alias, *values])} ==", *lines[1:]])


def _preview(column: Column) -> str:
    """Return the beginning of an answer in one line; while it is arriving, its end."""
    result = column.result
    text = " ".join((column.text if result is None else "" if _is_empty(result) else str(result)).split())
    if len(text) <= PREVIEW:
        return text
    return f"… {text[-PREVIEW:]}" if result is None else f"{text[:PREVIEW].rstrip()} …"


def _has_answer(column: Column) -> bool:
    return column.result is not None and not _is_empty(column.result)


def _is_empty(result: Result) -> bool:
    """Return whether nothing has arrived."""
    return isinstance(result, ChatResult) and not (result.text or result.reasoning or result.tool_calls)


def _state(column: Column) -> str:
    """Return the line under an answer: its time and cost, or what it is doing."""
    result = column.result
    state = f"{SIGNS[column.state]} {columns.state_text(column.state)}"
    if result is None:
        return f"{state} · {column.seconds:.0f} s" if column.state == "answering" else state
    if result.error or result.interrupted:
        return state
    saved = footer.from_journal(result)
    parts = [saved] if saved else [f"{result.timings.total:.2f} s", money(result.cost, result.currency)]
    return " · ".join(filter(None, [*parts, footer.warning(result)]))


def _sorts(names: Sequence[str], models: Sequence[str]) -> list[str]:
    """Return by what the rows can be sorted."""
    measured = [text for model in models for text in (_("{model}: time", model=model), _("{model}: cost", model=model))]
    return [*names, *measured]


def _measured(row: Sequence[Column]) -> list[float | None]:
    """Return the time and the cost of each answer, as far as it is complete."""
    results = (column.result if column.state == "done" else None for column in row)
    return [value for result in results for value in ((result.timings.total, result.cost) if result else (None, None))]


# ---- rankings


def standings(ranking: Ranking) -> list[dict[str, object]]:
    """Return a ranking as the rows of a table."""
    head = _("model") if ranking.by == "model" else _("options")
    return [
        {
            _("rank"): item.rank,
            head: item.name,
            _("win rate"): f"{item.win_rate:.0%}",
            _("95% interval"): f"{item.low:.0%} – {item.high:.0%}",
            _("wins"): item.wins,
            _("ties"): item.ties,
            _("losses"): item.losses,
        }
        for item in ranking.standings
    ]


# ---- what is said above a table


def summary(rows: Sequence[Row], seconds: float) -> str:
    """Return how far a grid is, and what it has cost: the line above its table."""
    cells = [column for row in rows for column in row.columns]
    results = [column.result for column in cells if column.result is not None]
    done = sum(column.state == "done" for column in cells)
    failed = sum(column.state == "failed" for column in cells)
    stopped = sum(column.state == "stopped" for column in cells)
    known = [result for result in results if result.journal is not None]
    replayed = [result for result in known if result.journal is not None and result.journal.replayed]
    parts = [_("{done} of {count} answered", done=done, count=len(cells))]
    parts += [_("{count} failed", count=failed)] if failed else []
    parts += [_("{count} stopped", count=stopped)] if stopped else []
    if replayed:  # a tape answers all or nothing
        parts.append(_("{count} replayed", count=len(replayed)))
    elif known:
        parts.append(_("{count} from the journal", count=len(known)))
        parts += [
            _("saved {cost}", cost=cost) for cost in [amounts([(item.saved, item.currency) for item in known])] if cost
        ]
    parts += filter(None, [amounts([(item.cost, item.currency) for item in results]), duration(seconds)])
    return " · ".join(map(str, map(localized, parts)))


def amounts(costs: Sequence[tuple[float | None, str]]) -> str:
    """Return the sum of costs, each currency by itself; empty where none is known.

    Example:
        >>> amounts([(0.5, "USD"), (0.25, "USD"), (None, ""), (3.0, "CNY")])
        '$0.7500 + ¥3.00'
    """
    sums: dict[str, float] = {}
    for cost, currency in costs:
        if cost is not None and currency:
            sums[currency] = sums.get(currency, 0.0) + cost
    return " + ".join(money(cost, currency) for currency, cost in sums.items())


def estimate(requests: int, known: int, costs: Mapping[str, float], unpriced: Sequence[str]) -> str:
    """Return what a grid would take, as one line.

    Args:
        requests: in all.
        known: those that the journal answers.
        costs: by currency.
        unpriced: the deployments whose price is unknown.
    """
    parts = [ngettext("{count} request", "{count} requests", count=requests)]
    parts += [_("{count} from the journal", count=known)] if known else []
    if cost := amounts([(value, currency) for currency, value in costs.items()]):
        parts.append(_("about {cost}", cost=cost))
    if unpriced:
        parts.append(_("price unknown: {names}", names=listed(unpriced)))
    return " · ".join(parts)
