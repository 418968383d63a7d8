"""The values of a grid: from `country=[France,Japan]` to every combination."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from byzer_magic.actions.actions import options_in
from byzer_magic.commands.aliases import SEPARATOR
from byzer_magic.commands.options import is_open
from byzer_magic.commands.spec import ChatSpec
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.magics.filling import fill, names_in
from byzer_magic.results.grid import COLUMNS, Combination

MOST = 1000
"""Requests of one grid; more belong into a frame."""
REC = "rec"
"""The value of --audio that opens a recorder in the cell."""
FIELD = "params."
"""How the name of a request's field begins; other names are variables."""
SHOWN = 40
"""Characters of a value in an error."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What a grid varies."""

    variables: dict[str, list[Any]]
    options: dict[str, list[Any]]
    """Of the request, by their names in it; only those with several values."""
    samples: range

    @property
    def count(self) -> int:
        """Return the number of combinations."""
        return math.prod(map(len, (*self.variables.values(), *self.options.values(), self.samples)))

    def combinations(self) -> list[Combination]:
        """Return every combination; the last axis changes fastest."""
        names = [*self.variables, *self.options]
        axes = [*self.variables.values(), *self.options.values(), self.samples]
        found = []
        for values in itertools.product(*axes):
            known = dict(zip(names, values[:-1], strict=True))
            variables = {name: known[name] for name in self.variables}
            found.append(Combination(variables, {name: known[name] for name in self.options}, values[-1]))
        return found


def is_wanted(item: ChatSpec) -> bool:
    """Return whether a cell asks for a grid."""
    several = isinstance(item.temperature, tuple) or isinstance(item.max_tokens, tuple)
    return bool(item.grid) or several or item.samples > 1 or item.dry_run


def check(item: ChatSpec) -> None:
    """Check that the options of a grid go together.

    Raises:
        CommandError: they do not.
    """
    given = {"--session": item.session, "--schema": item.schema, "--tools": item.tools, "--background": item.background}
    if item.audio == REC:
        given["--audio rec"] = item.audio
    for name, value in given.items():
        if value:
            raise CommandError(
                _(
                    "{option} does not go with a grid (--grid, --samples, --dry_run, several temperatures).",
                    option=name,
                ),
                _("Leave one of them out."),
            )


def axes(item: ChatSpec, prompt: str, models: int, variables: Mapping[str, Any]) -> Axes:
    """Return what a grid varies.

    Args:
        item: the cell's first line.
        prompt: the prompt, not filled in.
        models: how many are asked.
        variables: the notebook's.

    Raises:
        CommandError: a list is empty or cannot be read, a name is no variable's or the prompt does not use it, or there
            are too many combinations.
    """
    found = {name: values(name, text, variables) for name, text in item.grid.items()}
    asked = {name: found[name] for name in found if not name.startswith(FIELD)}
    _check_names(asked, {*names_in(prompt), *names_in(item.system or "")})
    options = {name.removeprefix(FIELD): found[name] for name in found if name.startswith(FIELD)}
    _check_fields(options, item)
    for name in ("temperature", "max_tokens"):
        given = getattr(item, name)
        if isinstance(given, tuple):
            options[name] = _distinct(f"--{name}", list(given))
    first = item.sample or 0
    made = Axes(variables=asked, options=options, samples=range(first, first + item.samples))
    if made.count * models > MOST:
        raise CommandError(
            _("The grid has {count} requests, more than {most}.", count=f"{made.count * models:,}", most=f"{MOST:,}"),
            _("Put the combinations into a DataFrame, and call model(alias).map(frame, prompt=...)."),
        )
    return made


def values(name: str, text: str, variables: Mapping[str, Any]) -> list[Any]:
    """Return the values of one name.

    Args:
        name: as typed.
        text: a list in brackets, or an expression of the notebook, whose value is one.
        variables: the notebook's.

    Raises:
        CommandError: it is not a list, is empty, or has a value twice.

    Example:
        >>> values("country", "[France, Japan]", {}), values("year", "range(2020, 2022)", {})
        (['France', 'Japan'], [2020, 2021])
        >>> values("country", "countries", {"countries": ("France", "Japan")})
        ['France', 'Japan']
    """
    found = _list(name, text) if text.lstrip().startswith("[") else _evaluated(name, text, variables)
    if not found:
        raise CommandError(_("--grid: {name} has no values.", name=name), _("Write {name}=[one,two].", name=name))
    return _distinct(name, found)


def request_options(item: ChatSpec, asked: Combination) -> dict[str, Any]:
    """Return the request's fields of one combination."""
    fixed = {name: value for name, value in options_in(item).items() if not isinstance(value, tuple)}
    return {**fixed, **asked.options}


