"""The table of the panel: its rows, their changes, and the snapshot that is saved in the notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from markupsafe import Markup

from byzer_magic.i18n import gettext as _, localized, ngettext
from byzer_magic.rendering import amounts
from byzer_magic.rendering.deployments import cells as stat_cells, controls, sparkline
from byzer_magic.rendering.deployments.cells import COLUMNS, Cells
from byzer_magic.rendering.deployments.history import History
from byzer_magic.rendering.markup import join, style, tag
from byzer_magic.rendering.tables import Cell, to_text
from byzer_magic.stat import Fleet, ModelStat, Sample

LISTED = 128
"""Workers that a snapshot lists; more are left out."""
FILTERED = 8
"""Deployments; with more, the panel has a filter."""
TEN_MINUTES = 600
STYLES = ("table.css", "panel.css")
STEP = 10
"""Seconds per point in the plots of ten minutes."""
LEFT = ("slots", "rate")
"""Columns aligned to the left, beside the first; the others are numbers."""
NOTES = {"!": "bz-failed", "^": "bz-full", "+": "bz-scaling"}
"""Notes below a deployment that its snapshot has, too, and their classes."""


@dataclass(frozen=True)
class View:
    """The panel at one moment: cells by the key of their row, in order.

    A key is an alias, or an alias, `/`, and what belongs to it: a worker's index, `!` for an error, `^` for a pool that
    fills its core, `~` for plots, `>` and an alias for a deployment to which a route sends requests.
    """

    rows: dict[str, Cells] = field(default_factory=dict)
    summary: str = ""
    error: str = ""


def view(
    found: Fleet,
    histories: Mapping[str, History],
    opened: Iterable[str],
    clocks: tuple[float, float],
    endpoint: str = "",
) -> View:
    """Return the panel at this moment; only opened deployments have rows for their workers.

    Args:
        found: the deployments, as last reported.
        histories: their last minutes, by alias.
        opened: aliases whose workers are shown.
        clocks: now, by time.time() and by time.monotonic().
        endpoint: where the cluster serves them over HTTP; empty where it does not.
    """
    rows: dict[str, Cells] = {}
    wanted = set(opened)
    at, now = clocks
    for alias, followed in sorted(found.models.items()):
        stat = followed.stat
        past = histories.get(alias) or History()
        rate = past.once("minute", partial(stat_cells.minute, past.last(stat_cells.MINUTE), at))
        rows[alias] = stat_cells.model_cells(stat, rate, now - followed.seen)
        if stat.error:
            rows[f"{alias}/!"] = {"note": stat_cells.plain(_("loading failed: {why}", why=stat.error))}
        if full := stat_cells.full(stat):
            rows[f"{alias}/^"] = {"note": stat_cells.plain(full)}
        if scaling := stat_cells.scaling(stat):
            rows[f"{alias}/+"] = {"note": stat_cells.plain(scaling)}
        if alias in wanted:
            rows[f"{alias}/~"] = {"note": past.once("plots", partial(plots, past.samples, at))}
            rows |= {f"{alias}/>{arm.alias}": stat_cells.arm_cells(arm) for arm in stat.arms}
            rows |= {f"{alias}/{worker.index}": stat_cells.worker_cells(worker) for worker in stat.workers}
    parts = [
        summary([followed.stat for followed in found.models.values()]),
        _("endpoint {url}", url=endpoint) if endpoint else "",
    ]
    return View(rows, " · ".join(filter(None, parts)), localized(found.error))


def summary(stats: Sequence[ModelStat]) -> str:
    """Return the line over the table."""
    if not stats:
        return _("Nothing is deployed.")
    busy = sum(worker.limit - worker.free for stat in stats for worker in stat.workers)
    slots = sum(worker.limit for stat in stats for worker in stat.workers)
    waiting = sum(stat.queued for stat in stats)
    states = [stat_cells.state_of(stat, 0.0).kind for stat in stats]
    asleep = states.count("asleep")
    ailing = len(states) - asleep - states.count("up")
    costs: dict[str, float] = {}
    for stat in stats:
        if stat.cost is not None:
            costs[stat.currency] = costs.get(stat.currency, 0.0) + stat.cost
    parts = [
        ngettext("{count} deployment", "{count} deployments", count=len(stats)),
        _("{count} not up", count=ailing) if ailing else "",
        _("{count} asleep", count=asleep) if asleep else "",
        _("{busy}/{slots} slots busy", busy=f"{busy:,}", slots=f"{slots:,}"),
        _("{count} queued", count=waiting) if waiting else "",
        " + ".join(filter(None, (amounts.money(cost, currency) for currency, cost in sorted(costs.items())))),
    ]
    return " · ".join(filter(None, parts))


def plots(samples: Iterable[Sample], at: float) -> Cell:
    """Return the last ten minutes of a deployment: requests, speed, time to first token."""
    known = list(samples)
    end = int(at)
    requests = sparkline.rate(known, end, TEN_MINUTES, STEP, lambda sample: sample.requests)
    tokens = sparkline.rate(known, end, TEN_MINUTES, STEP, lambda sample: sample.tokens)
    wait = sparkline.mean(known, end, TEN_MINUTES, STEP, lambda sample: sample.ttft)
    plots = [
        _plot(_("Requests/s"), requests, ""),
        _plot(_("Tokens/s, total"), tokens, ""),
        _plot(_("TTFT"), wait, _("s")),
    ]
    return Cell("", tag("div", *plots, class_="bz-plots"))


def _plot(name: str, values: sparkline.Series, unit: str) -> Markup:
    known = [value for value in values if value is not None] or [0.0]
    high, last = (f"{value:.2f} {unit}" if unit else stat_cells.figure(value) for value in (max(known), known[-1]))
    period = _("last 10 min")
    plotted = _("{name}, {period}", name=name, period=period)
    label = _("{name}: now {now}, peak {high}", name=plotted, now=last, high=high)
    caption = tag("figcaption", f"{name} ", tag("span", period), tag("b", last))
    return tag("figure", caption, sparkline.spark(values, label))


def row(key: str, cells: Cells, *, live: bool, opened: bool = False) -> Markup:
    """Return a row.

    Args:
        key: see `View`.
        cells: by column; a note has one cell `note`.
        live: add buttons, and names that let the page update each cell.
        opened: the row's workers are shown.
    """
    alias, _slash, part = key.partition("/")
    names = {name: name if live else None for name in cells}
    if "note" in cells:
        kind = NOTES.get(part, "bz-plots-row")
        content = [tag("td", cells["note"].html, colspan=len(COLUMNS) + live, data_cell=names["note"])]
    else:
        kind = "bz-worker" if part else "bz-model"
        expander = controls.expander(alias, opened=opened) if live and not part else ""
        name = tag("span", cells["model"].html, data_cell=names["model"])
        content = [tag("th", expander, name, scope="row")]
        content += [tag("td", cells[name].html, class_=_align(name), data_cell=names[name]) for name in COLUMNS[1:]]
        content += [tag("td", controls.row_buttons(alias, part), class_="bz-acts")] if live else []
    group = {"data_group": alias, "data_key": key} if live else {}
    return tag("tr", *content, class_=kind, **group)


def _align(name: str) -> str | None:
    return None if name in (COLUMNS[0], *LEFT) else "bz-number"


def difference(before: View | None, now: View) -> dict[str, Any]:
    """Return the update for a page that shows `before`: new rows complete, of others the cells that changed."""
    update: dict[str, Any] = {}
    known = before.rows if before else {}
    if before is None or list(known) != list(now.rows):
        update["order"] = list(now.rows)
        update["rows"] = {key: row(key, cells, live=True) for key, cells in now.rows.items() if key not in known}
        update["many"] = sum("/" not in key for key in now.rows) > FILTERED
    cells = {key: _changed(known[key], cells) for key, cells in now.rows.items() if key in known}
    update["cells"] = {key: changed for key, changed in cells.items() if changed}
    if before is None or before.summary != now.summary:
        update["summary"] = now.summary
    if before is None or before.error != now.error:
        update["error"] = now.error
    return update


def _changed(before: Cells, now: Cells) -> dict[str, str]:
    return {name: cell.html for name, cell in now.items() if name not in before or before[name].html != cell.html}


def table(body: Markup, *, live: bool) -> Markup:
    """Return the table around rows."""
    heads = [_heading(name) for name in COLUMNS]
    if live:
        hidden = tag("span", _("Actions"), class_="bz-hidden")
        heads.append(tag("th", hidden, scope="col", class_="bz-acts"))
    return tag("table", tag("thead", tag("tr", *heads)), tag("tbody", body), class_="bz-table")


def _heading(name: str) -> Markup:
    title = localized(stat_cells.EXPLANATIONS.get(name))
    return tag("th", stat_cells.heading(name), scope="col", class_=_align(name), title=title)


def frame() -> Markup:
    """Return the live panel before its first rows."""
    return controls.frame(table(Markup(), live=True))


def snapshot(shown: View, stats: Sequence[ModelStat], clock: str) -> tuple[Markup, str]:
    """Return the snapshot for the saved notebook, as HTML and as text.

    Args:
        shown: the panel.
        stats: the deployments, whose workers are listed folded away.
        clock: the time of the snapshot, in readable form.
    """
    rows = {key: cells for key, cells in shown.rows.items() if key.partition("/")[2] in ("", *NOTES)}
    body = join(row(key, cells, live=False) for key, cells in rows.items())
    line = " · ".join(filter(None, (shown.summary, _("as of {time}", time=clock))))
    page = [
        tag("div", tag("span", line, class_="bz-summary"), class_="bz-head"),
        tag("p", shown.error, class_="bz-alarm") if shown.error else "",
        tag("div", table(body, live=False), class_="bz-scroll", tabindex=0) if body else "",
        _workers(stats),
    ]
    plain = [
        {stat_cells.heading(name): cells[name] for name in COLUMNS if name != "rate"}
        for cells in rows.values()
        if "model" in cells
    ]
    notes = [
        _("{label}: {text}", label=key.partition("/")[0], text=cells["note"])
        for key, cells in rows.items()
        if "note" in cells
    ]
    text = "\n".join(filter(None, [to_text(plain, ""), *notes, shown.error, line]))
    return tag("div", *page, class_="bz-panel bz-snapshot bz-still"), text


def _workers(stats: Sequence[ModelStat]) -> Markup:
    """Return all workers, folded away."""
    total = sum(len(stat.workers) for stat in stats)
    if not 1 < total <= LISTED:
        return Markup()
    body = join(
        row(f"{stat.model}/{worker.index}", stat_cells.worker_cells(worker, stat.model), live=False)
        for stat in stats
        for worker in stat.workers
    )
    title = ngettext("{count} worker", "{count} workers", count=total)
    return tag("details", tag("summary", title), table(body, live=False))


def styles() -> Markup:
    """Return the styles of panel and snapshot as HTML."""
    return style(*STYLES)
