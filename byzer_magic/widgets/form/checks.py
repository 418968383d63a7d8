"""Errors of a form's fields, a sentence each, by the checks of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from byzer_magic.backends.base import Info, typed_params
from byzer_magic.commands import aliases, parser
from byzer_magic.commands.options import options_of
from byzer_magic.commands.secrets import Expansion
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.errors import ByzerError, MissingKey
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.widgets.form.values import PARAM, Values, error_in, flag_of, is_secret, param_of, params_of

TYPED = "typed-in"
"""Placeholder for a secret while the other fields are checked."""


@dataclass(kw_only=True)
class Verdict:
    """The errors of a form."""

    errors: dict[str, str] = field(default_factory=dict)
    """Errors of given values, by field; of the deployment as one under the empty name."""
    missing: dict[str, str] = field(default_factory=dict)
    """What is missing, by field."""

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.errors or self.missing)


def sentence(err: ByzerError) -> str:
    """Return an error in one line."""
    return re.sub(r"(?<!\s)\s*\n\s*", " ", err.localized())


def check(
    values: Values,
    typed: Iterable[str],
    info: Info | None,
    variables: Mapping[str, Any],
    environ: Mapping[str, str],
) -> Verdict:
    """Return the errors of each field, checked separately.

    Args:
        values: the fields.
        typed: names of secrets that are given beside `values`.
        info: the backend, where it is known.
        variables: the notebook's variables, where `${NAME}` looks first.
        environ: the environment.
    """
    found = Verdict()
    for name, text in values.items():
        if problem := _problem(name, text, info, variables, environ):
            found.errors[name] = problem
    for opt in options_of(DeploySpec):
        if opt.required and not values.get(opt.name):
            found.errors.pop(opt.name, None)
            found.missing[opt.name] = _needs(flag_of(opt.name))
    if info is not None:
        found.missing |= _missing(values, set(typed), info, environ)
    return found


def _needs(name: str) -> str:
    return _("{name} is required.", name=name)


def _problem(name: str, text: str, info: Info | None, variables: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    expansion = Expansion(variables, environ)
    try:
        parser.check_placeholder(flag_of(name), text)
        if name == "model":
            aliases.check(text)
        if not name.startswith(PARAM):
            return error_in(name, text)
        value = expansion.expand(text)
        if info is not None:
            hidden = is_secret(name, info) and param_of(name, info) is not None
            _alone(
                info, name.removeprefix(PARAM), TYPED if hidden and value.strip() and _is_text(name, info) else value
            )
    except ByzerError as err:
        expansion.restore(err)
        return sentence(err)
    return ""


def _is_text(name: str, info: Info) -> bool:
    param = param_of(name, info)
    return param is not None and param.kind == "text"


def _alone(info: Info, name: str, value: str) -> None:
    """Check one setting of a backend, independently of the others."""
    free = tuple(replace(param, required=False, env=()) for param in info.params)
    typed_params(replace(info, params=free), {name: value}, {})


def _missing(values: Values, typed: set[str], info: Info, environ: Mapping[str, str]) -> dict[str, str]:
    """Return a sentence for each setting that is required and has no value, not even in the environment."""
    names = {param_of(name, info) for name in (*values, *typed) if values.get(name) or name in typed}
    given = {param.name for param in names if param is not None}
    found = {}
    for one in info.params:
        if not one.required or one.name in given:
            continue
        only = tuple(replace(param, required=param is one, kind="text", choices=()) for param in info.params)
        others = dict.fromkeys(given, TYPED)
        try:
            typed_params(replace(info, params=only), others, environ)
        except MissingKey as err:
            found[f"{PARAM}{one.name}"] = localized(err.message)
    return found


def attribute(err: ByzerError, values: Values, keys: Iterable[str]) -> str:
    """Return the field that an error of the deployment names, or an empty text."""
    if param := err.details.get("param"):
        return f"{PARAM}{param}"
    path = values.get("model_path", "")
    if path and path in err.message:
        return "model_path"
    by_length = sorted({*keys, *values}, key=len, reverse=True)
    return next((key for key in by_length if _names(flag_of(key), err.message)), "")


def _names(flag: str, text: str) -> bool:
    """Return whether a text has a flag or a setting as a separate word."""
    return ("." in flag or "_" in flag) and bool(re.search(rf"(?<![\w.-]){re.escape(flag)}(?![\w])", text))


def settings(values: Values) -> dict[str, str]:
    """Return the backend's settings for a check that must not look into keyrings."""
    return {name: TYPED if text.startswith("keyring:") else text for name, text in params_of(values).items()}