def filled(text: str, asked: Combination, variables: Mapping[str, Any]) -> str:
    """Return a prompt filled in with one combination; its variables come before the notebook's.

    Raises:
        CommandError: an expression cannot be evaluated.
    """
    return fill(text, {**variables, **asked.variables})


def _list(name: str, text: str) -> list[Any]:
    """Return a list as typed: JSON, or words between commas; a number stays as it is written."""
    try:
        found = json.loads(text, parse_float=_number(float), parse_int=_number(int))
    except (ValueError, RecursionError):
        pass
    else:
        return list(found)
    inner = text.strip()
    if not inner.endswith("]") or is_open(inner):
        raise CommandError(
            _("--grid: the list of {name} is not closed: {text}", name=name, text=text[:SHOWN]),
            _("End it with ], before the prompt begins."),
        )
    words = [word.strip() for word in SEPARATOR.split(inner[1:-1])]
    if words == [""]:
        return []
    if not all(words):
        raise CommandError(
            _("--grid: a value of {name} is empty: {text}", name=name, text=text[:SHOWN]),
            _("Write {name}=[one,two]; for other values name a list of the notebook: {name}=my_list.", name=name),
        )
    return [_number(float)(word) if _is_number(word) else word for word in words]


def _is_number(word: str) -> bool:
    return word[-1].isdigit() and word.lstrip("-")[:1].isdigit() and word.isascii()


def _number(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """Return a reader of numbers: `2.10`, which as a number would be another text, stays a text."""

    def read(text: str) -> Any:
        for each in (int, kind):
            try:
                if str(value := each(text)) == text:
                    return value
            except ValueError:
                continue
        return text

    return read


def _evaluated(name: str, text: str, variables: Mapping[str, Any]) -> list[Any]:
    hint = _(
        "Write a list in brackets: {name}=[{text},...], or define a list and name it.", name=name, text=text[:SHOWN]
    )
    try:
        found = eval(text, dict(variables))  # noqa: S307 - the user's own expression, in the user's own kernel
    except Exception as err:  # the user's own expression may raise anything
        message = _(
            "--grid: {name} is {text}, which is neither a list nor a variable of this notebook.",
            name=name,
            text=text[:SHOWN],
        )
        if not isinstance(err, NameError | SyntaxError):
            message = _(
                "--grid: {name}={text}: {error}.", name=name, text=text[:SHOWN], error=f"{type(err).__name__}: {err}"
            )
        raise CommandError(message, hint) from err
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        kind = type(found).__name__
        raise CommandError(
            _("--grid: {name} is {text}, a {type} and not a list.", name=name, text=text[:SHOWN], type=kind), hint
        )
    return list(itertools.islice(found, MOST + 1))  # it may never end


def _distinct(name: str, found: list[Any]) -> list[Any]:
    texts = list(map(str, found))  # that is what a prompt has of them
    twice = next((value for place, value in enumerate(found) if texts.index(texts[place]) < place), None)
    if twice is not None:
        raise CommandError(
            _("{name} has {value} twice.", name=name, value=repr(twice)[:SHOWN]),
            _("Name each value once; --samples 2 asks each prompt twice."),
        )
    return found


def _check_names(asked: Mapping[str, Sequence[Any]], used: set[str]) -> None:
    """Check that each variable can be used, and is."""
    for name in asked:
        if not name.isidentifier():
            raise CommandError(
                _("--grid: {name!r} is not a variable name.", name=name),
                _("Write name=[one,two]; params.NAME=[...] for fields of the request."),
            )
        if name in ("temperature", "max_tokens"):
            raise CommandError(
                _("--grid: {name} is an option.", name=name),
                _("Write --{name} with values separated by commas.", name=name),
            )
        if name in COLUMNS:
            raise CommandError(
                _("--grid: {name} is a column of the result.", name=name), _("Choose another name for the variable.")
            )
        if name not in used:
            hint = suggest(name, used, _("Write {{{{{name}}}}} where its value belongs.", name=name))
            raise CommandError(_("The prompt does not use the variable {name} of --grid.", name=name), hint)


def _check_fields(options: Mapping[str, Any], item: ChatSpec) -> None:
    for name in options:
        if name in item.params or (name in ("temperature", "max_tokens") and getattr(item, name) is not None):
            raise CommandError(
                _("{name} is given twice: in --grid and as an option.", name=name), _("Leave one of them out.")
            )
        if name in COLUMNS and name != "temperature":
            known = listed(COLUMNS)
            raise CommandError(
                _("--grid: {name} is a column of the result.", name=name),
                _("These names are taken: {names}.", names=known),
            )
