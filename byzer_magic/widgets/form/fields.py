"""The fields of a deploy form, made from the command's options and the backend's settings: plain data, no widget."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from byzer_magic.backends.base import PREFIX, Info, Param
from byzer_magic.commands.options import Option, options_of
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import lazy_gettext as _, localized
from byzer_magic.widgets.form.values import PARAM, Values, is_secret

MODEL, CAPACITY, SETTINGS, ADVANCED = "model", "capacity", "settings", "advanced"
GROUPS = (MODEL, CAPACITY, SETTINGS, ADVANCED)
"""The sections of a form, from top to bottom."""

_GROUP_OF = {
    "model": MODEL, "model_path": MODEL, "infer_backend": MODEL, "num_workers": CAPACITY,
    "worker_concurrency": CAPACITY, "load_balance": CAPACITY, "cpus_per_worker": CAPACITY, "gpus_per_worker": CAPACITY,
    "placement": CAPACITY,
}  # fmt: skip
_LOCAL_ONLY = ("model_path", "infer_backend", "gpus_per_worker", "placement")
"""Options that do not apply to a remote provider."""
_NOT_SHOWN = ("file", "infer_params")
_ESSENTIAL = ("saas.model", "saas.api_key", "saas.base_url")
"""Settings that are shown beside the alias, in this order."""
_ASIDE = ("saas.organization", "saas.aws_profile")
"""Settings with an environment variable that few accounts need."""
_SAME_HELP = 3
"""A help text that more settings share than this is not shown: it describes none of them."""
_SAAS_WORKERS = 32
"""Where the slider for the workers of a provider ends; more can be typed in."""

LABELS = {
    "model": _("Alias"),
    "pretrained_model_type": _("Type"),
    "infer_backend": _("Engine"),
    "model_path": _("Model path"),
    "num_workers": _("Workers"),
    "worker_concurrency": _("Concurrency"),
    "load_balance": _("Load balancing"),
    "cpus_per_worker": _("CPUs per worker"),
    "gpus_per_worker": _("GPUs per worker"),
    "placement": _("Placement"),
    "ray_address": _("Ray cluster"),
    "replace": _("Replace"),
    "check": _("Test request"),
    "dry_run": _("Check only"),
}
"""Options of `deploy`, by name."""
PARAM_LABELS = {
    "api_key": _("API key"),
    "model": _("Model name"),
    "base_url": _("Base URL"),
    "organization": _("Organization"),
    "timeout": _("Timeout"),
    "max_retries": _("Retries"),
    "proxies": _("Proxy"),
    "extra_headers": _("Extra headers"),
    "extra_body": _("Extra fields"),
    "capabilities": _("Capabilities"),
    "temperature": _("Temperature"),
    "max_tokens": _("Max tokens"),
    "app_id": _("App ID"),
    "region_name": _("Region"),
    "service_region": _("Region"),
    "azure_endpoint": _("Endpoint"),
    "azure_deployment": _("Deployment name"),
    "api_version": _("API version"),
    "voice": _("Voice"),
}
"""Settings of backends, by the last part of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the cluster has; without one, what this machine has."""

    cpus: float
    gpus: float
    free_cpus: float | None = None
    free_gpus: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form."""

    key: str
    label: str
    code: str
    """Its name on the command line."""
    help: str
    kind: str
    """`text`, `int`, `float`, `flag`, `bool`, `json`, `secret`, `choice` or `path`."""
    group: str
    default: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    """Where a slider ends; the value may be larger where the cluster grows."""
    step: float | None = None
    required: bool = False
    env: tuple[str, ...] = ()
    """Environment variables that are used when it is empty."""
    known: bool = True
    """False for a setting that the backend does not have, or does not describe."""


