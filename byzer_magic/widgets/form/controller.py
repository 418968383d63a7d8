"""The state of a deploy form: its fields, their errors, and the resulting command.

Nothing here renders or waits for Ray; the answers are plain data for the page.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from byzer_magic.actions import model_search
from byzer_magic.actions.model_search import Found
from byzer_magic.backends import registry
from byzer_magic.backends.base import Info
from byzer_magic.commands import env_file
from byzer_magic.commands.options import is_secret_name
from byzer_magic.commands.secrets import look_up
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ByzerError, MissingKey, NotFetched, UnknownKind
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.local_models import engine_choice, files, hardware
from byzer_magic.local_models.hubs.reference import is_in_hub
from byzer_magic.local_models.installed import file_formats
from byzer_magic.widgets.context import Context
from byzer_magic.widgets.form import checks as form_checks, choices as form_choices, values as form_values
from byzer_magic.widgets.form.checks import TYPED, Verdict
from byzer_magic.widgets.form.fields import Bounds, Field, fields_of
from byzer_magic.widgets.form.values import PARAM, Values

if TYPE_CHECKING:
    from byzer_magic.plan import Plan

SERVICES = ("byzer-magic", "byzerllm")
"""Services of a keyring whose entries are offered."""
_NOT_KEYS = ("JPY_", "JUPYTER", "_")
"""Prefixes of variables whose secrets are not a provider's."""

Answer = dict[str, Any]


