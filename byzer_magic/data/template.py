"""The prompt of a row: a text with the names of columns in braces, filled in with the row's cells."""

from __future__ import annotations

import contextlib
import json
import string
from collections.abc import Callable, Sequence
from typing import Any

from byzer_magic.client import arguments
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import Text, lazy_gettext as _, listed

_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}
MOST_NAMES = 8
"""Columns that an error lists."""


class NotAskable(Exception):
    """A row cannot be asked about; `text` says why."""

    def __init__(self, text: Text) -> None:
        super().__init__(str(text))
        self.text = text


class Template:
    """A prompt with `{column}` in it, as `str.format` has it; names are names of columns and nothing else.

    Args:
        text: the prompt; `{{` and `}}` are braces that are meant as they are.
        known: the names of the columns.

    Raises:
        CommandError: a brace is open, or it names no column.

    Example:
        >>> template = Template("Classify: {text} ({stars:.1f} stars)", ["id", "text", "stars"])
        >>> template.names, template.fill(["fine", 4])
        (('text', 'stars'), 'Classify: fine (4.0 stars)')
    """

    def __init__(self, text: str, known: Sequence[str]) -> None:
        self.names: tuple[str, ...] = ()
        """The columns that it names, each once."""
        self._parts: list[str | tuple[int, str, str]] = []
        try:
            for literal, name, spec, conversion in string.Formatter().parse(text):
                if literal:
                    self._parts.append(literal)
                if name is not None:
                    self._parts.append((self._place(name, known), spec or "", conversion or ""))
        except ValueError as err:
            raise CommandError(_("The prompt cannot be read: {problem}.", problem=str(err)), _DOUBLE) from err

    def _place(self, name: str, known: Sequence[str]) -> int:
        """Return the place of a column among those that are named.

        Raises:
            CommandError: there is no such column.
        """
        check_column(name, known, _("The prompt names {name}", name=f"{{{name}}}"), in_braces=True)
        if name not in self.names:
            self.names += (name,)
        return self.names.index(name)

    def fill(self, cells: Sequence[Any]) -> str:
        """Return the prompt of a row.

        Args:
            cells: of the columns in `names`, in that order.

        Raises:
            NotAskable: a cell is missing, or has no such format.
        """
        return "".join(part if isinstance(part, str) else self._field(cells, *part) for part in self._parts)

    def _field(self, cells: Sequence[Any], place: int, spec: str, conversion: str) -> str:
        cell = cells[place]
        if type(cell) is str and not spec and not conversion:
            return arguments.whole(cell)
        if arguments.is_missing(cell):
            raise NotAskable(_("The cell in column {name} is missing.", name=self.names[place]))
        if not spec and not conversion:
            return written(cell)
        try:
            return arguments.whole(_formatted(_CONVERSIONS[conversion](cell) if conversion else cell, spec))
        except (KeyError, TypeError, ValueError) as err:
            raise NotAskable(
                _("The cell in column {name} cannot be written as {format}: {problem}",
                  name=self.names[place], format=f"{conversion and '!'}{conversion}:{spec}", problem=str(err)),
            ) from err  # fmt: skip


def _formatted(cell: Any, spec: str) -> str:
    """Return a cell in a format; a text with a number in it, such as a cell of a CSV file, also in those of numbers."""
    try:
        return format(cell, spec)
    except ValueError:
        if type(cell) is not str:
            raise
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return format(kind(cell), spec)
        raise


_DOUBLE = _("Write {{ and }} for braces that are meant as they are, as in JSON.")


def check_column(name: str, known: Sequence[str], subject: Text, *, in_braces: bool = False) -> None:
    """Check that there is exactly one column of that name.

    Args:
        name: the column.
        known: the names of all columns.
        subject: who names it: the beginning of a sentence.
        in_braces: whether it is in braces, which may be meant as they are.

    Raises:
        CommandError: there is none, or there are several.
    """
    count = known.count(name)
    if count > 1:
        raise CommandError(
            _("{subject}, but {count} columns have that name.", subject=subject, count=count),
            _("Rename them, such as: df.columns = [...]"),
        )
    if not count:
        some = listed([*known[:MOST_NAMES], *(["..."] if len(known) > MOST_NAMES else [])])
        columns = _("The columns: {names}", names=some) if known else _("The frame has no columns.")
        hint = _DOUBLE if in_braces and not name.isidentifier() else columns
        raise CommandError(_("{subject}, which is not a column.", subject=subject), suggest(name, known, hint))


def written(cell: Any) -> str:
    """Return a cell as a text for a model: numbers as digits, lists and mappings as JSON.

    Raises:
        NotAskable: it is binary data.

    Example:
        >>> written(4.0), written({"a": [1, None]})
        ('4.0', '{"a": [1, null]}')
    """
    if isinstance(cell, bytes | bytearray | memoryview):
        raise NotAskable(_("The cell is binary data, not text."))
    if callable(listed_ := getattr(cell, "tolist", None)) and not isinstance(cell, type):
        cell = listed_()
    if isinstance(cell, list | dict | tuple):
        return arguments.whole(json.dumps(cell, ensure_ascii=False, default=str))
    return arguments.whole(str(cell))