def fields_of(info: Info | None, values: Values, bounds: Bounds) -> tuple[Field, ...]:
    """Return the fields for a backend, in the order of the form.

    Args:
        info: the backend, where it is known.
        values: the fields given so far; unknown ones come last.
        bounds: the cluster's resources, where sliders end.
    """
    local = info.local if info else not values.get("pretrained_model_type", "").startswith("saas/")
    options = [
        _of_option(opt, bounds, local=local)
        for opt in options_of(DeploySpec)
        if opt.name not in _NOT_SHOWN and (local or opt.name not in _LOCAL_ONLY or opt.name in values)
    ]
    params = _of_params(info, values) if info else []
    taken = {field.key for field in params}
    others = [_unknown(name, info) for name in values if name.startswith(PARAM) and name not in taken]
    return tuple(sorted([*options, *params, *others], key=_place))


def _place(field: Field) -> tuple[int, int, int]:
    """Return the position of a field: by section, essentials first, settings without a help text of their own last."""
    first = ("--model", *_ESSENTIAL, "--model_path", "--infer_backend")
    return (
        GROUPS.index(field.group),
        first.index(field.code) if field.code in first else len(first) + (not field.required),
        0 if field.known else 1,
    )


def _of_option(opt: Option, bounds: Bounds, *, local: bool) -> Field:
    kind = "choice" if opt.choices else "flag" if opt.kind == "bool" else opt.kind
    kind = "path" if opt.complete in ("path", "model") else kind
    maximum, step = _slider(opt.name, bounds, local=local)
    return Field(
        key=opt.name,
        label=localized(LABELS.get(opt.name, opt.name)),
        code=f"--{opt.name}",
        help=localized(opt.help),
        kind=kind,
        group=_GROUP_OF.get(opt.name, ADVANCED),
        default="auto" if opt.name == "infer_backend" else _text(opt.shown_default),
        choices=tuple(opt.choices),
        minimum=opt.minimum,
        required=opt.required,
        maximum=maximum,
        step=step,
    )


def _slider(name: str, bounds: Bounds, *, local: bool) -> tuple[float | None, float | None]:
    """Return where the slider of a resource ends, and its step."""
    if name == "num_workers":
        return (max(1, int(bounds.cpus)) if local else _SAAS_WORKERS), 1
    if name == "cpus_per_worker" and local:
        return bounds.cpus, 0.5 if bounds.cpus <= 16 else 1
    if name == "gpus_per_worker" and bounds.gpus:
        return bounds.gpus, 0.25 if bounds.gpus <= 4 else 1
    return None, None


def _of_params(info: Info, values: Values) -> list[Field]:
    often = {text for text, count in Counter(param.help for param in info.params).items() if count > _SAME_HELP}
    given = {name.removeprefix(PARAM) for name in values if name.startswith(PARAM)}
    return [_of_param(param, info, given, known=param.help not in often) for param in info.params]


def _of_param(param: Param, info: Info, given: set[str], *, known: bool) -> Field:
    names = [param.name, *param.aliases]
    names += [f"{PREFIX}{name}" for name in names] if info.local else []
    name = next((name for name in names if name in given), param.name)  # as it was typed, so that nothing changes
    tail = param.name.removeprefix("saas.").removeprefix(PREFIX)
    key = f"{PARAM}{name}"
    essential = param.required or param.name in _ESSENTIAL or (bool(param.env) and param.name not in _ASIDE)
    return Field(
        key=key,
        label=localized(PARAM_LABELS.get(tail, tail)),
        code=name,
        help=localized(param.help),
        kind="secret" if is_secret(key, info) else "choice" if param.choices else param.kind,
        group=MODEL if essential else SETTINGS,
        default=_text(param.default),
        choices=tuple(param.choices),
        required=param.required,
        env=param.env,
        known=known,
    )


def _text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else f"{default:g}" if isinstance(default, float) else f"{default}"


def _unknown(name: str, info: Info | None) -> Field:
    code = name.removeprefix(PARAM)
    return Field(
        key=name, label=code, code=code, help="", known=False, group=SETTINGS,
        kind="secret" if is_secret(name, info) else "text",
    )  # fmt: skip
