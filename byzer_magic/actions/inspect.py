"""The commands that only show: deployments, logs, presets, models, the machine."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from byzer_magic.actions.context import Context
from byzer_magic.catalog import presets
from byzer_magic.client import serving
from byzer_magic.commands import spec as specs
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, lazy_gettext, listed, localized
from byzer_magic.rendering.deployments import cells as stat_cells, limits
from byzer_magic.results.comparison import need_pandas
from byzer_magic.stat import ModelStat

HEADINGS = {
    "preset": lazy_gettext("Preset"),
    "provider": lazy_gettext("Provider"),
    "type": lazy_gettext("Type"),
    "model": lazy_gettext("Model"),
    "can": lazy_gettext("Capabilities"),
    "key": lazy_gettext("Key"),
    "note": lazy_gettext("Note"),
}
"""The columns of tables; JSON has the names themselves."""


def stat(context: Context, item: specs.StatSpec) -> Any:
    """Show the counters of one deployment, or a table of all; return a DataFrame with `--df`."""
    if item.model:
        context.manager.reach(item.model, item.ray_address)
    else:
        context.manager.ensure(item.ray_address)
    if item.df:
        return _frame(context, item)
    if not item.interval:
        _show_stat(context, item)
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
        while item.interval:
            context.output.refresh(lambda: _show_stat(context, item))
            time.sleep(item.interval)
    return None


def _show_stat(context: Context, item: specs.StatSpec) -> None:
    stats = _stats(context, item.model)
    if item.model:
        context.output.text(json.dumps(_plain(stats[0]), indent=4))
        if not item.json:  # which programs read
            if stats[0].arms:
                context.output.say(_("See `alias` for the deployments of this route."))
            _say_notes(context, stats)
    elif item.json:
        context.output.text(json.dumps({stat.model: _plain(stat) for stat in stats}, indent=4))
    else:
        _table(context, stats)


def _plain(stat: ModelStat) -> dict[str, Any]:
    """Return the eight fields of byzer-llm, and the limits where there are any."""
    found = {item.name: msgspec.to_builtins(item) for item in stat.limits}
    for item in found.values():
        del item["name"]
    return stat.legacy() | ({"limits": found} if found else {})


def _frame(context: Context, item: specs.StatSpec) -> Any:
    need_pandas()
    import pandas as pd

    rows = [
        {
            "model": stat.model,
            "worker": worker.index,
            "health": worker.health,
            "node": worker.node or stat.node,
            "free": worker.free,
            "limit": worker.limit,
            "requests": worker.requests,
            "errors": worker.errors,
            "idle_seconds": worker.idle_seconds,
            "queued": stat.queued,
            "pool_cpu": stat.pool_cpu,
        }
        for stat in _stats(context, item.model)
        for worker in stat.workers
    ]
    return pd.DataFrame(rows)


def _stats(context: Context, alias: str | None) -> list[ModelStat]:
    manager = context.manager
    return [manager.run(manager.stat(alias))] if alias else manager.run(manager.stats())


def _table(context: Context, stats: list[ModelStat]) -> None:
    context.output.table(stat_cells.stat_rows(stats), _absent(context) or _("Nothing is deployed."))
    for stat in stats:
        if stat.error:
            error = localized(stat.error)
            context.output.say(_("{alias} could not be loaded: {error}", alias=stat.model, error=error))
    _say_notes(context, stats)


def _say_notes(context: Context, stats: list[ModelStat]) -> None:
    """Say how much of their limits deployments have used, and what is to be said of keys, scaling and full pools."""
    for stat in stats:
        for text in filter(None, (limits.text(stat), stat_cells.keys(stat), stat_cells.scaling(stat))):
            context.output.say(_("{label}: {text}", label=stat.model, text=text))
        if full := stat_cells.full(stat):
            context.output.say(_("{label}: {text}", label=stat.model, text=full))


def list_deployments(context: Context, item: specs.ListSpec) -> None:
    """List the deployments."""
    context.manager.ensure(item.ray_address)
    stats = _stats(context, None)
    rows = stat_cells.plain_rows(stats) if item.json else stat_cells.stat_rows(stats, stat_cells.LIST_COLUMNS)
    absent = _absent(context)
    _rows(context, rows, absent or _("Nothing is deployed."), as_json=item.json)
    if absent and rows and not item.json:
        context.output.say(absent)
    served: list[Any] = []
    with contextlib.suppress(ByzerError):  # a controller of an older version knows no endpoint
        served = context.manager.run(serving.running(context.manager))
    if served:
        context.output.say(_("Endpoint: {urls}", urls=serving.shown(served)))


def _absent(context: Context) -> str:
    """Return which deployments the cluster should have and has not; empty where all run."""
    with contextlib.suppress(ByzerError):  # a controller of an older version knows no fleet
        entries = context.manager.run(context.manager.fleet()).entries
        if names := [entry.alias for entry in entries if entry.restoring or entry.why]:
            return _("Not running yet: {aliases}. `fleet` shows why.", aliases=listed(names))
    return ""


def _rows(context: Context, rows: Sequence[dict[str, Any]], empty: str, *, as_json: bool) -> None:
    if as_json:
        context.output.text(json.dumps(rows, indent=4, ensure_ascii=False))
    else:
        headings = {name: localized(HEADINGS.get(name, name)) for name in (rows[0] if rows else ())}
        context.output.table([{headings[name]: value for name, value in row.items()} for row in rows], empty)


def logs(context: Context, item: specs.LogsSpec) -> None:
    """Show the last lines of a deployment's log, or of its last deploy that failed."""
    failed = context.manager.failed_log(item.model)
    if failed and not context.manager.runs(item.model):
        context.output.say(_("The last deployment of {alias} failed. Its log:", alias=item.model))
        context.output.text("\n".join(failed[-item.lines :]))
        return
    context.manager.reach(item.model, item.ray_address)
    lines = context.manager.run(context.manager.logs(item.model, item.lines))
    context.output.text("\n".join(lines) if lines else _("The log of {alias} is empty.", alias=item.model))


def list_presets(context: Context, item: specs.PresetsSpec) -> None:
    """List the presets."""
    _rows(context, presets.table(), _("There are no presets."), as_json=item.json)


def list_models(context: Context, item: specs.ModelsSpec) -> None:
    """List the models on this machine."""
    from byzer_magic.actions import model_search

    found = model_search.find(item.model_path)
    empty = _("No models found in the usual caches. Add --model_path FOLDER, or set BYZER_MODELS=FOLDER:FOLDER.")
    show = model_search.plain if item.json else model_search.rows
    _rows(context, show(found), empty, as_json=item.json)


def diagnose(context: Context, item: specs.DoctorSpec) -> None:
    """Show installed engines, free resources, and what a model would need."""
    from byzer_magic.actions import doctor

    report = doctor.report(item.model_path, context.manager.room)
    if item.json:
        context.output.text(json.dumps(report, indent=4, ensure_ascii=False))
        return
    context.output.tables(doctor.tables(report))
