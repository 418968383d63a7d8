"""Deployments by name, with everything but the key filled in: the rows of presets.toml."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from importlib import resources

from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec
from byzer_magic.errors import UnknownKind, suggest
from byzer_magic.i18n import lazy_gettext as _, listed, localized


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One row of presets.toml."""

    name: str
    provider: str
    pretrained_model_type: str
    model: str
    env: str
    """The variable with the key, used when no token is given; empty where no key is needed."""
    base_url: str | None = None
    """The URL, where it is not the type's own."""
    source: str
    checked: str

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """Return what the model can do, in the order of `Capability`."""
        found = model_facts.capabilities(self.model)
        return tuple(capability for capability in Capability if capability in found)

    @property
    def note(self) -> str:
        """Return the model's retirement with the successor, or a risk; a lazy text, empty where there is neither."""
        return model_facts.facts(self.model).note


@functools.cache
def load() -> dict[str, Preset]:
    """Return the presets by name, in the order of the file."""
    text = resources.files("byzer_magic.catalog").joinpath("presets.toml").read_text(encoding="utf-8")
    return {name: Preset(name=name, **row) for name, row in tomllib.loads(text).items()}


def find(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UnknownKind: there is no such preset.

    Example:
        >>> find("gpt4o").model
        'gpt-4o'
    """
    known = load()
    if name not in known:
        hint = suggest(name, known, _("Presets: {names}.", names=listed(known)))
        raise UnknownKind(_("Unknown preset {name!r}.", name=name), hint)
    return known[name]


def spec(easy: EasyDeploySpec) -> DeploySpec:
    """Return the deployment of an `easy deploy`; what the user gives replaces what the preset has.

    Raises:
        UnknownKind: there is no such preset.

    Example:
        >>> spec(EasyDeploySpec(preset="ollama")).infer_params
        {'saas.model': 'qwen3.5'}
    """
    preset = find(easy.preset)
    base_url = easy.base_url or preset.base_url
    params = {"saas.model": preset.model}
    if key := easy.token or (f"${{{preset.env}}}" if preset.env else ""):
        params["saas.api_key"] = key
    if base_url:
        params["saas.base_url"] = base_url
    return DeploySpec(
        model=easy.alias if easy.alias is not None else re.sub(r"[^A-Za-z0-9_]", "_", preset.name),
        pretrained_model_type=preset.pretrained_model_type,
        num_workers=1,
        worker_concurrency=1000,
        cpus_per_worker=0.001,
        gpus_per_worker=0.0,
        infer_params=params | dict(easy.infer_params),
        ray_address=easy.ray_address,
        replace=easy.replace,
        check=not easy.no_check,
        dry_run=easy.dry_run,
    )


def table() -> list[dict[str, str]]:
    """Return the presets as rows of a table, in the active language."""
    return [
        {
            "preset": preset.name,
            "provider": preset.provider,
            "type": preset.pretrained_model_type,
            "model": preset.model,
            "can": ", ".join(preset.capabilities),
            "key": preset.env,
            "note": localized(preset.note),
        }
        for preset in load().values()
    ]
