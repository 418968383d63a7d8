"""The contract between a pool and a backend.

You provide: a class with `info` (its name, its parameters, what to install), `open`, `close`, and one method
per capability (`chat`, `embed`, ...; see `byzer_magic.capabilities`). You get: flags, completion, `--help`, checked and
converted parameters, expanded secrets, workers, limits, a queue, cancellation, retries before the first token, stat,
errors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

from byzer_magic.backends.network import Network
from byzer_magic.capabilities import TABLE, Capability, Trait, methods_of
from byzer_magic.commands import copied, former, headers, options
from byzer_magic.commands.secrets import Secret, several
from byzer_magic.errors import BadParameter, MissingKey, Unsupported, nearest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models.engine_facts import EngineFacts
from byzer_magic.types import Item, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Param(options.Setting):
    """One setting of a backend, named as users type it (`saas.model`, `n_ctx`).

    Example:
        >>> Param(name="saas.timeout", help=_("seconds to wait"), kind="float", default=60.0).default
        60.0
    """

    env: tuple[str, ...] = ()
    """Environment variables that are used when the setting is not given; the provider's own names."""
    env_unless: str = ""
    """A setting that keeps `env` out when it is given: a key of one provider must not go to another's URL."""
    aliases: tuple[str, ...] = ()
    several: bool = False
    """Whether there may be several values, separated by commas, of which each request uses one: of keys only."""
    header: bool | None = None
    """Whether its value is sent in an HTTP header; by default, a secret's is."""

    @property
    def is_url(self) -> bool:
        """Return whether it is where requests, and with them keys, go."""
        return self.name.endswith(options.URL_ENDS)

    @property
    def in_header(self) -> bool:
        """Return whether its value is sent in an HTTP header, so that it must be one that headers can have."""
        return self.secret if self.header is None else self.header


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What a backend declares about itself, without importing anything heavy.

    Example:
        >>> Info(kind="saas/acme", title="Acme", params=(), requires=("acme_sdk",)).install_command
        'pip install acme-sdk'
    """

    kind: str
    """`saas/openai`, or the engine's name for local models."""
    title: str
    params: tuple[Param, ...]
    requires: tuple[str, ...] = ()
    """Import names of which one must be installed; an engine has them in `engine.packages`."""
    extra: str = ""
    """The extra of byzer-magic that installs it; empty for a backend of another package."""
    capabilities: frozenset[Capability] = frozenset()
    traits: frozenset[Trait] = frozenset()
    """What the endpoint minds about its API or its engine."""
    finds_keys: bool = False
    """Whether its SDK looks for keys by itself where none is given."""
    context_param: str = ""
    """The setting of the context's length, where an API has one; an engine has it in `engine`."""
    engine: EngineFacts | None = None
    """For an engine of local models: its formats, packages and memory."""

    @property
    def local(self) -> bool:
        """Return whether it runs local models, in one process per worker; SaaS workers are slots in the pool."""
        return self.engine is not None

    @property
    def all_traits(self) -> frozenset[Trait]:
        """Return its traits, with those of all local engines where it is one.

        Example:
            >>> sorted(Info(kind="saas/acme", title="", params=(), traits=frozenset({Trait.SEVERAL})).all_traits)
            [<Trait.SEVERAL: 'several'>]
        """
        return self.traits | ({Trait.ENGINE, Trait.IN_CLUSTER} if self.local else set())

    @property
    def stays_here(self) -> bool:
        """Return whether its requests stay in the cluster, so that no proxy or certificate matters."""
        return Trait.IN_CLUSTER in self.all_traits

    @property
    def modules(self) -> tuple[str, ...]:
        """Return the import names of which one must be installed."""
        return tuple(package.module for package in self.engine.packages) if self.engine else self.requires

    @property
    def install_command(self) -> str:
        """Return the command that installs what it needs."""
        if self.extra:
            return f"pip install 'byzer-magic[{self.extra}]'"
        first = self.engine.packages[0].distributions[:1] if self.engine else ()
        return f"pip install {(*first, *self.modules)[0].replace('_', '-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """All that a backend needs to open: converted parameters, secrets still wrapped.

    Example:
        >>> Setup(model="gpt4o_chat", params={"saas.model": "gpt-4o"}, concurrency=10).params["saas.model"]
        'gpt-4o'
    """

    model: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    model_path: str | None = None
    concurrency: int = 1
    """Requests that one instance runs at once: a worker's of a local engine, all of the deployment's of an API."""
    cpus: float = 0.0
    gpus: float = 0.0
    network: Network = field(default_factory=Network, repr=False)
    """How requests of an API leave the machine; clients are made with it, since each library has rules of its own."""


class Report(Protocol):
    """Receives the progress of a backend while it opens; may be called from any thread."""

    def __call__(self, stage: str, fraction: float | None = None, detail: str = "", /) -> None:
        """Report a stage, the fraction of it that is done (0..1) if known, and a detail that changes within it."""


class Backend(ABC):
    """Adapter for one provider or engine; an instance serves one worker (local) or all slots of a pool (SaaS)."""

    info: ClassVar[Info]
    takes_adapters: ClassVar[bool] = False
    """Whether requests may choose a LoRA adapter, with the option `lora`."""

    @classmethod  # noqa: B027 - a backend may have nothing to check
    def check(cls, setup: Setup) -> None:
        """Check, in the driver and before anything starts, what `Info.params` cannot express (files, combinations).

        Raises:
            ByzerError: the deployment cannot work.
        """

    @classmethod
    def notes(cls, setup: Setup) -> list[str]:
        """Return what a user who deploys this should know, in sentences; mostly nothing."""
        _ = setup
        return []

    @classmethod
    @abstractmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import the SDK or engine, load what must be loaded, and return the working backend."""

    @abstractmethod
    async def close(self) -> None:
        """Free connections, memory and processes."""

    def capabilities(self) -> frozenset[Capability]:
        """Return what this instance can do: the methods it has, and those of `info.capabilities` that have none."""
        return methods_of(self) | (self.info.capabilities - TABLE.keys())

    def ask(self, capability: Capability, request: Request) -> AsyncIterator[Item]:
        """Return the items of the response, from the method that is named like the capability.

        The first one is an `Unsupported` where the request chooses an adapter, and this backend has none to choose.
        """
        if not self.takes_adapters and getattr(request, "options", {}).get("lora") is not None:
            return _without_adapters(self.info.title or self.info.kind)
        items: AsyncIterator[Item] = getattr(self, capability.value)(request)
        return items


