"""The answers of a run as columns beside those of a frame."""

from __future__ import annotations

from typing import Any

from byzer_magic.data.columns import Column, Texts, as_objects
from byzer_magic.data.rows import label_of, names_of
from byzer_magic.data.schema import Shape
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.i18n import lazy_gettext as _, localized

ATTRIBUTE = "byzer"
"""What `frame.attrs` has under this name tells how a column came about, and whether the run is complete."""


class Table:
    """Takes the answers in the order of the rows.

    Args:
        shape: the columns.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.answered = 0
        """Rows with a value."""
        self._columns: list[Column] = [make() for make in shape.makers]
        self._errors = Texts()

    def add(self, value: Any) -> None:
        """Take a row's cells, or the error in their place."""
        failed = isinstance(value, Exception)
        cells = (None,) * len(self._columns) if failed else value
        for place, cell in enumerate(cells):
            try:
                self._columns[place].add(cell)
            except (KeyError, OverflowError, TypeError, ValueError):  # of another type than the others: no row is lost
                self._columns[place] = as_objects(self._columns[place])
                self._columns[place].add(cell)
        self._errors.add(words(value) if failed else None)
        self.answered += not failed

    def skip(self, count: int) -> None:
        """Take rows that have not been answered."""
        for column in (*self._columns, self._errors):
            column.pad(count)

    def beside(self, frame: Any) -> Any:
        """Return a frame with these columns; the one that was given is not changed."""
        found = frame.copy(deep=False)
        for name, column in zip(self.names, (*self._columns, self._errors), strict=True):
            found[label_of(found, name)] = column.finish()
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns, that of the errors last."""
        return (*self.shape.names, self.shape.error)


def check_names(shape: Shape, frame: Any) -> None:
    """Check that the columns can be put beside those of a frame.

    Raises:
        CommandError: two of its columns have the name of one of these.
    """
    known = names_of(frame)
    for name in (*shape.names, shape.error):
        if known.count(name) > 1:
            raise CommandError(
                _("The frame has several columns {name}, one of which the answers would replace.", name=name),
                _("Choose another name with out=."),
            )


def words(err: Exception) -> str:
    """Return an error as the cell of a row: its class and what happened, in one line."""
    if isinstance(err, ByzerError):
        return f"{err.code}: {localized(err.message)}"
    text = getattr(err, "text", None)
    return str(localized(text)) if text is not None else f"{type(err).__name__}: {err}"
