"""What the driver hands to Ray: a spec that has been checked, with its secrets beside it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.backends.base import Backend, Setup, typed_params
from byzer_magic.backends.http.params import secrets_of
from byzer_magic.commands.secrets import Secret, expand, look_up
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, MissingKey
from byzer_magic.local_models import engine_choice, files, hardware
from byzer_magic.local_models.installed import file_formats

MAX_QUEUED = 10_000
"""Requests that may wait in one pool before it answers Overloaded."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything a pool needs; its repr shows no secret, because Ray prints constructor arguments."""

    spec: DeploySpec
    setup: Setup
    why: str = ""
    """Why this type and engine, where nobody named them."""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    """Names the deployment's sockets: the same after a restart, so that clients need not ask Ray where it is."""
    token: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))
    """Opens the deployment's sockets."""

    @property
    def engine(self) -> str:
        """Return what runs it, by the name that says most."""
        return self.spec.infer_backend or self.spec.pretrained_model_type

    @property
    def backend(self) -> type[Backend]:
        """Return the class that serves this plan (looked up again in each process)."""
        return registry.find(self.spec.pretrained_model_type, self.spec.infer_backend)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the secret values, for the filters that keep them out of texts."""
        return (*secrets_of(self.setup.params), self.token.reveal())

    def __repr__(self) -> str:
        return f"Plan({self.spec.model}, {self.spec.pretrained_model_type})"


def resolve(
    spec: DeploySpec, variables: Mapping[str, Any], environ: Mapping[str, str], typed: Mapping[str, str] | None = None
) -> Plan:
    """Check a spec completely, without Ray: type, parameters, `${NAME}`, files, installed packages.

    `variables` are the notebook's; `${NAME}` looks there first, then in `environ`. `typed` are secrets that somebody
    has typed in; they stand in for those of the spec.

    Raises:
        MissingKey: a secret has no value; where somebody can be asked, `details["param"]` is what to ask for.
        ConfigError: something is unknown, missing or of the wrong type; the text names it.
    """
    typed = typed or {}
    path = _absolute(expand(spec.model_path, variables, environ)) if spec.model_path else None
    spec, why = _with_engine(spec, path)
    backend = registry.find(spec.pretrained_model_type, spec.infer_backend)
    registry.require(backend.info)
    secret = {name for param in backend.info.params if param.secret for name in (param.name, *param.aliases)}
    given: dict[str, str] = {}
    for name, text in spec.infer_params.items():
        if name in typed:
            continue
        try:
            value = expand(text, variables, environ)
            given[name] = look_up(value, variables, environ) if name in secret else value
        except MissingKey as err:
            err.details |= {"param": name} if name in secret else {}
            raise
    setup = Setup(
        model=spec.model,
        params=typed_params(backend.info, given | dict(typed), environ),
        model_path=path,
        concurrency=spec.worker_concurrency * (1 if backend.info.local else spec.num_workers),
        cpus=spec.cpus_per_worker,
        gpus=spec.gpus_per_worker,
    )
    backend.check(setup)
    return Plan(spec=spec, setup=setup, why=why)


def _with_engine(spec: DeploySpec, path: str | None) -> tuple[DeploySpec, str]:
    """Return the spec with an engine, chosen by the model's files where none is named, and why it was chosen.

    Raises:
        BadParameter: nothing runs such files, or the engine that is named does not.
    """
    if spec.pretrained_model_type != "custom/auto" or not (path or spec.infer_backend in (None, "auto")):
        return spec, ""
    if spec.infer_backend not in (None, "auto"):
        _check_pair(str(spec.infer_backend), path)
        return spec, ""
    engines = registry.engines()
    weights = files.look(path, file_formats(engines))
    machine = hardware.look()
    choice = engine_choice.choose(weights, machine.for_worker(spec.gpus_per_worker), engines)
    more = "; add --gpus_per_worker 1 to give it the GPU" if machine.gpus and not spec.gpus_per_worker else ""
    return replace(spec, pretrained_model_type=choice.kind, infer_backend=choice.engine), f"{choice.why}{more}"


def _check_pair(engine: str, path: str | None) -> None:
    engines = registry.engines()
    try:
        weights = files.look(path, file_formats(engines))
    except BadParameter:
        return  # the engine's own check names what is missing, or knows the files
    engine_choice.check_pair(engine, weights, engines)


def _absolute(path: str) -> str:
    """Return the path as the workers must see it: they run in another folder, and know nothing of a hub's cache."""
    return str(files.snapshot(Path(path).expanduser().absolute()))
