"""What each command does, once for all faces: a spec in, calls to the manager, results to an Output."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from byzer_magic import catalog, command, habits, media, presets
from byzer_magic import spec as specs
from byzer_magic.answer import to_messages
from byzer_magic.errors import CommandError, MissingKey
from byzer_magic.gather import Gatherer, gatherer
from byzer_magic.manager import Manager
from byzer_magic.results import Result
from byzer_magic.stat import ModelStat
from byzer_magic.types import Event, ImageRequest, Request, SpeakRequest
from byzer_magic.widgets import snapshot

if TYPE_CHECKING:
    from byzer_magic.runtime.plan import Plan

Items = Iterator[Any]
"""The items of an answer, and who gives it."""


class Output(Protocol):
    """How a face shows things."""

    shows_media: bool
    """Whether sounds and pictures can be shown."""

    def say(self, text: str) -> None:
        """Tell how it goes (never part of the answer)."""

    def text(self, text: str) -> None:
        """Show the answer."""

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Show rows, or `empty` when there are none."""

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Show a deploy while it happens."""

    def answer(self, gathered: Gatherer, items: Items, style: str) -> Result:
        """Show an answer while it comes (whatever it is: text, vectors, sound, pictures), and return it."""
        ...

    def ask_secret(self, prompt: str) -> str | None:
        """Return what the user types without showing it; None where nobody can be asked."""
        ...

    def refresh(self, draw: Callable[[], None]) -> None:
        """Show again what `draw` shows, in place of the last time where that is possible."""


def options_in(item: specs.QuerySpec | specs.ChatSpec) -> dict[str, Any]:
    """Return the request fields that a command gives; numbers, true and JSON in `--params` are read as such."""
    flags = {name: getattr(item, name) for name in ("temperature", "max_tokens")}
    return {name: _value(text) for name, text in item.params.items()} | {
        name: value for name, value in flags.items() if value is not None
    }


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Actions:
    """Runs commands for one face; `variables` are where `${NAME}` looks first."""

    def __init__(self, manager: Manager, output: Output, variables: Mapping[str, Any] | None = None) -> None:
        self._manager = manager
        self._out = output
        self._variables = variables or {}
        self._typed: dict[tuple[str, str], str] = {}
        """Secrets that were typed in, by alias and parameter; they live as long as the command."""
        manager.say = output.say

    def run_all(self, commands: Iterable[specs.Spec]) -> Any:
        """Run commands in order, after all of them have been checked; return the last one's value."""
        ready = list(commands)
        for item in ready:
            if isinstance(item, specs.DeploySpec | specs.EasyDeploySpec):
                self._plan(self._plain(item))
        value = None
        for item in ready:
            value = self.run(item)
        return value

    @staticmethod
    def _plain(item: specs.DeploySpec | specs.EasyDeploySpec) -> specs.DeploySpec:
        return presets.spec(item) if isinstance(item, specs.EasyDeploySpec) else item

    def _plan(self, item: specs.DeploySpec) -> Plan:
        """Check a deployment; a missing key is asked for, where somebody can answer."""
        while True:
            typed = {param: value for (alias, param), value in self._typed.items() if alias == item.model}
            try:
                return self._manager.plan(item, self._variables, typed)
            except MissingKey as err:
                param = err.details.get("param")
                value = self._out.ask_secret(f"{err.message} Type it in for {item.model} (hidden): ") if param else None
                if not param or not value or (item.model, param) in self._typed:
                    raise
                self._typed[item.model, param] = value

    @functools.singledispatchmethod
    def run(self, item: specs.Spec) -> Any:
        """Run one command; return what a notebook may want to keep (most: None).

        Raises:
            ByzerError: it could not be done; the text says why and what next.
        """
        raise CommandError(f"{type(item).__name__} is not available here.")

    @run.register
    def _deploy(self, item: specs.DeploySpec) -> None:
        plan = self._plan(item)
        if plan.why:
            self._out.say(f"{item.model}: {plan.engine}, because {plan.why}.")
        if item.dry_run:
            self._out.text(command.line(plan.spec, masked=True))
            self._out.say(f"{item.model}: every check passed; nothing was deployed (--dry_run).")
            return
        if note := catalog.facts(str(plan.setup.params.get("saas.model", ""))).note:
            self._out.say(f"Note: {note}")
        self._manager.ensure(item.ray_address)
        self._out.events(item.model, self._manager.iterate(self._manager.deploy(plan)))

    @run.register
    def _easy_deploy(self, item: specs.EasyDeploySpec) -> None:
        self.run(presets.spec(item))

    @run.register
    def _undeploy(self, item: specs.UndeploySpec) -> None:
        self._manager.ensure(item.ray_address)
        cut = self._manager.run(self._manager.undeploy(item))
        self._out.say(f"{item.model}: undeployed" + (f"; {cut} requests were cut off." if cut else "."))

    @run.register
    def _easy_undeploy(self, item: specs.EasyUndeploySpec) -> None:
        self.run(specs.UndeploySpec(model=item.model, force=item.force, ray_address=item.ray_address))

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
        self._out.table(snapshot.stat_rows(stats), "Nothing is deployed.")
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
    def _query(self, item: specs.QuerySpec) -> Result:
        if item.query is None and item.audio is None:
            raise CommandError("query needs --query.", f"It is the prompt. Example: {item.examples[0]}")
        self._manager.reach(item.model, item.ray_address)
        request = self._request(item)
        if isinstance(request, SpeakRequest | ImageRequest) and not (item.output_file or self._out.shows_media):
            hint = "Say where to put it: --output_file NAME, such as x.mp3 or x.png."
            raise CommandError(f"{item.model} answers with a file.", hint)
        items = self._manager.iterate(self._manager.ask(item.model, request))
        style = "hidden" if item.output_file else "whole"
        result = self._out.answer(gatherer(item.model, request), items, style)
        if item.output_file and not result.interrupted:
            result.save(item.output_file)
            self._out.say(f"Wrote {item.output_file}.")
        return result

    def _request(self, item: specs.QuerySpec) -> Request:
        found = [*map(media.image, item.image), *([media.audio(item.audio)] if item.audio else [])]
        messages = to_messages(item.query or "", item.system, found)
        abilities = self._manager.run(self._manager.abilities(item.model))
        return habits.request_for(abilities, messages, options_in(item), stream=False, timeout=item.timeout)

    @run.register
    def _easy_chat(self, item: specs.EasyChatSpec) -> Result:
        self._manager.reach(item.model, item.ray_address)
        abilities = self._manager.run(self._manager.abilities(item.model))
        request = habits.request_for(abilities, to_messages(item.query), {})
        items = self._manager.iterate(self._manager.ask(item.model, request))
        return self._out.answer(gatherer(item.model, request), items, "markdown")

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
    def _connect(self, item: specs.ConnectSpec) -> None:
        where = self._manager.connect(item.ray_address)
        self._out.say(f"Connected to Ray at {where}.")

    @run.register
    def _shutdown(self, _: specs.ShutdownSpec) -> None:
        stopped = self._manager.shutdown()
        self._out.say(
            "The local Ray is stopped." if stopped else "No Ray of byzer-magic runs here; nothing was stopped."
        )

    @run.register
    def _presets(self, item: specs.PresetsSpec) -> None:
        self._rows(presets.table(), "There are no presets.", as_json=item.json)

    @run.register
    def _models(self, item: specs.ModelsSpec) -> None:
        from byzer_magic import model_folders

        found = model_folders.find(item.model_path)
        empty = "No models in the usual caches. Say where they are: --model_path FOLDER, or BYZER_MODELS=FOLDER:FOLDER"
        show = model_folders.plain if item.json else model_folders.rows
        self._rows(show(found), empty, as_json=item.json)

    @run.register
    def _doctor(self, item: specs.DoctorSpec) -> None:
        from byzer_magic import doctor

        report = doctor.report(item.model_path, self._manager.room)
        if item.json:
            self._out.text(json.dumps(report, indent=4, ensure_ascii=False))
            return
        for rows in doctor.tables(report):
            self._out.table(rows, "")
