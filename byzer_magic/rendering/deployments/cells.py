"""Deployments and workers as cells of a table: the same in the live panel, in its snapshot and in `stat`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from byzer_magic.i18n import gettext as _, lazy_gettext as _l, listed, localized, ngettext
from byzer_magic.rendering.amounts import duration, money
from byzer_magic.rendering.deployments import limits, sparkline
from byzer_magic.rendering.markup import tag
from byzer_magic.rendering.tables import Cell
from byzer_magic.stat import ArmStat, ModelStat, Sample, WorkerStat

COLUMNS = (
    "model", "slots", "queue", "requests", "errors", "rate", "speed", "first", "last", "cpu", "cost",
)  # fmt: skip
"""In display order."""
STAT_COLUMNS = (
    "model", "type", "can", "workers", "slots", "queue", "requests", "errors", "speed", "first", "last", "cpu",
    "cost",
)  # fmt: skip
"""Columns of `stat`."""
LIST_COLUMNS = STAT_COLUMNS[:4]
"""Columns of `list`."""
SQUARES = 8
"""Slots that are shown as a square each; more are shown as a bar."""
STALE_SECONDS = 3.0
"""Seconds without an update after which a deployment is stale."""
MINUTE = 60
STEP = 2
"""Seconds per point in the sparkline of the last minute."""

Cells = dict[str, Cell]


HEADINGS = {
    "model": _l("Model"), "type": _l("Type"), "can": _l("Capabilities"), "workers": _l("Workers"),
    "slots": _l("Slots"), "queue": _l("Queue"), "requests": _l("Requests"), "errors": _l("Errors"),
    "rate": _l("Last 60 s"), "speed": _l("Tokens/s"), "first": _l("TTFT"), "last": _l("Last request"),
    "cpu": _l("CPU"), "cost": _l("Cost"),
}  # fmt: skip
EXPLANATIONS = {
    "slots": _l("Running requests / maximum concurrent requests"),
    "queue": _l("Requests waiting for a slot"),
    "rate": _l("Requests per second over the last minute"),
    "speed": _l("Tokens per second after the first token, mean of the last 512 answers"),
    "first": _l("Time to first token, p50 / p99 of the last 512 answers"),
    "last": _l("Time since a request was last sent to a worker"),
    "cpu": _l("CPU of the deployment's own process, in % of one core, mean of the last 5 s; engines not included"),
    "cost": _l("Total cost so far, where the price is known"),
}
"""Tooltips of headings."""
HEALTHS = {
    "up": _l("up"),
    "loading": _l("loading"),
    "down": _l("down"),
    "drained": _l("drained"),
    "asleep": _l("asleep"),
    "failing": _l("failing"),
    "trying": _l("being tried"),
    "hung": _l("hung, restarting"),
}
SIGNS = {"failing": "down", "trying": "part", "hung": "down"}
"""The signs of healths that have none of their own."""


def heading(name: str) -> str:
    """Return a column's heading in the active language."""
    return str(localized(HEADINGS[name]))


def health_text(health: str) -> str:
    """Return a worker's health in the active language."""
    return str(localized(HEALTHS[health]))


class State(NamedTuple):
    """The state of a deployment or a worker."""

    kind: str
    """up, part, loading, down, drained, asleep, waking or stale: the colour and shape of its sign."""
    text: str
    """Shown where it is not simply up."""


def state_of(stat: ModelStat, age: float) -> State:
    """Return the state of a deployment; without an update for a while it is stale.

    Args:
        stat: its counters.
        age: seconds since the last update.
    """
    if age > STALE_SECONDS:
        return State("stale", _("no update for {age}", age=ago(age)))
    healths = [worker.health for worker in stat.workers]
    up = healths.count("up")
    if up == len(healths) > 0:
        return State("up", _("up"))
    if up:
        return State("part", _("{up} of {count} up", up=up, count=len(healths)))
    if stat.waking:
        return State("waking", _("waking: {why}", why=localized(stat.note)) if stat.note else _("waking"))
    if "asleep" in healths:
        return State("asleep", _("asleep: {why}", why=localized(stat.note)) if stat.note else _("asleep"))
    if stat.error:
        return State("down", _("down"))
    if "loading" in healths or not healths:
        return State("loading", _("loading"))
    return State("drained", _("drained")) if "drained" in healths else State("down", _("down"))


def model_cells(stat: ModelStat, rate: Cell, age: float) -> Cells:
    """Return the row of a deployment.

    Args:
        stat: its counters.
        rate: the cell of its last minute.
        age: seconds since the last update.
    """
    busy = sum(worker.limit - worker.free for worker in stat.workers)
    idle = min((worker.idle_seconds for worker in stat.workers if worker.requests), default=None)
    return {
        "model": _name(stat.model, _about(stat), state_of(stat, age), len(stat.workers), local=stat.local),
        "slots": slots(busy, sum(worker.limit for worker in stat.workers)),
        "queue": right(bounded) if (bounded := limits.queue(stat)) else count(stat.queued),
        "requests": count(stat.requests),
        "errors": count(stat.errors, bad=True),
        "rate": rate,
        "speed": right("" if stat.tokens_per_second is None else figure(stat.tokens_per_second)),
        "first": right(ttft(stat)),
        "last": right(_("never") if idle is None else ago(idle)),
        "cpu": cpu(stat),
        "cost": right(money(stat.cost, stat.currency)),
    }


