"""What a deploy form can start with: presets, providers, engines, models on this machine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from byzer_magic.actions import model_search
from byzer_magic.actions.model_search import Found
from byzer_magic.backends import compatible, registry
from byzer_magic.catalog import presets
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec
from byzer_magic.errors import UnknownKind, suggest
from byzer_magic.i18n import gettext as _, lazy_gettext, localized
from byzer_magic.local_models.memory import readable
from byzer_magic.widgets.form.values import PARAM, Values, is_secret, values_of

PRESET, PROVIDER, ENGINE, HERE = "preset", "provider", "engine", "here"
"""Groups, in display order."""
_SAAS = {"worker_concurrency": "1000", "cpus_per_worker": "0.001"}
"""A provider's worker is a slot, so it needs hardly any resources; presets have the same values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One row of the chooser."""

    id: str
    """`preset:gpt4o`, `saas/openai`, `vllm`, `custom/bge`, or `path:` and a model's path."""
    group: str
    title: str
    detail: str
    note: str = ""
    """A retirement, or what is missing to run it."""


def choices() -> list[Choice]:
    """Return the presets, providers and engines."""
    return [*_presets(), *_providers(), *_engines()]


def _presets() -> Iterable[Choice]:
    for row in presets.load().values():
        able = ", ".join(row.capabilities)
        detail = " · ".join(filter(None, (row.provider, row.model if row.model != row.name else "", able)))
        yield Choice(id=f"preset:{row.name}", group=PRESET, title=row.name, detail=detail, note=localized(row.note))


def _providers() -> Iterable[Choice]:
    rows = compatible.load()
    found = []
    for kind in registry.saas_kinds():
        row = rows.get(kind.removeprefix("saas/"))
        texts = (row.title, row.note) if row else (registry.find(kind).info.title, "")
        title, note = map(localized, texts)
        found.append(Choice(id=kind, group=PROVIDER, title=title, detail=" · ".join(filter(None, (kind, note)))))
    return sorted(found, key=lambda row: (row.title.lower(), " · " in row.detail))  # older names last


def _engines() -> Iterable[Choice]:
    engines = registry.engines()
    yield Choice(
        id="auto", group=ENGINE, title=_("Local model; the engine is chosen from its files"), detail="custom/auto"
    )
    for name, backend in registry.local().items():
        command = backend.info.install_command
        missing = "" if engines[name].packages else _("not installed: {command}", command=command)
        can = ", ".join(sorted(backend.info.capabilities))
        detail = " · ".join(filter(None, (name, can)))
        yield Choice(id=name, group=ENGINE, title=localized(backend.info.title), detail=detail, note=missing)


def models(found: Iterable[Found]) -> list[Choice]:
    """Return the models on this machine; those that no engine runs have the reason as their note."""
    return [_model(item) for item in found]


def _model(item: Found) -> Choice:
    weights = item.weights
    facts = [item.engine, weights.format if weights else "", readable(weights.size) if weights else ""]
    note = model_search.error_of(item) or ("" if item.installed else _("{engine} is not installed", engine=item.engine))
    detail = " · ".join([*dict.fromkeys(filter(None, facts)), model_search.short(item.path)])
    return Choice(id=f"path:{item.path}", group=HERE, title=model_search.name_of(item.path), detail=detail, note=note)


def find(word: str) -> str:
    """Return the id of the preset, type or engine of that name.

    Raises:
        UnknownKind: there is no such choice; the hint has the nearest.
    """
    if word in presets.load():
        return f"preset:{word}"
    kinds = [*registry.saas_kinds(), *registry.local(), "auto"]
    if word in kinds:
        return word
    if word == "custom/auto":
        return "auto"
    other = lazy_gettext("List the presets with %byzer presets, or choose in %byzer form.")
    hint = suggest(word, [*presets.load(), *kinds], other)
    raise UnknownKind(lazy_gettext("{name!r} is not a preset, type or engine.", name=word), hint)


def chosen(choice: str, kept: Values, known: Iterable[Found], names: Iterable[str]) -> dict[str, str]:
    """Return the fields of a choice; `kept` are those that the user has filled in, or emptied.

    `known` are the models on this machine; `names` are the variables that have values: of others no key is taken.
    Settings of the backend before are left out, since a key of one provider must not go to another.
    """
    values = _values(choice, known)
    there = {f"${{{name}}}" for name in names}
    values = {name: text for name, text in values.items() if not is_secret(name, None) or text in there}
    values |= {name: text for name, text in kept.items() if not name.startswith(PARAM)}
    return {name: text for name, text in values.items() if text or kept.get(name) is None}


def _values(choice: str, known: Iterable[Found]) -> dict[str, str]:
    kind, _, name = choice.partition(":")
    if kind == "preset":
        return values_of(presets.spec(EasyDeploySpec(preset=name)))
    return _unnamed(choice, known) | {"check": "true"}


def _unnamed(choice: str, known: Iterable[Found]) -> dict[str, str]:
    """Return the fields of a choice that is not a preset."""
    kind, _, name = choice.partition(":")
    if kind == "path":
        item = next((item for item in known if str(item.path) == name), None)
        return {"model": alias_of(choice), "model_path": name} | engine(item.engine if item else "")
    if choice.startswith("saas/"):
        return {"model": alias_of(choice), "pretrained_model_type": choice, **_SAAS}
    return {"model": alias_of(choice) if choice != "auto" else ""} | engine("" if choice == "auto" else choice)


def engine(name: str) -> dict[str, str]:
    """Return the fields that name an engine of `custom/auto`, a family of `custom/`, or neither."""
    if name.startswith("custom/"):
        return {"pretrained_model_type": name}
    return {"infer_backend": name} if name else {}


def alias_of(choice: str) -> str:
    """Return a first alias for a choice."""
    if choice.startswith("path:"):
        path = choice.removeprefix("path:")
        choice = path.rpartition("/")[2].removesuffix(".gguf").removesuffix(".onnx")
    return re.sub(r"\W+", "_", choice.rpartition("/")[2].lower()).strip("_")


def id_of(spec: DeploySpec) -> str:
    """Return the choice that a deployment is an example of: a preset with the same model and URL, or its type."""
    kind, params = spec.pretrained_model_type, spec.infer_params
    for row in presets.load().values():
        same = row.pretrained_model_type == kind and row.model == params.get("saas.model")
        if same and row.base_url == params.get("saas.base_url"):
            return f"preset:{row.name}"
    if kind == "custom/auto":
        return f"path:{spec.model_path}" if spec.model_path else spec.infer_backend or "auto"
    return f"path:{spec.model_path}" if spec.model_path else kind
