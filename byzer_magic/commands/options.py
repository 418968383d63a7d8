"""How a command's options are declared: each field of a spec is a flag, with its help, its default and its checks."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from byzer_magic.errors import CommandError

HIDDEN = "***"
"""What stands for a value that must not be seen."""

_SECRET_NAME = re.compile(
    r"(?:api_?key|access_?key|secret_?key|private_?key|token|secret|passw(?:or)?d|credentials?|authorization|proxy|proxies|headers)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Option:
    """How one field appears as a flag."""

    name: str
    help: str
    zh: str
    default: Any
    kind: str
    """`text`, `texts` (the flag may be repeated), `int`, `float`, `flag` (no value) or `params` (key=value words)."""
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    required: bool = False
    positional: bool = False
    """Taken from the words without a flag; the last of several takes all words that remain."""
    secret: bool = False
    complete: str = ""
    """What completes the value: `alias`, `preset`, `kind`, `path`, `command` or nothing."""


def option(default: Any = MISSING, *, help: str, zh: str = "", kind: str = "text", **more: Any) -> Any:  # noqa: A002 - argparse's own word
    """Declare a field that is also a flag; a field without a default is required."""
    meta = {"help": help, "zh": zh, "kind": kind, **more}
    if kind == "params":
        return field(default_factory=dict, metadata=meta)
    return field(metadata=meta) if default is MISSING else field(default=default, metadata=meta)


def options_of(spec: type[Any] | object) -> tuple[Option, ...]:
    """Return the options of a spec class, in the order of their declaration."""
    found = []
    for item in fields(spec):  # type: ignore[arg-type]  # mypy does not see that every spec is a dataclass
        meta = dict(item.metadata)
        required = item.default is MISSING and item.default_factory is MISSING
        default = None if item.default is MISSING else item.default
        if item.default_factory is not MISSING:
            default = item.default_factory()
        found.append(Option(name=item.name, default=default, required=meta.pop("required", required), **meta))
    return tuple(found)


def check(spec: object) -> None:
    """Raise CommandError when a value is outside its declared choices or bounds."""
    for opt in options_of(type(spec)):
        value = getattr(spec, opt.name)
        if opt.choices and value is not None and value not in opt.choices:
            raise CommandError(
                f"--{opt.name} is {value!r}, which is not one of {', '.join(opt.choices)}.",
                suggest(str(value), opt.choices),
            )
        if opt.minimum is not None and value is not None and value < opt.minimum:
            raise CommandError(f"--{opt.name} is {value}, which is below its minimum of {opt.minimum:g}.")


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the hint "Did you mean ...?" with the known name nearest to `word`, or `otherwise` when none is near."""
    by_fold = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f"Did you mean {by_fold[near[0]]}?" if near else otherwise


def is_secret_name(name: str) -> bool:
    """Return whether a setting of that name holds a secret (`saas.api_key` does, `saas.max_tokens` does not)."""
    return bool(_SECRET_NAME.search(name.rpartition(".")[2].replace("-", "_")))


def hide(value: str) -> str:
    """Return ``***``, or the value itself where it only names its secret (`${NAME}`) or is empty."""
    return value if not value or _REFERENCE.fullmatch(value) else HIDDEN


def visible(opt: Option, value: Any) -> Any:
    """Return the value of an option as it may be shown: secrets hidden."""
    if opt.kind == "params":
        return {name: hide(text) if is_secret_name(name) else text for name, text in value.items()}
    return hide(value) if opt.secret and isinstance(value, str) else value


class Spec:
    """Base of all commands: checks its values as it is made, and shows no secret in its repr."""

    __slots__ = ()
    summary = ""
    summary_zh = ""
    examples: tuple[str, ...] = ()
    notebook_only = ""
    """What to do in a shell instead, where the command needs a notebook."""
    keeps_file = False
    """Whether `--file` names options of another command, so that the parser leaves it alone."""

    def __post_init__(self) -> None:
        """Check choices and bounds.

        Raises:
            CommandError: a value is not allowed.
        """
        check(self)

    def __repr__(self) -> str:
        values = ((opt, getattr(self, opt.name)) for opt in options_of(self))
        shown = ", ".join(f"{opt.name}={visible(opt, value)!r}" for opt, value in values if value != opt.default)
        return f"{type(self).__name__}({shown})"