def worker_cells(worker: WorkerStat, model: str = "") -> Cells:
    """Return the row of a worker; columns of the deployment are empty.

    Args:
        worker: its counters.
        model: the alias, where the row is not below that of its deployment.
    """
    name = " ".join(filter(None, (model, _("worker {index}", index=worker.index))))
    health = worker.health if worker.health in HEALTHS else "down"
    process = _("process {pid}", pid=worker.pid) if worker.pid else ""
    if worker.pid and worker.node:
        process = _("process {pid} on {node}", pid=worker.pid, node=worker.node)
    cells = dict.fromkeys(COLUMNS, plain(""))
    cells |= {
        "model": _name(name, process, State(SIGNS.get(health, health), health_text(health))),
        "slots": slots(worker.limit - worker.free, worker.limit),
        "requests": count(worker.requests),
        "errors": count(worker.errors, bad=True),
        "last": right(ago(worker.idle_seconds) if worker.requests else _("never")),
    }
    return cells


def arm_cells(arm: ArmStat) -> Cells:
    """Return the row of a deployment to which a route sends requests; other columns are empty."""
    share = "" if arm.share is None else f"{arm.share:.0%}"
    name = Cell(f"→ {arm.alias}", tag("span", f"→ {arm.alias}", class_="bz-name"))
    if left := paused(arm):
        name = _name(f"→ {arm.alias}", share, State("down", left))
    elif share:
        name = _name(f"→ {arm.alias}", share, State("up", ""))
    cells = dict.fromkeys(COLUMNS, plain(""))
    return cells | {"model": name, "requests": count(arm.requests), "errors": count(arm.errors, bad=True)}


def paused(arm: ArmStat) -> str:
    """Return how long a deployment is left out of a route; empty while it is in use."""
    if arm.paused_seconds is None:
        return ""
    if not arm.paused_seconds:
        return _("left out: the next request tries it again")
    return _("left out: tried again in {seconds} s", seconds=f"{arm.paused_seconds:.0f}")


def arm_rows(stat: ModelStat) -> list[dict[str, Any]]:
    """Return the rows of a table of the deployments to which a route sends its requests."""
    return [
        {
            _("Deployment"): arm.alias,
            _("Share"): right("" if arm.share is None else f"{arm.share:.0%}"),
            heading("requests"): count(arm.requests),
            heading("errors"): count(arm.errors, bad=True),
            _("Skipped"): count(arm.skipped),
            _("State"): paused(arm),
        }
        for arm in stat.arms
    ]


def stat_rows(stats: Sequence[ModelStat], columns: Sequence[str] = STAT_COLUMNS) -> list[dict[str, Any]]:
    """Return the rows of a table of deployments: the panel's cells, without the history that only the panel has.

    Args:
        stats: the deployments, a row each.
        columns: names of `HEADINGS`, in order.
    """
    rows = []
    for stat in stats:
        cells = model_cells(stat, plain(""), 0.0)
        name = _name(stat.model, "", state_of(stat, 0.0))
        facts = {"model": name, "type": plain(stat.kind), "can": plain(" ".join(stat.capabilities))}
        facts["workers"] = right(_workers(stat))
        known = cells | facts
        rows.append({heading(name): known[name] for name in columns})
    return rows


def plain_rows(stats: Iterable[ModelStat]) -> list[dict[str, Any]]:
    """Return one row per deployment as plain data, for `list --json`: its keys are the same in every language."""
    return [
        {
            "model": stat.model,
            "type": stat.kind,
            "can": " ".join(stat.capabilities),
            "workers": f"{sum(worker.health == 'up' for worker in stat.workers)}/{len(stat.workers)} up",
            "nodes": " ".join(stat.nodes),
            "placement": stat.placement,
            "busy": f"{sum(worker.limit - worker.free for worker in stat.workers)}/{stat.slots}",
            "queued": stat.queued,
            "requests": stat.requests,
            "errors": stat.errors,
            "first token": duration(stat.ttft_p50),
            "tokens/s": f"{stat.tokens_per_second:.0f}" if stat.tokens_per_second else "",
            "last work": duration(min((worker.idle_seconds for worker in stat.workers), default=None)),
        }
        for stat in stats
    ]


def minute(samples: Iterable[Sample], now: float) -> Cell:
    """Return the requests of the last minute: requests per second now, and a sparkline.

    Args:
        samples: of the last minute at least.
        now: Unix time in seconds.
    """
    values = [value or 0.0 for value in sparkline.rate(samples, int(now), MINUTE, STEP, lambda sample: sample.requests)]
    latest, high = figure(sum(values[-3:]) / 3), figure(max(values))
    plot = sparkline.spark(
        values,
        _("{name}: now {now}, peak {high}", name=str(localized(EXPLANATIONS["rate"])), now=latest, high=high),
    )
    return Cell(f"{latest}/s", plot + tag("span", f"{latest}/s", class_="bz-of"))


