"""From spec to plan: a deployment that has been checked completely, without Ray, with its secrets kept apart."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from byzer_magic.backends import network, registry, same_source
from byzer_magic.backends.base import Backend, Setup, typed_params
from byzer_magic.backends.engine import devices
from byzer_magic.backends.http.params import secrets_of
from byzer_magic.catalog import prices
from byzer_magic.commands import aliases, env_file, headers
from byzer_magic.commands.secrets import Expansion, Secret, is_reference
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import BadParameter, ByzerError, MissingKey
from byzer_magic.files import paths
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.local_models import engine_choice, files, hardware
from byzer_magic.local_models.hubs import cache
from byzer_magic.local_models.hubs.choice import Wish
from byzer_magic.local_models.hubs.reference import is_in_hub, meant
from byzer_magic.local_models.hubs.variables import of_hubs
from byzer_magic.local_models.hubs.wish import wish_for
from byzer_magic.local_models.installed import file_formats
from byzer_magic.safety import urls

BUDGET_CURRENCY = "USD"
"""Of budgets; a model whose price is in another one can have none."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a pool needs. Its repr shows no secret, because Ray prints the arguments of actors."""

    spec: DeploySpec
    setup: Setup
    why: str = ""
    """Why this type and engine were chosen; empty where the spec names them."""
    capabilities: tuple[str, ...] = ()
    """What the model can do, where that is known from before: an engine then starts asleep, and loads on first use."""
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    """Names the deployment's sockets: the same after a restart, so that clients reconnect without asking Ray."""
    token: Secret = field(default_factory=lambda: Secret(secrets.token_urlsafe(32)))
    """Authorizes connections to the deployment's sockets."""

    @property
    def starts_asleep(self) -> bool:
        """Return whether the model is to be loaded by the first request, as that of an engine which is restored is."""
        return bool(self.capabilities) and self.backend.info.local

    @property
    def engine(self) -> str:
        """Return the most specific name of what runs the model: the engine, else the type."""
        return self.spec.infer_backend or self.spec.pretrained_model_type

    @property
    def model_path(self) -> str | None:
        """Return where its model is, as it is kept: one in a hub as typed, else the absolute path."""
        typed = self.spec.model_path
        return typed if is_in_hub(typed) else self.setup.model_path or typed

    @property
    def located(self) -> DeploySpec:
        """Return the spec with the path of its model on this machine, which other processes can read."""
        return replace(self.spec, model_path=self.setup.model_path)

    @property
    def backend(self) -> type[Backend]:
        """Return the class that serves this plan; each process looks it up itself, since classes are not pickled."""
        return registry.find(self.spec.pretrained_model_type, self.spec.infer_backend)

    @property
    def title(self) -> str:
        """Return the provider's name of the model, a model in a hub as typed, or the name of a file."""
        if is_in_hub(self.spec.model_path):
            return str(self.spec.model_path)
        return str(self.setup.params.get("saas.model") or Path(self.spec.model_path or self.spec.model).name)

    @property
    def price(self) -> prices.Price | None:
        """Return the price of the model, where it is known."""
        url = str(self.setup.params.get("saas.base_url") or "")
        return prices.find(self.spec.pretrained_model_type, self.title, url)

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return the secret values, for the filters of logs and error texts."""
        return (*secrets_of(self.setup.params), *self.setup.network.hidden, self.token.reveal())

    @property
    def network_notes(self) -> list[str]:
        """Return what is not the default about the way to the provider, in sentences."""
        return self.setup.network.describe(network.base_url(self.setup.params))

    @property
    def notes(self) -> list[str]:
        """Return what the user should know before it is deployed, in sentences."""
        backend = self.backend
        return [*self.network_notes, *devices.notes(backend.info, self.setup), *backend.notes(self.setup)]

    def __repr__(self) -> str:
        return f"Plan({self.spec.model}, {self.spec.pretrained_model_type})"


def resolve(
    spec: DeploySpec, variables: Mapping[str, Any], environ: Mapping[str, str], typed: Mapping[str, str] | None = None
) -> Plan:
    """Check a spec completely, without Ray: type, parameters, `${NAME}`, files, installed packages.

    Args:
        spec: the deployment as the user has typed it.
        variables: the notebook's variables, in which `${NAME}` is looked up first.
        environ: environment variables, in which it is looked up next.
        typed: secrets that the user has entered at a prompt, by parameter; they replace those of the spec.

    Raises:
        CommandError: the alias is not one that commands take.
        MissingKey: a secret has no value; `details["param"]` names the parameter, so that a face may prompt for it.
        ConfigError: something is unknown, missing or of the wrong type; the text names it.
        NotFetched: the model is in a hub and not on this machine; `details["model"]` has it as typed.
    """
    aliases.check(spec.model)
    expansion = Expansion(variables, environ)
    try:
        return _resolved(spec, expansion, variables, environ, typed or {})
    except ByzerError as err:
        expansion.restore(err)
        raise


def _resolved(
    spec: DeploySpec,
    expansion: Expansion,
    variables: Mapping[str, Any],
    environ: Mapping[str, str],
    typed: Mapping[str, str],
) -> Plan:
    spec = _scaled(spec)
    path = _path(spec, expansion.expand(spec.model_path), environ) if spec.model_path else None
    spec, why = _with_engine(spec, path)
    backend = registry.find(spec.pretrained_model_type, spec.infer_backend)
    registry.require(backend.info)
    secret = {name: param for param in backend.info.params if param.secret for name in (param.name, *param.aliases)}
    given: dict[str, str] = {}
    for name, text in spec.infer_params.items():
        if name in typed:
            continue
        try:
            value = expansion.expand(text)
            if name in secret:
                value = (expansion.look_up_each if secret[name].several else expansion.look_up)(value)
            given[name] = value
        except MissingKey as err:
            err.details |= {"param": name} if name in secret else {}
            raise
    params = typed_params(backend.info, given | dict(typed), environ, _sources(given, spec, variables, environ))
    expansion.hide(urls.hidden_in(params.values()))
    setup = Setup(
        model=spec.model,
        params=params,
        model_path=path,
        concurrency=spec.worker_concurrency * (1 if backend.info.local else spec.num_workers),
        cpus=spec.cpus_per_worker,
        gpus=spec.gpus_per_worker,
        network=network.Network() if backend.info.stays_here else network.of(params, environ),
    )
    if spec.placement and not backend.info.local:
        raise BadParameter(
            _(
                "--placement is for models that run here: the workers of {kind} share one process.",
                kind=backend.info.kind,
            ),
            _("Leave it out."),
        )
    same_source.check(backend.info, setup, same_source.Origins(spec.infer_params, typed, variables, environ))
    devices.check(backend.info, setup)
    backend.check(setup)
    plan = Plan(spec=spec, setup=setup, why=why)
    _check_budget(plan)
    return plan


def _check_budget(plan: Plan) -> None:
    """Check that it can be known what a budget in dollars is spent on.

    Raises:
        BadParameter: the model's price is not known, or is in another currency.
    """
    price = plan.price
    if not plan.spec.budget_usd or (price is not None and price.currency == BUDGET_CURRENCY):
        return
    hint = _("Leave --budget_usd out, and limit what is used with --tpm or --rpm.")
    if price is None:
        raise BadParameter(_("--budget_usd needs a price, and none is known for {model}.", model=plan.title), hint)
    raise BadParameter(
        _(
            "--budget_usd is in US dollars, and the price of {model} is in {currency}.",
            model=plan.title, currency=price.currency,
        ),
        hint,
    )  # fmt: skip


def _scaled(spec: DeploySpec) -> DeploySpec:
    """Return the spec with a number of workers to begin with that its limits allow.

    Raises:
        BadParameter: they allow none, or not the number that is given.
    """
    limits = spec.scaling
    if limits.high < limits.low:
        raise BadParameter(
            _("--max_workers {high} is less than --min_workers {low}.", high=limits.high, low=limits.low),
            _("Raise --max_workers, or lower --min_workers."),
        )
    if spec.num_workers > limits.high:
        raise BadParameter(
            _("--num_workers {count} is more than --max_workers {high}.", count=spec.num_workers, high=limits.high),
            _("--num_workers is the number to begin with: lower it, or raise --max_workers."),
        )
    return replace(spec, num_workers=limits.within(spec.num_workers)) if limits.auto else spec


def _sources(
    given: Mapping[str, str], spec: DeploySpec, variables: Mapping[str, Any], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the `${NAME}`, `env:NAME` or `keyring:SERVICE/NAME` of each parameter whose value comes from there.

    One that `.env` has is named with that file, which may have been forgotten.
    """
    found = {name: text for name, text in spec.infer_params.items() if name in given and is_reference(text)}
    if isinstance(environ, env_file.Variables):
        for name, text in found.items():
            variable = text[2:-1] if text.startswith("${") else text.removeprefix("env:")
            if variable in environ and variable not in variables and environ.origin(variable) == env_file.NAME:
                found[name] = f"{text}, {env_file.NAME}"
    return found


