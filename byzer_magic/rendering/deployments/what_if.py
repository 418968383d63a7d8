"""What a deployment's last minutes would have been with other workers: a table, plots, and what it assumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from byzer_magic.i18n import gettext as _, ngettext
from byzer_magic.rendering.amounts import duration, money
from byzer_magic.rendering.deployments.cells import heading
from byzer_magic.rendering.deployments.figure import Plot, Window
from byzer_magic.rendering.tables import Cell
from byzer_magic.routing.trace import MOST, Trace, TracedRequest
from byzer_magic.routing.what_if import Figures, WhatIf
from byzer_magic.stat import ModelStat

FEW = 100
"""With fewer requests, the longest wait is taken for the p99."""
FAR = 0.15
"""From this difference of the p99 on, a replay is said to be off what was measured."""
SHORT_SECONDS = 0.1
"""Waits that differ by less are taken to be the same."""
FULL = 0.95
"""Share of the slots from which all of them count as in use."""


def rows(found: WhatIf, currency: str) -> list[dict[str, Any]]:
    """Return the rows of the table: measured, replayed, predicted.

    Args:
        found: the prediction.
        currency: of the deployment's cost.
    """
    several = [
        (_("Measured"), found.measured, found.traces[0]),
        (_("Replayed"), found.replayed, found.traces[1]),
    ]
    if found.predicted is not None and found.traces[2] is not None:
        several.append((_("What if"), found.predicted, found.traces[2]))
        if found.in_turns is not None:
            several.append((_("What if, in turns"), found.in_turns, found.traces[2]))
    made = [{_("Case"): name} | _cells(figures, trace, currency) for name, figures, trace in several]
    if found.slowdown is None and found.in_turns is None:  # answers take as long as they took
        for row in made:
            del row[_("Total time, p50 / p99")]
    empty = {name for name in made[0] if all(row[name] in ("", "0") for row in made)}
    return [{name: value for name, value in row.items() if name not in empty} for row in made]


def _cells(figures: Figures, trace: Trace, currency: str) -> dict[str, Any]:
    """Return the cells of one row; columns that have nothing in any row are left out."""
    capacity, workers = trace.capacity, figures.workers[1]
    return {
        heading("workers"): _number(_span(figures.workers)),
        heading("slots"): _number(_span(figures.slots)),
        heading("requests"): _number(f"{figures.requests:,}"),
        _("Waiting, p50 / p99"): _number(f"{duration(figures.wait_p50)} / {duration(figures.wait_p99)}"),
        _("Total time, p50 / p99"): _number(f"{duration(figures.total_p50)} / {duration(figures.total_p99)}"),
        _("Queue, mean / most"): _number(f"{figures.queued_mean:.1f} / {figures.queued_most:,}"),
        _("Slots in use"): _number(f"{figures.utilization:.0%}"),
        _("Refused"): _number(f"{figures.refused:,}"),
        _("Gave up"): _number(f"{figures.left:,}"),
        _("CPUs reserved"): _number(f"{workers * capacity.cpus_per_worker:g}"),
        _("GPUs reserved"): _number(f"{workers * capacity.gpus_per_worker:g}"),
        heading("cost"): _number(money(figures.cost, currency)),
    }


def _number(text: str) -> Cell:
    return Cell(text, text, number=True)


def _span(ends: tuple[int, int]) -> str:
    return f"{ends[0]}" if ends[0] == ends[1] else f"{ends[0]}-{ends[1]}"


def plain(found: WhatIf) -> dict[str, Any]:
    """Return the prediction as data for `--json`; its keys are the same in every language."""
    several = {"measured": found.measured, "replayed": found.replayed, "predicted": found.predicted,
               "in_turns": found.in_turns}  # fmt: skip
    shown = {name: msgspec.to_builtins(figures) for name, figures in several.items() if figures is not None}
    return shown | {"slowdown": found.slowdown}


def plots(found: WhatIf, shown: Window, wall: Callable[[float], float]) -> list[Plot]:
    """Return plots of the waiting times and of the queue.

    Args:
        found: the prediction.
        shown: the time that is shown.
        wall: returns the Unix time of a time of the traces.
    """
    measured, replayed, predicted = found.traces
    if predicted is not None:
        about, now, before = _("what if; dashed: replayed"), predicted, replayed
    else:
        about, now, before = _("replayed; dashed: measured"), replayed, measured
    return [
        Plot(
            _("Longest wait, s"), about, _waits(now.requests, shown, wall), _waits(before.requests, shown, wall),
            filled=False,
        ),
        Plot(_("Queue"), about, [*_queue(now.requests, shown, wall)], [*_queue(before.requests, shown, wall)]),
    ]  # fmt: skip


def _waits(requests: Iterable[TracedRequest], shown: Window, wall: Callable[[float], float]) -> list[float | None]:
    """Return the longest wait of the requests that came in each step of the time."""
    found: list[float | None] = [None] * int(shown.seconds // shown.step)
    for item in requests:
        place = int((wall(item.at) - shown.start) // shown.step)
        if 0 <= place < len(found) and item.outcome != "refused":
            found[place] = max(found[place] or 0.0, item.waited)
    return found


def _queue(requests: Iterable[TracedRequest], shown: Window, wall: Callable[[float], float]) -> list[float]:
    """Return the mean number of requests in the queue in each step of the time."""
    found = [0.0] * int(shown.seconds // shown.step)
    moments = [(wall(at) - shown.start, step) for item in requests for at, step in ((item.at, 1), (item.began, -1))]
    queued, before = 0, 0.0
    for at, step in [*sorted(moments), (shown.seconds, 0)]:
        until = min(at, shown.seconds)
        while before < until:
            place = int(before // shown.step)
            end = min(until, float((place + 1) * shown.step))
            found[place] += queued * (end - before) / shown.step
            before = end
        queued += step
    return found


def notes(found: WhatIf, stat: ModelStat) -> list[str]:
    """Return what is to be known about a prediction: how far it can be trusted, and what it assumes."""
    return [*_trust(found, stat), *_assumed(found, stat)]


def _trust(found: WhatIf, stat: ModelStat) -> Iterator[str]:
    count = found.measured.requests
    if count < FEW:
        yield ngettext(
            "Too little data for a reliable prediction: {count} request; its p99 is the longest wait.",
            "Too little data for a reliable prediction: {count} requests; their p99 is the longest wait.",
            count=count,
        )  # fmt: skip
    if found.traces[0].is_cut:
        yield _("Only the last {count} requests are kept; earlier ones are not replayed.", count=f"{MOST:,}")
    if found.changes:
        yield _(
            "The number of slots changed in that time, but the replay has the present one throughout. Choose a time"
            " without changes: --minutes N."
        )
    elif _is_far(found):
        yield _(
            "The replay with the present workers is {percent} off the measured p99: do not rely on the prediction.",
            percent=f"{found.error:.0%}",
        )
    yield from _unusual(found, stat)


def _is_far(found: WhatIf) -> bool:
    return found.error > FAR and abs(found.replayed.wait_p99 - found.measured.wait_p99) > SHORT_SECONDS


def _unusual(found: WhatIf, stat: ModelStat) -> Iterator[str]:
    """Yield what is to be known about the requests."""
    if without := found.unfinished + found.measured.refused + found.measured.left:
        yield ngettext(
            "{count} request was refused, gave up or has not ended: the replay takes its duration from another one.",
            "{count} requests were refused, gave up or have not ended: the replay takes their durations from others.",
            count=without,
        )  # fmt: skip
    names = {item.name for item in stat.limits}
    if "tpm" in names:
        yield _("The limit of tokens a minute (--tpm) is not replayed: no request waits for it there.")
    if any(item.name == "budget_usd" and item.used >= item.limit for item in stat.limits):
        yield _("The budget is used up (--budget_usd): requests refused for it are not replayed.")


def _assumed(found: WhatIf, stat: ModelStat) -> Iterator[str]:
    """Yield what a prediction assumes."""
    if found.predicted is None:
        return
    if found.predicted.utilization >= FULL:
        yield _("Nearly all slots would be in use all the time: if the load goes on, waits get longer than this.")
    if not stat.local:
        yield _("Assumed: the API answers more requests at once as fast as it answered these.")
    elif found.slowdown is not None:
        yield _(
            "Assumed, as measured: each further request on a worker makes the others take {percent} longer than alone.",
            percent=f"{found.slowdown:.0%}",
        )
    elif found.in_turns is not None:
        yield _(
            "The data do not show how much requests on one worker slow each other down. Assumed: not at all (What if),"
            " or as much as if they took turns (What if, in turns), which they nearly do without a GPU."
        )
    else:
        yield _("Assumed: requests take as long as they took, however many a worker runs at once.")
    if stat.local and found.predicted.workers[1] > found.replayed.workers[1]:
        yield _("Assumed: more workers do not slow each other down, and are loaded when they are needed.")
