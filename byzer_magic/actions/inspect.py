"""The commands that only look: at deployments, logs, presets, models, the machine."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Sequence
from typing import Any

from byzer_magic.actions.output import Output
from byzer_magic.catalog import presets
from byzer_magic.client.manager import Manager
from byzer_magic.commands import spec as specs
from byzer_magic.commands.options import Spec
from byzer_magic.errors import CommandError
from byzer_magic.rendering import assets, snapshot
from byzer_magic.rendering.deployments import cells as stat_cells
from byzer_magic.stat import ModelStat


class Looks:
    """Runs them for one face."""

    def __init__(self, manager: Manager, output: Output) -> None:
        self._manager = manager
        self._out = output

    @functools.singledispatchmethod
    def run(self, item: Spec) -> Any:
        """Run one command; return what a notebook may want to keep."""
        raise CommandError(f"{type(item).__name__} is not available here.")

    @run.register
    def _stat(self, item: specs.StatSpec) -> Any:
        if item.model:
            self._manager.reach(item.model, item.ray_address)
        else:
            self._manager.ensure(item.ray_address)
        if item.df:
            return self._frame(item)
        if not item.interval:
            self._draw_stat(item)
        with contextlib.suppress(KeyboardInterrupt):  # the usual way to end it
            while item.interval:
                self._out.refresh(lambda: self._draw_stat(item))
                time.sleep(item.interval)
        return None

    def _draw_stat(self, item: specs.StatSpec) -> None:
        stats = self._stats(item.model)
        if item.model:
            self._out.text(json.dumps(stats[0].legacy(), indent=4))
        elif item.json:
            self._out.text(json.dumps({stat.model: stat.legacy() for stat in stats}, indent=4))
        else:
            self._table(stats)

    def _frame(self, item: specs.StatSpec) -> Any:
        from importlib.util import find_spec

        if find_spec("pandas") is None:
            raise CommandError("--df needs pandas.", "Run: pip install 'byzer-magic[pandas]'")
        import pandas as pd

        rows = [
            {
                "model": stat.model,
                "worker": worker.index,
                "health": worker.health,
                "free": worker.free,
                "limit": worker.limit,
            }
            | {
                "requests": worker.requests,
                "errors": worker.errors,
                "idle_seconds": worker.idle_seconds,
                "queued": stat.queued,
            }
            for stat in self._stats(item.model)
            for worker in stat.workers
        ]
        return pd.DataFrame(rows)

    def _stats(self, alias: str | None) -> list[ModelStat]:
        manager = self._manager
        return [manager.run(manager.stat(alias))] if alias else manager.run(manager.stats())

    def _table(self, stats: list[ModelStat]) -> None:
        words = assets.texts("panel", chinese=self._manager.settings.chinese)
        self._out.table(stat_cells.stat_rows(stats, words), words["nothing"])
        for stat in stats:
            if stat.trouble:
                self._out.say(f"{stat.model} could not be loaded: {stat.trouble}")

    @run.register
    def _list(self, item: specs.ListSpec) -> None:
        self._manager.ensure(item.ray_address)
        rows = snapshot.stat_rows(self._stats(None))
        if not item.json:
            rows = [{name: row[name] for name in ("model", "type", "can", "workers")} for row in rows]
        self._rows(rows, "Nothing is deployed.", as_json=item.json)

    def _rows(self, rows: Sequence[dict[str, Any]], empty: str, *, as_json: bool) -> None:
        if as_json:
            self._out.text(json.dumps(rows, indent=4, ensure_ascii=False))
        else:
            self._out.table(rows, empty)

    @run.register
    def _logs(self, item: specs.LogsSpec) -> None:
        failed = self._manager.failed_log(item.model)
        if failed and not self._manager.runs(item.model):
            self._out.say(f"The last deploy of {item.model} failed. Its workers wrote:")
            self._out.text("\n".join(failed[-item.lines :]))
            return
        self._manager.reach(item.model, item.ray_address)
        lines = self._manager.run(self._manager.logs(item.model, item.lines))
        self._out.text("\n".join(lines) if lines else f"{item.model} has written nothing.")

    @run.register
    def _presets(self, item: specs.PresetsSpec) -> None:
        self._rows(presets.table(), "There are no presets.", as_json=item.json)

    @run.register
    def _models(self, item: specs.ModelsSpec) -> None:
        from byzer_magic.actions import model_search

        found = model_search.find(item.model_path)
        empty = "No models in the usual caches. Say where they are: --model_path FOLDER, or BYZER_MODELS=FOLDER:FOLDER"
        show = model_search.plain if item.json else model_search.rows
        self._rows(show(found), empty, as_json=item.json)

    @run.register
    def _doctor(self, item: specs.DoctorSpec) -> None:
        from byzer_magic.actions import doctor

        report = doctor.report(item.model_path, self._manager.room)
        if item.json:
            self._out.text(json.dumps(report, indent=4, ensure_ascii=False))
            return
        self._out.tables(doctor.tables(report))
