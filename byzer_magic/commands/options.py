"""How settings are declared and converted: options of commands, each a field of a spec, and parameters of backends."""

from __future__ import annotations

import json
import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar

from byzer_magic.commands import durations
from byzer_magic.commands.typography import explain
from byzer_magic.errors import ByzerError, CommandError, suggest
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.log import redact
from byzer_magic.safety import urls

HIDDEN = "***"
"""Shown in place of a secret."""
LARGEST = 2**63 - 1
"""Of whole numbers: what follows (SQLite, MessagePack) takes no larger one."""
LONGEST_NAME = 256
"""Characters between the braces of a `${NAME}`; a longer text is none, so that no pattern searches all of a line."""

_SECRET_NAME = re.compile(
    r"(?:api_?key|access_?key|secret_?key|private_?key|token|secret|passw(?:or)?d|credentials?|authorization|proxy|proxies|headers)$",
    re.IGNORECASE,
)
_REFERENCE = re.compile(rf"\$\{{[^}}]{{0,{LONGEST_NAME}}}\}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One named, typed value that users give: an option of a command, or a parameter of a backend (`Param`)."""

    name: str
    help: str
    """What it means: a lazy text, shown by `localized`."""
    kind: str = "text"
    """`text`, `int`, `float`, `bool`, `json` or `duration` (`10m`, in seconds); of options also `texts` (may be
    repeated) and `params` (key=value)."""
    default: Any = None
    required: bool = False
    secret: bool = False
    choices: Sequence[str] = ()
    """The allowed values; a sequence may compute them when it is read, as that of the engines does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option(Setting):
    """One field of a spec as a flag; one of kind `bool` takes no value."""

    minimum: float | None = None
    maximum: float = LARGEST
    positional: bool = False
    """Taken from the words without a flag; the last of several takes all words that remain."""
    several: bool = False
    """Whether it takes several values: numbers with commas are a tuple, each of `params` may be a list in brackets."""
    complete: str = ""
    """What completes the value: `alias`, `preset`, `kind`, `path`, `model` (a path or one in a hub),
    `answer` (one that is kept), or nothing."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Values under the names that byzer-llm has for them, which are taken too."""

    @property
    def shown_default(self) -> Any:
        """Return the default as users write it.

        Example:
            >>> Option(name="silence", help="", kind="duration", default=1800.0).shown_default
            '30m'
        """
        is_duration = self.kind == "duration" and self.default is not None
        return durations.written(self.default) if is_duration else self.default


def option(default: Any = MISSING, *, help: str, kind: str = "text", **more: Any) -> Any:  # noqa: A002 - argparse's own word
    """Declare a field of a spec that is also a flag.

    Args:
        default: its value when the flag is not given; without one, the flag is required.
        help: what it means, a lazy text.
        kind: see `Setting.kind`.
        more: other fields of `Option`.
    """
    meta = {"help": help, "kind": kind, **more}
    if kind == "params":
        return field(default_factory=dict, metadata=meta)
    return field(metadata=meta) if default is MISSING else field(default=default, metadata=meta)


TRUE = ("true", "1", "yes", "on")
FALSE = ("false", "0", "no", "off")
_KINDS = {
    "int": _("a whole number"), "float": _("a number"), "bool": _("true or false"), "json": _("valid JSON"),
    "duration": _("a duration such as 90s, 10m or 1h30m"),
}  # fmt: skip


def convert(setting: Setting, text: str, label: str = "", error: type[ByzerError] = CommandError) -> Any:
    """Return `text` as the setting's type.

    Args:
        setting: the option or parameter whose value it is.
        text: the value as typed.
        label: how an error calls the setting; its name by default.
        error: the class of the errors raised.

    Raises:
        ByzerError: the text is not of that type, or not one of the choices; of class `error`.

    Example:
        >>> convert(Setting(name="saas.fast", help="", kind="bool"), "yes")
        True
    """
    label = label or setting.name
    hidden = setting.secret or is_secret_name(setting.name)
    shown = HIDDEN if hidden else redact(repr(text))
    try:
        value = _CONVERTERS[setting.kind](text)
    except (ValueError, RecursionError) as err:  # the latter for a thousand brackets of JSON
        wanted = _KINDS[setting.kind]
        message = _("{name} is {value}, which is not {kind}.", name=label, value=shown, kind=wanted)
        raise error(message, "" if hidden else explain(text)) from err
    if setting.choices and value not in setting.choices:
        raise error(not_a_choice(label, shown, setting.choices), suggest(text, setting.choices))
    return value


def not_a_choice(label: str, shown: str, choices: Iterable[str]) -> Text:
    """Return the message for a value that is not one of the choices."""
    return _("{name} is {value}, which is not one of {choices}.", name=label, value=shown, choices=listed(choices))


def _bool(text: str) -> bool:
    low = text.strip().lower()
    if low not in TRUE + FALSE:
        raise ValueError(text)
    return low in TRUE


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": int,
    "float": _float,
    "bool": _bool,
    "json": json.loads,
    "duration": durations.seconds_in,
}


