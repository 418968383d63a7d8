"""Columns that grow row by row in compact arrays: a million answers do not become objects until pandas asks for them.

`finish` makes of a column what a DataFrame takes; only then is pandas imported.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np

from byzer_magic.client import arguments

_GREATEST = 2**63


class Column(ABC):
    """A column so far; what is missing in it is None."""

    @abstractmethod
    def add(self, value: Any) -> None:
        """Append a value, or None.

        Raises:
            KeyError, OverflowError, TypeError, ValueError: the column cannot have it; it is as it was.
        """

    @abstractmethod
    def finish(self) -> Any:
        """Return the column as an array of numpy or pandas."""

    def pad(self, count: int) -> None:
        """Append cells without a value."""
        for _ in range(count):
            self.add(None)


class Texts(Column):
    """Texts, as UTF-8 behind one another, as Arrow has them.

    Example:
        >>> column = Texts()
        >>> for text in ("one", None, "zwei"):
        ...     column.add(text)
        >>> [text if isinstance(text, str) else None for text in column.finish()]
        ['one', None, 'zwei']
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("q", [0])
        self._known = bytearray()

    def add(self, value: Any) -> None:
        """Append a text, or None."""
        if value is not None:
            self._data += str(value).encode(errors="replace")
        self._known.append(value is not None)
        self._ends.append(len(self._data))

    def finish(self) -> Any:
        """Return the texts in pandas' own type for them."""
        import pandas as pd

        is_new = int(pd.__version__.partition(".")[0]) >= 3  # before, texts were objects
        dtype = pd.StringDtype(na_value=np.nan) if is_new else None
        if dtype is not None and dtype.storage == "pyarrow":
            import pyarrow as pa

            bits = np.packbits(np.frombuffer(self._known, "?"), bitorder="little").tobytes()
            buffers = [pa.py_buffer(part) for part in (self._ends.tobytes(), bytes(self._data), bits)]
            return pd.array(
                pa.LargeStringArray.from_buffers(len(self._known), buffers[0], buffers[1], buffers[2]), dtype
            )
        found = np.empty(len(self._known), object)
        view = memoryview(self._data)
        for index, known in enumerate(self._known):
            if known:
                found[index] = str(view[self._ends[index] : self._ends[index + 1]], "utf-8")
        return found if dtype is None else pd.array(found, dtype)


class Integers(Column):
    """Whole numbers of 64 bits; a larger one makes the column one of objects."""

    def __init__(self) -> None:
        self._values = array("q")
        self._missing = bytearray()
        self._objects: Objects | None = None

    def add(self, value: Any) -> None:
        """Append a number, or None."""
        if self._objects is None and value is not None and not -_GREATEST <= value < _GREATEST:
            self._objects = Objects()
            for number, missing in zip(self._values, self._missing, strict=True):
                self._objects.add(None if missing else number)
        if self._objects is not None:
            self._objects.add(value)
            return
        self._values.append(value or 0)
        self._missing.append(value is None)

    def finish(self) -> Any:
        """Return the numbers in pandas' type that also has missing ones."""
        import pandas as pd

        if self._objects is not None:
            return self._objects.finish()
        return pd.arrays.IntegerArray(np.array(self._values, "i8"), np.array(np.frombuffer(self._missing, "?")))


class Booleans(Column):
    """True and False."""

    def __init__(self) -> None:
        self._values = bytearray()
        self._missing = bytearray()

    def add(self, value: Any) -> None:
        """Append a value, or None."""
        self._values.append(bool(value))
        self._missing.append(value is None)

    def finish(self) -> Any:
        """Return the values in pandas' type that also has missing ones."""
        import pandas as pd

        values, missing = (np.array(np.frombuffer(part, "?")) for part in (self._values, self._missing))
        return pd.arrays.BooleanArray(values, missing)


class Floats(Column):
    """Numbers; a missing one is NaN."""

    def __init__(self) -> None:
        self._values = array("d")

    def add(self, value: Any) -> None:
        """Append a number, or None."""
        self._values.append(np.nan if value is None else value)

    def finish(self) -> Any:
        """Return the numbers."""
        return np.array(self._values, "f8")


class Categories(Column):
    """One of a few texts.

    Args:
        names: the texts.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._codes = array("i")
        self._code_of = {name: code for code, name in enumerate(names)}

    def add(self, value: Any) -> None:
        """Append one of the texts, or None."""
        self._codes.append(-1 if value is None else self._code_of[value])

    def finish(self) -> Any:
        """Return the texts as a category, which has all of them in their order."""
        import pandas as pd

        return pd.Categorical.from_codes(np.array(self._codes, np.int32), pd.Index(self._names))


class Vectors(Column):
    """Embeddings: rows of one matrix of float32.

    Example:
        >>> column = Vectors()
        >>> column.add(np.zeros(3, "f4"))
        >>> column.pad(1)
        >>> column.finish().tolist()
        [array([0., 0., 0.], dtype=float32), None]
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._known = bytearray()
        self._size = 0

    def add(self, value: Any) -> None:
        """Append an embedding, or None."""
        if value is not None:
            size = self._size or len(value)
            if len(value) != size:
                raise ValueError(f"An embedding has {len(value)} dimensions, not {size}.")
            self._data += np.asarray(value, "<f4").tobytes()
            self._size = size
        self._known.append(value is not None)

    def finish(self) -> Any:
        """Return the embeddings, one array in each cell; all are parts of one matrix."""
        matrix = np.frombuffer(self._data, "<f4").reshape(-1, self._size or 1)
        found = np.empty(len(self._known), object)
        rows = iter(matrix)
        for index, known in enumerate(self._known):
            if known:
                found[index] = next(rows)
        return found


class Objects(Column):
    """Whatever else: lists, mappings, dates, bytes."""

    def __init__(self) -> None:
        self._values: list[Any] = []

    def add(self, value: Any) -> None:
        """Append a value, or None."""
        self._values.append(value)

    def finish(self) -> Any:
        """Return the values as they are; dates and times in the type that pandas has for them."""
        import pandas as pd

        found = np.empty(len(self._values), object)
        found[:] = self._values
        return pd.Series(found).infer_objects().array if found.size else found


def as_objects(column: Column) -> Objects:
    """Return a column that can have anything, with the values of another one.

    Example:
        >>> numbers = Integers()
        >>> numbers.add(1)
        >>> column = as_objects(numbers)
        >>> column.add("two")
        >>> list(column.finish())
        [1, 'two']
    """
    found = Objects()
    for value in column.finish().tolist():
        found.add(None if arguments.is_missing(value) else value)
    return found