async def _without_adapters(title: str) -> AsyncIterator[Item]:
    raise Unsupported(
        _("{title} takes no LoRA adapters in requests.", title=title),
        _("Deploy the model with vLLM or transformers and backend.enable_lora=true, or leave the adapter out."),
    )
    yield  # type: ignore[unreachable]  # makes it a generator, which raises where the response is read


def typed_params(
    info: Info, given: Mapping[str, str], environ: Mapping[str, str], sources: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the parameters of a backend: converted, with defaults, secrets wrapped, aliases resolved.

    Args:
        info: declares the parameters.
        given: the values as typed, by name or alias.
        environ: the environment variables that may have values that are not given.
        sources: where values come from that were not typed, such as `${NAME}`, for errors.

    Raises:
        BadParameter: a name is unknown, or a value has the wrong type or cannot be sent.
        MissingKey: a required parameter has no value.

    Example:
        >>> info = Info(kind="saas/demo", title="", params=(Param(name="saas.seed", help="", kind="int"),))
        >>> typed_params(info, {"saas.seed": "7"}, {})
        {'saas.seed': 7}
    """
    by_name = {name: param for param in info.params for name in (param.name, *param.aliases)}
    if info.local:  # engines' settings are known with and without their family's prefix
        by_name |= {f"{PREFIX}{name}": param for name, param in by_name.items()}
    found: dict[str, Any] = {}
    for name, text in given.items():
        param = by_name.get(name)
        if param is None and name in former.IGNORED and not info.local:
            continue
        if param is None:
            raise _unknown(info, name, by_name)
        label = f"{name} ({sources[name]})" if sources and name in sources else name
        if param.secret and not headers.trimmed(text):
            raise BadParameter(_("{name} is empty.", name=label), _("Specify a value, or leave it out."))
        found[param.name] = _wrap(param, _sendable(param, convert(param, text, label), label))
    explicit = set(found)
    for param in info.params:
        if param.name not in found:
            env = () if param.env_unless in explicit else param.env
            variable = next((name for name in env if headers.trimmed(environ.get(name, ""))), None)
            value = environ[variable] if variable else param.default
            if value is None and param.required:
                raise _missing(info, param, unused=bool(param.env) and not env)
            if value is not None:
                label = f"{param.name} ({variable})" if variable else param.name
                found[param.name] = _wrap(param, _sendable(param, value, label))
    return found


def _sendable(param: Param, value: Any, label: str) -> Any:
    """Return a value as it can be sent: what is copied often has a line break or an invisible character at its end.

    Args:
        param: the setting.
        value: its value, converted.
        label: how errors call it: by its name, and the variable that it comes from.

    Raises:
        BadParameter: it is to be sent in an HTTP header, and none can have it; or it has more than the key or the name.
    """
    if isinstance(value, dict) and param.in_header:
        return headers.checked_all(value, label)
    if not isinstance(value, str):
        return value
    if param.name.endswith(_NAMES) and value != param.default:
        copied.check_name(headers.trimmed(value), label)
    if param.in_header:
        return _key(param, value, label) if param.secret else headers.checked(value, label)
    return headers.trimmed(value) if param.secret or param.name.endswith(_TRIMMED) else value


def _key(param: Param, text: str, label: str) -> str:
    """Return a key as it can be sent, or several, separated by commas, each but once.

    Raises:
        BadParameter: one cannot be sent, or there are several where there may be one.
    """
    keys = several(headers.trimmed(text))
    if len(keys) == 1 or not keys[-1]:  # a comma at the end came along from a list
        return headers.checked_key(text, label)
    if not param.several:
        raise BadParameter(
            _("{name} has a comma, which no key of this kind has.", name=label),
            _("To use several accounts, deploy each under an alias of its own, and make a route: alias best=a,b"),
        )
    if not all(keys):
        raise BadParameter(_("{name} has an empty key among its keys.", name=label), _("Remove one of the commas."))
    return ",".join(dict.fromkeys(headers.checked_key(key, f"{label} #{at}") for at, key in enumerate(keys, 1)))


_TRIMMED = ("model", "url", "endpoint", "region", "region_name", "deployment", "version")
"""How the names of settings end whose values have no white space at their ends; a stop text may."""
_NAMES = ("model", "deployment", "region", "region_name")
"""How the names of settings end whose values are names."""


def _wrap(param: Param, value: Any) -> Any:
    return Secret(str(value)) if param.secret and not isinstance(value, Secret) else value


def _unknown(info: Info, name: str, known: Mapping[str, Param]) -> BadParameter:
    if (instead := former.parameter(info.kind, name)) is not None:
        return BadParameter(_("{kind} has no parameter {name!r}.", kind=info.kind, name=name), instead)
    tail = {key.rpartition(".")[2]: key for key in known}
    near = nearest(name, known) or tail.get(nearest(name.rpartition(".")[2], tail, cutoff=0.7), "")
    names = listed(sorted(param.name for param in info.params))
    hint = _("Did you mean {name}?", name=near) if near else _("Parameters: {names}.", names=names)
    return BadParameter(_("{kind} has no parameter {name!r}.", kind=info.kind, name=name), hint)


def _missing(info: Info, param: Param, *, unused: bool) -> MissingKey:
    setting = f"{param.name}={'${YOUR_KEY}' if param.secret else '...'}"
    variables = listed(param.env)
    if unused:
        hint = _(
            "Add --infer_params {setting} ({variables} is used with the provider's own URL only, not with {url}).",
            setting=setting, variables=variables, url=param.env_unless,
        )  # fmt: skip
    elif param.env:
        hint = _("Add --infer_params {setting}, or set {variables}.", setting=setting, variables=variables)
    else:
        hint = _("Add --infer_params {setting}.", setting=setting)
    details = {"param": param.name} if param.secret else {}
    return MissingKey(_("{kind} needs {name}.", kind=info.kind, name=param.name), hint, **details)


PREFIX = "backend."
"""May precede the settings of every local engine, as it precedes those of vLLM in older commands."""


def convert(param: Param, text: str, label: str = "") -> Any:
    """Return `text` as the parameter's type; an error calls it by `label`, by default its name.

    Raises:
        BadParameter: the text is not of that type, or not one of the choices.

    Example:
        >>> convert(Param(name="n_ctx", help="", kind="int"), "4096")
        4096
    """
    return options.convert(param, text, label, error=BadParameter)