def _with_engine(spec: DeploySpec, path: str | None) -> tuple[DeploySpec, str]:
    """Return the spec with an engine, chosen by the model's files where none is named, and the reason.

    Raises:
        BadParameter: no engine runs such files, or the named one does not.
    """
    if spec.pretrained_model_type != "custom/auto" or not (path or spec.infer_backend in (None, "auto")):
        return spec, ""
    if spec.infer_backend not in (None, "auto"):
        _check_pair(str(spec.infer_backend), path)
        return spec, ""
    engines = registry.engines()
    weights = files.inspect(path, file_formats(engines))
    machine = hardware.detect()
    choice = engine_choice.choose(weights, machine.for_worker(spec.gpus_per_worker), engines)
    more = _("add --gpus_per_worker 1 to use the GPU") if machine.gpus and not spec.gpus_per_worker else ""
    return replace(spec, pretrained_model_type=choice.kind, infer_backend=choice.engine), join(
        choice.why, more, separator=_("; ")
    )


def _check_pair(engine: str, path: str | None) -> None:
    engines = registry.engines()
    try:
        weights = files.inspect(path, file_formats(engines))
    except BadParameter:
        return  # the engine's own check names what is missing, or knows the files
    engine_choice.check_pair(engine, weights, engines)


def wish_of(spec: DeploySpec) -> Wish:
    """Return what to fetch of a model in a hub for a deployment."""
    kind = spec.pretrained_model_type
    return wish_for(
        spec.infer_backend if kind == "custom/auto" else kind,
        hardware.detect().for_worker(spec.gpus_per_worker),
        registry.engines(),
    )


def _path(spec: DeploySpec, path: str, environ: Mapping[str, str]) -> str:
    """Return where the model is on this machine.

    Raises:
        NotFetched: it is in a hub, and not here yet.
    """
    return str(cache.local(path, of_hubs(environ), wish_of(spec)).absolute()) if is_in_hub(path) else _absolute(path)


def _absolute(path: str) -> str:
    """Return the path as workers need it: absolute, since their working directory differs, and in a hub's cache."""
    if not headers.trimmed(path):
        raise BadParameter(_("{name} is empty.", name="--model_path"), _("Specify a value, or leave it out."))
    if paths.is_odd(path):
        raise BadParameter(*paths.why_missing(path))
    if (hint := meant(path, "")) and not paths.exists(paths.expanded(path)):
        raise BadParameter(_("{path} does not exist.", path=path), hint)
    try:
        return str(files.snapshot(paths.expanded(path).absolute()))
    except OSError as err:  # too long a name, a folder that may not be read
        message = _("{path} cannot be read: {reason}.", path=path, reason=err.strerror)
        raise BadParameter(message, _("Check the path and its permissions.")) from err