class Controller:
    """The state of one form; secrets that were typed in are not in it."""

    def __init__(self, context: Context, values: Mapping[str, str], choice: str) -> None:
        self._context = context
        self._choice = choice
        self._typed: tuple[str, ...] = ()
        self._found: list[Found] = []
        self._room: dict[str, tuple[float, float]] | None = None
        self._looked = False
        self._fields: tuple[Field, ...] = ()
        self._engines: dict[str, str] = {}
        self._given: dict[str, str] = {}
        """Secrets of a pasted command or a file, until the page has them in its fields."""
        self._take(values)

    def _take(self, values: Values) -> None:
        info = self._info_of(values)
        self.values, hidden = form_values.apart(values, info)
        self._given = hidden
        self._typed = tuple(hidden)

    # ---- what the page asks for

    def opening(self) -> Answer:
        """Return the first state of a page."""
        rows = [asdict(choice) for choice in form_choices.choices()]
        return {"choices": rows, "models": self._models(), "room": self._room_text(), **self.form()}

    def form(self) -> Answer:
        """Return the fields and their values; secrets that came with a command are in it once."""
        given, self._given = self._given, {}
        return {
            "values": self.values,
            "secrets": given,
            "choice": self._choice,
            "keys": self._key_names(),
            **self._described(self._info_of(self.values), always=True),
        }

    def check(self, values: Values, typed: tuple[str, ...]) -> Answer:
        """Return the errors of the fields, and the resulting command."""
        self._see(values, typed)
        info = self._info_of(self.values)
        verdict = self._verdict(info)
        return {
            "errors": verdict.errors,
            "missing": verdict.missing,
            "notes": self._notes(),
            "line": self.line,
            "yaml": form_values.yaml_of(self.values, self._typed, info),
            "stand_ins": self._stand_ins(),
            **self._described(info, always=False),
        }

    def choose(self, choice: str, kept: Values) -> None:
        """Start again from a preset, provider, engine or model; `kept` are the fields that the user has filled in."""
        names = [name for name, value in {**self._environ(), **self._context.variables()}.items() if value]
        self._choice = choice
        self._take(form_choices.chosen(choice, kept, self._found, names))

    def paste(self, text: str) -> None:
        """Take all fields from a command.

        Raises:
            CommandError: it deploys nothing, or cannot be understood.
        """
        spec = form_values.from_text(text)
        self._choice = form_choices.id_of(spec)
        self._take(form_values.values_of(spec))

    def survey(self) -> Answer:
        """Return the models on this machine and the cluster's resources; takes seconds, and starts nothing."""
        with contextlib.suppress(ByzerError):  # without Ray, its resources are unknown
            self._room = self._context.manager.room()
        self._looked = True
        self._found = model_search.find()
        described = self._described(self._info_of(self.values), always=False)
        return {"models": self._models(), "room": self._room_text(), **described}

    def entries(self, name: str) -> Answer:
        """Return the entries of the keyring that may hold a secret."""
        info = self._info_of(self.values)
        param = form_values.param_of(name, info)
        names = [*(param.env if param else ()), form_values.reference(name, self.values, info)[2:-1]]
        entries = [f"{service}/{entry}" for service in SERVICES for entry in dict.fromkeys(names)]
        return {"key": name, "entries": [f"keyring:{entry}" for entry in entries if _in_keyring(entry)]}

    def plan(self, values: Values, secrets: Mapping[str, str]) -> Plan | None:
        """Return what to deploy, or None while `check` has an error.

        Raises:
            ByzerError: the deployment is wrong in a way that no check of a field finds.
            NotFetched: the model is in a hub and has to be downloaded first.
        """
        self._see(values, tuple(secrets))
        if not self._verdict(self._info_of(self.values)).ok:
            return None
        typed = {name.removeprefix(PARAM): text for name, text in secrets.items()}
        return self._context.manager.plan(self.spec, self._context.variables(), typed)

    @property
    def spec(self) -> DeploySpec:
        """Return what the fields say."""
        return form_values.spec_of(self.values)

    # ---- what it knows

    @property
    def line(self) -> str:
        """Return the command, without secrets."""
        return form_values.line_of(self.values, self._typed, self._info_of(self.values))

    @property
    def references(self) -> tuple[str, ...]:
        """Return the `${NAME}` in the command, one for each secret that was typed in."""
        info = self._info_of(self.values)
        return tuple(form_values.reference(name, self.values, info) for name in self._typed)

    def _see(self, values: Values, typed: tuple[str, ...]) -> None:
        self.values, hidden = form_values.apart(values, self._info_of(values))
        self._typed = tuple(dict.fromkeys((*typed, *hidden)))  # the page sends none; drop any that arrives

    def _environ(self) -> env_file.Variables:
        return env_file.Variables({name: text for name, text in env_file.read().values.items() if text})

    def _verdict(self, info: Info | None) -> Verdict:
        values, variables = self.values, self._context.variables()
        found = form_checks.check(values, self._typed, info, variables, self._environ())
        if info is None:
            self._explain_type(found)
        if not found.ok:
            return found
        typed = {name.removeprefix(PARAM): TYPED for name in self._typed if self._is_text(name, info)}
        rings = {name for name, text in values.items() if text.startswith("keyring:")}  # reading them may open a dialog
        typed |= {name.removeprefix(PARAM): TYPED for name in rings}
        shown = {name: text for name, text in values.items() if name not in rings}
        try:
            self._context.manager.plan(form_values.spec_of(shown), variables, typed)
        except NotFetched:  # what else may be wrong is seen once it is here
            return found
        except ByzerError as err:
            key = form_checks.attribute(err, values, [field.key for field in self._fields])
            if isinstance(err, MissingKey) and key not in values:
                found.missing[key] = localized(err.message)
            else:
                found.errors[key] = form_checks.sentence(err)
        return found

    def _is_text(self, name: str, info: Info | None) -> bool:
        param = form_values.param_of(name, info)
        return param is not None and param.kind == "text"

    def _explain_type(self, found: Verdict) -> None:
        """Add the error of the type or the engine, where there are no settings for it."""
        kind, engine = _kind_of(self.values)
        try:
            registry.find(kind, engine)
        except UnknownKind as err:
            if kind == "custom/auto" and engine in (None, "auto"):
                if not self.values.get("model_path"):
                    found.missing["model_path"] = _("Enter the path of a local model, or choose one above.")
                return
            found.errors.setdefault("infer_backend" if kind == "custom/auto" else "", form_checks.sentence(err))

    def _info_of(self, values: Values) -> Info | None:
        kind, engine = _kind_of(values)
        if kind == "custom/auto" and engine in (None, "auto") and (path := values.get("model_path")):
            chosen = form_choices.engine(self._engine_for(path))
            kind, engine = chosen.get("pretrained_model_type", kind), chosen.get("infer_backend")
        try:
            return registry.find(kind, engine).info
        except UnknownKind:
            return None

    def _engine_for(self, path: str) -> str:
        """Return the engine that a model's files choose, or an empty text."""
        if path not in self._engines:
            self._engines[path] = ""
            with contextlib.suppress(ByzerError):
                engines = registry.engines()
                weights = files.inspect(path, file_formats(engines))
                self._engines[path] = engine_choice.choose(weights, hardware.detect(), engines).name
        if is_in_hub(path) and not self._engines[path]:  # it may be downloaded meanwhile
            return self._engines.pop(path)
        return self._engines[path]

    def _described(self, info: Info | None, *, always: bool) -> Answer:
        """Return the fields if they have changed."""
        fields = fields_of(info, self.values, self._bounds())
        if fields == self._fields and not always:
            return {}
        self._fields = fields
        local = info.local if info else not _kind_of(self.values)[0].startswith("saas/")
        return {"fields": [asdict(field) for field in fields], "kind": info.kind if info else "", "local": local}

    def _bounds(self) -> Bounds:
        if self._room is None:
            return Bounds(cpus=float(os.cpu_count() or 1), gpus=float(len(hardware.detect().gpus)))
        (free_cpus, cpus), (free_gpus, gpus) = self._room["CPU"], self._room["GPU"]
        return Bounds(cpus=cpus, gpus=gpus, free_cpus=free_cpus, free_gpus=free_gpus)

    def _room_text(self) -> str:
        bounds = self._bounds()
        if not self._looked:
            return ""
        if bounds.free_cpus is None:
            return _(
                "Ray is not running; this machine has {total} CPUs. Deploying starts it.", total=f"{bounds.cpus:g}"
            )
        text = _("{free} of {total} CPUs free", free=f"{bounds.free_cpus:g}", total=f"{bounds.cpus:g}")
        if not bounds.gpus:
            return text
        gpus = _("{free} of {total} GPUs free", free=f"{bounds.free_gpus:g}", total=f"{bounds.gpus:g}")
        return _("{cpus}, {gpus}", cpus=text, gpus=gpus)

    def _notes(self) -> dict[str, str]:
        """Return warnings about fields that are valid but may not work."""
        notes = {}
        bounds, values = self._bounds(), self.values
        for what, key, free, total in (
            ("CPU", "cpus_per_worker", bounds.free_cpus, bounds.cpus),
            ("GPU", "gpus_per_worker", bounds.free_gpus, bounds.gpus),
        ):
            with contextlib.suppress(ValueError):  # that it is not a number is an error of its field
                wanted = int(values.get("num_workers", 1)) * float(values.get(key, 0))
                if wanted > (total if free is None else free):
                    parts = {"wanted": f"{wanted:g}", "free": f"{total if free is None else free:g}"}
                    notes[key] = _(
                        "Not enough {what}s: {wanted} requested, {free} of {total} free.",
                        what=what,
                        total=f"{total:g}",
                        **parts,
                    )
        path = values.get("model_path")
        if is_in_hub(path):
            try:
                files.existing(path)
            except NotFetched:
                notes["model_path"] = _("It is not on this machine yet: deploying downloads it first.")
            except ByzerError:  # an error of the field
                pass
        alias = values.get("model", "")
        with contextlib.suppress(ByzerError):  # Ray is not needed yet
            if alias and values.get("replace") != "true" and self._context.manager.runs(alias):
                notes["model"] = _(
                    "{alias} is already deployed. Turn on Replace (under Advanced), or choose another alias.",
                    alias=alias,
                )
        return notes

    def _models(self) -> list[Answer]:
        return [asdict(row) for row in form_choices.models(self._found)]

    def _key_names(self) -> list[str]:
        """Return the variables that may hold a key, the notebook's first."""
        names = [*self._context.variables(), *sorted(self._environ())]
        fits = (name for name in dict.fromkeys(names) if is_secret_name(name) and not name.startswith(_NOT_KEYS))
        return list(fits)

    def _stand_ins(self) -> dict[str, str]:
        """Return, for fields that may stay empty, the variable that the backend takes instead."""
        environ, info, found = self._environ(), self._info_of(self.values), {}
        for field in self._fields:
            param = form_values.param_of(field.key, info) if field.env else None
            if param is None or field.key in self.values or f"{PARAM}{param.env_unless}" in self.values:
                continue
            name = next((name for name in param.env if environ.get(name)), "")
            if name:
                found[field.key] = _("from {name}", name=name)
        return found


def _kind_of(values: Values) -> tuple[str, str | None]:
    return values.get("pretrained_model_type", "custom/auto"), values.get("infer_backend")


def _in_keyring(entry: str) -> bool:
    try:
        return bool(look_up(f"keyring:{entry}", {}))
    except ByzerError:
        return False
