"""Named, pre-filled deployments: the rows of presets.toml."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One row of presets.toml."""

    name: str
    provider: str
    pretrained_model_type: str
    model: str
    env: str
    """Variable that holds the key when no token is given; empty where none is needed."""
    base_url: str | None = None
    """Endpoint, where it is not the type's own."""
    source: str
    checked: str

    @property
    def capabilities(self) -> tuple[Capability, ...]:
        """Return what the model can do, as the catalog has it."""
        able = model_facts.capabilities(self.model)
        return tuple(capability for capability in Capability if capability in able)

    @property
    def note(self) -> str:
        """Return the model's retirement or risk, with the successor."""
        return model_facts.facts(self.model).note


@functools.cache
def load() -> dict[str, Preset]:
    """Return the presets by name, in the order of the file."""
    text = resources.files("byzer_magic.catalog").joinpath("presets.toml").read_text(encoding="utf-8")
    return {name: Preset(name=name, **row) for name, row in tomllib.loads(text).items()}


def find(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        UnknownKind: there is none; the nearest is in the hint.
    """
    known = load()
    if name not in known:
        raise UnknownKind(f"There is no preset {name!r}.", suggest(name, known, f"Presets: {', '.join(known)}."))
    return known[name]


def spec(easy: EasyDeploySpec) -> DeploySpec:
    """Return the deployment that `easy deploy` stands for; what the user gives wins over the preset.

    Raises:
        UnknownKind: there is no such preset.
    """
    preset = find(easy.preset)
    base_url = easy.base_url or preset.base_url
    params = {"saas.model": preset.model}
    if key := easy.token or (f"${{{preset.env}}}" if preset.env else ""):
        params["saas.api_key"] = key
    if base_url:
        params["saas.base_url"] = base_url
    return DeploySpec(
        model=easy.alias or re.sub(r"[^A-Za-z0-9_]", "_", preset.name),
        pretrained_model_type=preset.pretrained_model_type,
        num_workers=1,
        worker_concurrency=1000,
        cpus_per_worker=0.001,
        gpus_per_worker=0.0,
        infer_params=params | dict(easy.infer_params),
        ray_address=easy.ray_address,
        replace=easy.replace,
        dry_run=easy.dry_run,
    )


def table() -> list[dict[str, str]]:
    """Return the presets as rows to show."""
    return [
        {
            "preset": preset.name,
            "provider": preset.provider,
            "type": preset.pretrained_model_type,
            "model": preset.model,
            "can": ", ".join(preset.capabilities),
            "key": preset.env,
            "note": preset.note,
        }
        for preset in load().values()
    ]
