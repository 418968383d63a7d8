"""What each command does, once for all faces: a spec in, calls to the manager, results to an Output."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from byzer_magic import media
from byzer_magic.actions.inspect import Looks
from byzer_magic.actions.output import Output
from byzer_magic.catalog import model_facts, presets
from byzer_magic.client import requests
from byzer_magic.client.collect import collector_for
from byzer_magic.client.manager import Manager
from byzer_magic.client.requests import to_messages
from byzer_magic.commands import parser, spec as specs
from byzer_magic.commands.options import Spec
from byzer_magic.errors import CommandError, MissingKey
from byzer_magic.results import Result
from byzer_magic.types import ImageRequest, Request, SpeakRequest

if TYPE_CHECKING:
    from byzer_magic.plan import Plan


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
        self._looks = Looks(manager, output)
        manager.say = output.say

    def run_all(self, commands: Iterable[Spec]) -> Any:
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
    def run(self, item: Spec) -> Any:
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
            self._out.text(parser.line(plan.spec, masked=True))
            self._out.say(f"{item.model}: every check passed; nothing was deployed (--dry_run).")
            return
        if note := model_facts.facts(str(plan.setup.params.get("saas.model", ""))).note:
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
    def _scale(self, item: specs.ScaleSpec) -> None:
        self._manager.reach(item.model, item.ray_address)
        self._out.events(item.model, self._manager.iterate(self._manager.scale(item)))

    @run.register
    def _restart(self, item: specs.RestartSpec) -> None:
        self._manager.reach(item.model, item.ray_address)
        self._out.events(item.model, self._manager.iterate(self._manager.restart(item)))

    @run.register
    def _drain(self, item: specs.DrainSpec) -> None:
        self._manager.reach(item.model, item.ray_address)
        running = self._manager.run(self._manager.drain(item))
        who = item.model if item.worker is None else f"{item.model} worker {item.worker}"
        more = f"; {running} in flight finish" if running else ""
        self._out.say(f"{who} is drained: it gets no new requests{more}. Until: restart --model {item.model}")

    @run.register
    def _easy_undeploy(self, item: specs.EasyUndeploySpec) -> None:
        self.run(specs.UndeploySpec(model=item.model, force=item.force, ray_address=item.ray_address))

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
        result = self._out.answer(collector_for(item.model, request), items, style)
        if item.output_file and not result.interrupted:
            result.save(item.output_file)
            self._out.say(f"Wrote {item.output_file}.")
        return result

    def _request(self, item: specs.QuerySpec) -> Request:
        found = [*map(media.image, item.image), *([media.audio(item.audio)] if item.audio else [])]
        messages = to_messages(item.query or "", item.system, found)
        capabilities = self._manager.run(self._manager.capabilities(item.model))
        return requests.request_for(capabilities, messages, options_in(item), stream=False, timeout=item.timeout)

    @run.register
    def _easy_chat(self, item: specs.EasyChatSpec) -> Result:
        self._manager.reach(item.model, item.ray_address)
        capabilities = self._manager.run(self._manager.capabilities(item.model))
        request = requests.request_for(capabilities, to_messages(item.query), {})
        items = self._manager.iterate(self._manager.ask(item.model, request))
        return self._out.answer(collector_for(item.model, request), items, "markdown")

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

    @run.register(specs.StatSpec)
    @run.register(specs.ListSpec)
    @run.register(specs.LogsSpec)
    @run.register(specs.PresetsSpec)
    @run.register(specs.ModelsSpec)
    @run.register(specs.DoctorSpec)
    def _look(self, item: Spec) -> Any:
        return self._looks.run(item)