def options_of(spec: type[Any] | object) -> tuple[Option, ...]:
    """Return the options of a spec or its class, in the order of their declaration."""
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
    """Check the values of a spec against the declared choices and bounds.

    Raises:
        CommandError: a value is not allowed.
    """
    for opt in options_of(type(spec)):
        given = getattr(spec, opt.name)
        for value in given if opt.several and isinstance(given, tuple) else (given,):
            _check(opt, value)


_NUMBERS: dict[str, Callable[[Any], bool]] = {
    "int": lambda value: isinstance(value, numbers.Integral),
    "float": lambda value: isinstance(value, numbers.Real) and math.isfinite(value),
}


def _check(opt: Option, value: Any) -> None:
    if value is not None and opt.choices and value not in opt.choices:
        raise CommandError(not_a_choice(f"--{opt.name}", repr(value), opt.choices), suggest(str(value), opt.choices))
    if value is not None and opt.kind in _NUMBERS and not _NUMBERS[opt.kind](value):  # from Python, of any type
        shown, kind = HIDDEN if opt.secret else repr(value)[:LONGEST_NAME], _KINDS[opt.kind]
        raise CommandError(_("{name} is {value}, which is not {kind}.", name=f"--{opt.name}", value=shown, kind=kind))
    if opt.minimum is not None and value is not None and value < opt.minimum:
        raise CommandError(
            _(
                "--{name} is {value}, which is below its minimum of {least:g}.",
                name=opt.name, value=value, least=opt.minimum,
            )
        )  # fmt: skip
    if opt.kind == "int" and value is not None and value > opt.maximum:
        raise CommandError(
            _(
                "--{name} is {value}, which is above its maximum of {most}.",
                name=opt.name,
                value=value,
                most=opt.maximum,
            )
        )


def is_open(text: str) -> bool:
    """Return whether a list in brackets begins in a text and does not end there.

    Example:
        >>> is_open("city=[New"), is_open("city=[Paris]")
        (True, False)
    """
    return text.count("[") > text.count("]")


def is_secret_name(name: str) -> bool:
    """Return whether a setting of that name holds a secret.

    Example:
        >>> is_secret_name("saas.api_key"), is_secret_name("saas.max_tokens")
        (True, False)
    """
    return bool(_SECRET_NAME.search(name.rpartition(".")[2].replace("-", "_")))


def hide(value: str) -> str:
    """Return ``***``, or the value itself if it is empty or only refers to secrets.

    Example:
        >>> hide("sk-123"), hide("${OPENAI_API_KEY}"), hide("${A},${B}")
        ('***', '${OPENAI_API_KEY}', '${A},${B}')
    """
    shown = not value or all(_REFERENCE.fullmatch(piece.strip()) for piece in value.split(","))
    return value if shown else HIDDEN


def visible(opt: Option, value: Any) -> Any:
    """Return the value of an option for display, with secrets hidden."""
    if opt.kind == "params":
        return {name: visible_setting(name, text) for name, text in value.items()}
    return hide(value) if opt.secret and isinstance(value, str) else value


def visible_setting(name: str, text: str) -> str:
    """Return a setting for display: not its secret, nor the password of a URL, nor secret fields of JSON."""
    if is_secret_name(name):
        return hide(text)
    return urls.masked(text) if name.lower().endswith(URL_ENDS) else redact(text)


URL_ENDS = ("url", "endpoint", "host", "base")
"""How the names of settings end that are URLs."""


class Spec:
    """Base class of all commands: checks its values on creation, and hides secrets in its repr.

    Its comparison serves them all: `dataclass` would write and compile one for each of the forty.
    """

    __slots__ = ()
    summary: ClassVar[str] = ""
    """What the command does, in one sentence: a lazy text."""
    examples: ClassVar[tuple[str, ...]] = ()
    keeps_file: ClassVar[bool] = False
    """Whether `--file` holds the options of another command, so that the parser does not read it."""

    def __post_init__(self) -> None:
        """Check choices and bounds.

        Raises:
            CommandError: a value is not allowed.
        """
        check(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        values = ((opt, getattr(self, opt.name)) for opt in options_of(self))
        shown = ", ".join(f"{opt.name}={visible(opt, value)!r}" for opt, value in values if value != opt.default)
        return f"{type(self).__name__}({shown})"
