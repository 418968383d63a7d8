"""The rows of a frame, read in pieces: only the columns that are asked about, and never all of them at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from byzer_magic.client import arguments
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _

AT_ONCE = 2048
"""Rows whose cells become Python's own values together."""

Row = tuple[Any, ...]


def is_frame(value: Any) -> bool:
    """Return whether this is a DataFrame or a Series; pandas is not imported for that."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series)


def is_dataset(value: Any) -> bool:
    """Return whether this is a Ray Dataset; Ray is not imported for that."""
    return type(value).__module__.startswith("ray.data") and hasattr(value, "map_batches")


def as_frame(value: Any) -> Any:
    """Return a DataFrame; a Series becomes its only column, `value` where it has no name.

    Raises:
        CommandError: it is neither.
    """
    if not is_frame(value):
        hint = _("Pass a pandas DataFrame, a Series or a Ray Dataset; for a list: pandas.DataFrame({'text': [...]})")
        if callable(getattr(value, "to_pandas", None)):  # of polars, PyArrow, DuckDB, ...
            hint = _("Pass it as a pandas DataFrame: ROWS.to_pandas()")
        raise CommandError(_("The rows are a {type}, which is not a DataFrame.", type=type(value).__name__), hint)
    return value.to_frame(value.name if value.name is not None else "value") if value.ndim == 1 else value


def names_of(frame: Any) -> list[str]:
    """Return the names of a frame's columns as texts, in their order.

    Where columns have names of several levels, one that was added by a single name goes by that.
    """
    return [str(_shortened(label)) for label in frame.columns]


def label_of(frame: Any, name: str) -> Any:
    """Return what a new column of this name is called in a frame, which may have names of several levels."""
    levels: int = frame.columns.nlevels
    return name if levels == 1 else (name, *[""] * (levels - 1))


def _shortened(label: Any) -> Any:
    return label[0] if isinstance(label, tuple) and label and not any(part != "" for part in label[1:]) else label


class Rows:
    """Some columns of a frame, row by row.

    Args:
        frame: the frame, or a Series as a frame.
        names: the columns, each of which it has once.
    """

    def __init__(self, frame: Any, names: Sequence[str]) -> None:
        known = names_of(frame)
        self._frame = frame
        self._places = [known.index(name) for name in names]

    def __len__(self) -> int:
        return len(self._frame)

    def __iter__(self) -> Iterator[Row]:
        if not self._places:
            yield from (() for _row in range(len(self)))
            return
        for start in range(0, len(self), AT_ONCE):
            piece = self._frame.iloc[start : start + AT_ONCE]
            yield from zip(*(_cells(piece.iloc[:, place]) for place in self._places), strict=True)


_SHORT = ("float32", "float16", "float[pyarrow]", "halffloat[pyarrow]")
"""The dtypes of short numbers, in lower case: `Float32` is pandas' own."""


def _cells(column: Any) -> list[Any]:
    """Return the cells of a column; a float32 of 0.1 is 0.1, and not 0.10000000149011612."""
    found: list[Any] = column.tolist()
    if str(column.dtype).lower() not in _SHORT:
        return found
    import numpy as np

    return [cell if arguments.is_missing(cell) else float(str(np.float32(cell))) for cell in found]