def slots(busy: int, limit: int) -> Cell:
    """Return slots as filled squares or a bar, with the numbers beside them."""
    text = f"{busy:,}/{limit:,}"
    if 0 < limit <= SQUARES:
        slots = [tag("i", class_="bz-on" if place < busy else "bz-off") for place in range(limit)]
    else:
        slots = [tag("b", style=f"width:{100 * busy / limit if limit else 0:.0f}%")]
    kind = "bz-squares" if 0 < limit <= SQUARES else "bz-gauge"
    return Cell(text, tag("span", *slots, class_=kind, aria_hidden="true") + tag("span", text, class_="bz-of"))


def count(number: int, *, bad: bool = False) -> Cell:
    """Return a number; zero is quiet, and with `bad` other numbers are marked."""
    text = f"{number:,}"
    kind = "bz-zero" if not number else "bz-bad" if bad else ""
    return Cell(text, tag("span", text, class_=kind) if kind else text, number=True)


def cpu(stat: ModelStat) -> Cell:
    """Return the pool's share of a core, marked when it is full; pools of older versions do not report it."""
    text = "" if stat.pool_cpu is None else f"{stat.pool_cpu:.0%}"
    return Cell(text, tag("span", text, class_="bz-bad") if stat.is_full else text, number=True)


def full(stat: ModelStat) -> str:
    """Return what it means that a pool fills its core, and what to do; empty where it does not."""
    if not stat.is_full:
        return ""
    return _(
        "The deployment's process uses {share} of a CPU core and cannot take more requests per second, however many "
        "slots it has. Deploy the model under a second alias, and send part of the requests there.",
        share=str(cpu(stat)),
    )


def plain(text: str) -> Cell:
    """Return text as a cell."""
    return Cell(text, text)


def right(text: str) -> Cell:
    """Return a number with its unit as a cell."""
    return Cell(text, text, number=True)


def _about(stat: ModelStat) -> str:
    return " · ".join(filter(None, (stat.title, stat.kind, limits.text(stat), keys(stat))))


def keys(stat: ModelStat) -> str:
    """Return how many keys a deployment uses of several, and what is the matter with the others; empty without any."""
    if not stat.keys:
        return ""
    out = [key for key in stat.keys if key.state != "up"]
    count = _("{up} of {count} keys", up=len(stat.keys) - len(out), count=len(stat.keys))
    return str(localized(listed([count, *(key.text for key in out)])))


def _workers(stat: ModelStat) -> str:
    """Return how many workers of a deployment are up, of how many, between which numbers it scales, and on which nodes.

    The nodes are left out where there is one.
    """
    details = [f"{stat.min_workers}-{stat.max_workers}"] if stat.max_workers else []
    if (count := len(stat.nodes)) > 1 or stat.placement:
        details += [ngettext("{count} node", "{count} nodes", count=count), *filter(None, [stat.placement])]
    up = f"{sum(worker.health == 'up' for worker in stat.workers)}/{len(stat.workers)}"
    return f"{up} ({listed(details)})" if details else up


def scaling(stat: ModelStat) -> str:
    """Return why a deployment has as many workers as it has, and between which numbers it scales; empty without."""
    if not stat.max_workers:
        return ""
    count, low, high = len(stat.workers), stat.min_workers, stat.max_workers
    limits = ngettext(
        "{count} worker (limits {low}-{high})", "{count} workers (limits {low}-{high})",
        count=count, low=low, high=high,
    )  # fmt: skip
    return _("{what}: {why}", what=limits, why=localized(stat.scaled)) if stat.scaled else limits


def _name(name: str, about: str, state: State, workers: int = 0, *, local: bool = False) -> Cell:
    sign = tag("span", class_=f"bz-sign bz-{state.kind}", role="img", aria_label=state.text)
    facts = {"data_workers": workers or None, "data_local": local or None}  # for the form to scale, and the buttons
    parts = [sign + tag("span", name, class_="bz-name", **facts)]
    if state.kind != "up":
        parts.append(tag("span", state.text, class_="bz-state"))
    if about:
        parts.append(tag("span", about, class_="bz-about", title=about))
    text = " ".join(filter(None, (name, "" if state.kind == "up" else f"({state.text})")))
    return Cell(text, Markup(" ").join(parts))


def ttft(stat: ModelStat) -> str:
    """Return the time to first token, p50 / p99."""
    times = [time for time in (stat.ttft_p50, stat.ttft_p99) if time is not None]
    shown = " / ".join(f"{time:.2f}" if time < 10 else f"{time:.0f}" for time in times)
    return _("{seconds} s", seconds=shown) if times else ""


def ago(value: float) -> str:
    """Return how many seconds ago something was, in a unit that rarely changes."""
    if value < 2:
        return _("now")
    if value < 120:
        return _("{seconds} s", seconds=f"{value:.0f}")
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def figure(value: float) -> str:
    """Return a number in its shortest readable form."""
    return f"{value:.1f}" if 0 < value < 10 else f"{value:,.0f}"
