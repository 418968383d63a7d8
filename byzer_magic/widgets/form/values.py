"""A deployment as the texts in a form's fields, and back: the parser and the checks are those of the command line.

`Values` holds what is given, by field: an option by its name, a setting of the backend by `infer_params.` and its
name as typed. What is not in it has its default; what is in it may be an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from byzer_magic.backends.base import Info, Param
from byzer_magic.catalog import presets
from byzer_magic.commands import parser, yaml_file
from byzer_magic.commands.options import is_secret_name, options_of
from byzer_magic.commands.secrets import is_reference
from byzer_magic.commands.spec import DeploySpec, EasyDeploySpec, name_of
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _, localized
from byzer_magic.safety import urls

Values = Mapping[str, str]

PARAM = "infer_params."
"""Prefix of the key of a backend's setting."""
UNNAMED = "<alias>"
"""Placeholder in a line for a missing alias; the parser rejects it."""
_MARK = "\u2060"
"""Put before `<...>` while a pasted command is parsed, so that the form can show what is not filled in yet."""
_PLACEHOLDER = re.compile(r"(^|=)(?=<[^<>]+>$)")
_CELL_MAGIC = re.compile(r"\A\s*%%byzer[ \t]*(?:\n|\Z)")


def values_of(spec: DeploySpec) -> dict[str, str]:
    """Return the fields of a form for a deployment; `spec_of` returns the same deployment."""
    found: dict[str, str] = {}
    for opt in options_of(spec):
        value = getattr(spec, opt.name)
        if opt.kind == "params":
            found |= {f"{PARAM}{name}": text for name, text in value.items()}
        elif opt.required or value != opt.default:
            found[opt.name] = "true" if value is True else str(value)
    return found


def spec_of(values: Values) -> DeploySpec:
    """Return the deployment that the fields describe.

    Raises:
        CommandError: a field is invalid or missing; the message names its flag.
    """
    for name, text in values.items():
        parser.check_placeholder(flag_of(name), text)
    return _built(values)


def _built(values: Values) -> DeploySpec:
    options = {name: text for name, text in values.items() if not name.startswith(PARAM)}
    return parser.build(DeploySpec, {**options, "infer_params": params_of(values)})


def params_of(values: Values) -> dict[str, str]:
    """Return the settings of the backend by their names."""
    return {name.removeprefix(PARAM): text for name, text in values.items() if name.startswith(PARAM)}


def flag_of(name: str) -> str:
    """Return what a field is called on the command line."""
    return name.removeprefix(PARAM) if name.startswith(PARAM) else f"--{name}"


# ---- commands


def from_text(text: str) -> DeploySpec:
    """Return the deployment of a pasted command: `deploy` or `easy deploy`, from a cell, a shell or a guide.

    Placeholders such as `<path>` stay in it, and a missing alias is empty: the form shows both.

    Raises:
        CommandError: the text is not such a command, or cannot be parsed.
    """
    commands = parser.split_block(_CELL_MAGIC.sub("", text))
    if not commands:
        raise CommandError(
            _("The text contains no command."), _("Paste a line that begins with deploy or easy deploy.")
        )
    return _parsed([_PLACEHOLDER.sub(rf"\1{_MARK}", word) for word in parser.split(commands[0])])


def from_file(path: str) -> DeploySpec:
    """Return the deployment of a YAML file, as `deploy --file` reads it.

    Raises:
        CommandError: the file cannot be read or understood.
    """
    return _parsed(["deploy", "--file", path])


def _parsed(words: list[str]) -> DeploySpec:
    try:
        found = parser.parse(words)
    except parser.HelpRequested:
        raise CommandError(
            _("The command only shows help."), _("Paste a line that begins with deploy or easy deploy.")
        ) from None
    except CommandError as err:
        if not (err.message.endswith("needs --model.") and words[:1] == ["deploy"]):
            raise
        found = parser.parse([*words, "--model="])
    if isinstance(found, EasyDeploySpec):
        found = presets.spec(found)
    if not isinstance(found, DeploySpec):
        raise CommandError(
            _("The command {name} does not deploy anything.", name=name_of(type(found))),
            _("Paste a line that begins with deploy or easy deploy."),
        )
    values = {name: text.replace(_MARK, "") for name, text in values_of(found).items()}
    return _built(values)


# ---- secrets


def is_secret(name: str, info: Info | None) -> bool:
    """Return whether a field holds a secret: by its name, or because the backend declares it."""
    if not name.startswith(PARAM):
        return False
    param = param_of(name, info)
    return is_secret_name(name) or (param is not None and param.secret)


def param_of(name: str, info: Info | None) -> Param | None:
    """Return the backend's setting of a field, by its name or an alias."""
    bare = name.removeprefix(PARAM)
    for param in info.params if info else ():
        names = (param.name, *param.aliases)
        if bare in names or (info and info.local and bare.removeprefix("backend.") in names):
            return param
    return None


def apart(values: Values, info: Info | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the fields without secrets, and the secrets."""
    hidden = {name: text for name, text in values.items() if is_secret(name, info) and text and not is_reference(text)}
    return {name: text for name, text in values.items() if name not in hidden}, hidden


def reference(name: str, values: Values, info: Info | None) -> str:
    """Return the `${NAME}` that a line has in place of a secret: the provider's own variable, where it is its own."""
    param = param_of(name, info)
    url = values.get(f"{PARAM}saas.base_url", "")
    if param is not None and param.env and not (param.env_unless and f"{PARAM}{param.env_unless}" in values):
        return f"${{{param.env[0]}}}"
    known = next((row.env for row in presets.load().values() if row.env and row.base_url == url), "")
    if known and name.endswith(".api_key"):
        return f"${{{known}}}"
    host = urls.split(url).hostname or ""
    owner = values.get("model") or host or values.get("pretrained_model_type", "").rpartition("/")[2]
    return f"${{{_variable(owner, name.rpartition('.')[2])}}}"


def _variable(*parts: str) -> str:
    name = re.sub(r"\W+", "_", "_".join(filter(None, parts)), flags=re.ASCII).strip("_").upper()
    return f"KEY_{name}" if name[:1].isdigit() else name


def line_of(values: Values, typed: Iterable[str], info: Info | None) -> str:
    """Return the form's command; in place of secrets (those of `typed`, too) it has `${NAME}`.

    Fields whose values no command can have are left out.
    """
    return f"%byzer {parser.line(_without_secrets(values, typed, info))}"


def yaml_of(values: Values, typed: Iterable[str], info: Info | None) -> str:
    """Return the same deployment as the YAML that `deploy --file` takes."""
    return yaml_file.write(_without_secrets(values, typed, info))


def _without_secrets(values: Values, typed: Iterable[str], info: Info | None) -> DeploySpec:
    seen, hidden = apart(values, info)
    shown = seen | {name: reference(name, values, info) for name in (*hidden, *typed)}
    wrong = {name for name, text in shown.items() if not name.startswith(PARAM) and error_in(name, text)}
    kept = {name: text for name, text in shown.items() if name not in wrong}
    return _built({**kept, "model": kept.get("model") or UNNAMED})


def error_in(name: str, text: str) -> str:
    """Return the error of a single option's value, or an empty text."""
    try:
        parser.build(DeploySpec, {"model": "x", name: text})
    except CommandError as err:
        return " ".join(filter(None, (localized(err.message), localized(err.hint))))
    return ""
