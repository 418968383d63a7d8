"""Tables in files, for `map` in a shell: cells come back as they were, and a file is written whole or not at all."""

from __future__ import annotations

import codecs
import io
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from byzer_magic.client import arguments
from byzer_magic.data.template import NotAskable, written
from byzer_magic.errors import CommandError, suggest
from byzer_magic.files import text_files, writing
from byzer_magic.files.paths import expanded
from byzer_magic.i18n import lazy_gettext as _, listed, localized

AT_ONCE = 2048
"""Rows that are made text at once."""


def format_of(path: str) -> str:
    """Return the format that a file's name stands for.

    Raises:
        CommandError: it stands for none of those that can be read and written.
    """
    found = Path(path).suffix.lower()
    if found not in _READERS:
        raise CommandError(
            _("{path} is not a table that can be read or written.", path=path),
            _("Its name must end in one of: {names}", names=listed(_READERS)),
        )
    return found


def read(path: str, encoding: str | None = None) -> Any:
    """Return the table in a file.

    A CSV file has texts only: `00123` and `19.90` stay what they are, and a cell is missing where it is empty. Values
    of JSON keep their own types.

    Args:
        path: as typed; its name says the format.
        encoding: of its text; by default that of its byte order mark, else UTF-8.

    Raises:
        CommandError: it cannot be read.
    """
    reader, file = _READERS[format_of(path)], expanded(path)
    try:
        return reader(file, _encoding(file, encoding))
    except UnicodeError:
        raise CommandError(
            _("The text of {path} is not in {encoding}.", path=path, encoding=encoding or "UTF-8"),
            _("Name its encoding, such as --encoding gb18030 (Chinese) or --encoding cp1252 (Western Europe)."),
        ) from None
    except (OSError, ValueError, LookupError, ImportError) as err:  # LookupError: base64 is not of text
        raise CommandError(
            _("Cannot read {path}: {reason}.", path=path, reason=_reason(err)), _("Check the file and its name.")
        ) from err


def write(found: Any, path: str) -> None:
    """Write a table: all of it, or the file is as it was.

    Raises:
        CommandError: it cannot be written, or not in this format: JSON has no bytes, a Parquet column has one type.
    """
    try:
        writing.write(path, _WRITERS[format_of(path)](found))
    except (OSError, ValueError, TypeError, ImportError, OverflowError, NotImplementedError, NotAskable) as err:
        raise CommandError(
            _("Cannot write {path}: {reason}.", path=path, reason=_reason(err)),
            _("Run it again with another file; answers that are in the journal are not paid twice."),
        ) from err


def csv(found: Any) -> Iterator[bytes]:
    """Yield a table as CSV in UTF-8; lists and embeddings are JSON in it.

    Raises:
        NotAskable: a cell is binary data.
    """
    table = _with_index(found)
    for start in range(0, max(1, len(table)), AT_ONCE):
        piece = table.iloc[start : start + AT_ONCE]
        whole = piece.apply(lambda column: column.map(_cell) if column.dtype == object else column)
        yield whole.to_csv(index=False, header=not start).encode(errors="replace")


def _cell(value: Any) -> Any:
    return value if arguments.is_missing(value) or isinstance(value, str) else written(value)


def _with_index(found: Any) -> Any:
    """Return a table with its index as columns, unless that only counts the rows."""
    import pandas as pd

    is_plain = isinstance(found.index, pd.RangeIndex) and found.index.name is None
    return found if is_plain else found.reset_index()


def _reason(err: BaseException) -> str:
    text = err.text if isinstance(err, NotAskable) else getattr(err, "strerror", None) or err
    return str(localized(text)).strip().rstrip(".")


def _encoding(file: Path, wanted: str | None) -> str:
    """Return the encoding of a file.

    Raises:
        CommandError: there is no such encoding.
    """
    if wanted is None:
        with file.open("rb") as opened:
            return text_files.marked(opened.read(4)) or "utf-8"
    try:
        return codecs.lookup(wanted).name
    except LookupError:
        raise CommandError(
            _("{name} is not an encoding.", name=repr(wanted)), suggest(wanted, _ENCODINGS, _("Example: gb18030"))
        ) from None


_ENCODINGS = ("utf-8", "utf-16", "gb18030", "gbk", "big5", "shift_jis", "euc-kr", "cp1252", "cp1251", "latin-1")


def _csv(path: Path, encoding: str) -> Any:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            return pd.read_csv(
                path, dtype=str, keep_default_na=False, na_values=[""], index_col=False, encoding=encoding
            )
        except pd.errors.ParserWarning:
            raise ValueError(localized(_("a line has more cells than the first one"))) from None


def _lines(path: Path, encoding: str) -> Any:
    import pandas as pd

    columns: dict[str, list[Any]] = {}
    count = 0
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record = _record(line, number)
            columns |= {name: [None] * count for name in record if name not in columns}
            for name, values in columns.items():
                values.append(record.get(name))
            count += 1
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})


def _record(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise ValueError(
            localized(_("line {number} is not JSON: {problem}", number=number, problem=str(err)))
        ) from None
    if isinstance(found, dict):
        return found
    raise ValueError(localized(_("line {number} is not a JSON object", number=number)))


def _parquet(path: Path, _encoding: str) -> Any:
    import pandas as pd

    return pd.read_parquet(path)


def _to_lines(found: Any) -> Iterator[bytes]:
    table = _with_index(found)
    names = [str(name) for name in table.columns]
    if len(set(names)) < len(names):
        raise ValueError(localized(_("two columns have the same name")))
    for start in range(0, len(table), AT_ONCE):
        piece = table.iloc[start : start + AT_ONCE]
        rows = zip(*(piece.iloc[:, place].tolist() for place in range(len(names))), strict=True)
        lines = (json.dumps(dict(zip(names, map(_value, row), strict=True)), ensure_ascii=False, default=_plain)
                 for row in rows)  # fmt: skip
        yield "".join(f"{line}\n" for line in lines).encode(errors="backslashreplace")  # as JSON has half a character


def _value(value: Any) -> Any:
    return None if arguments.is_missing(value) else value


def _plain(value: Any) -> Any:
    """Return a value that JSON does not have as one that it has."""
    if callable(as_list := getattr(value, "tolist", None)):
        return as_list()
    if callable(as_text := getattr(value, "isoformat", None)):
        return as_text()
    if isinstance(value, bytes | bytearray | memoryview):
        raise NotAskable(_("The cell is binary data, not text."))
    return str(value)


def _to_parquet(found: Any) -> Iterator[bytes]:
    file = io.BytesIO()
    found.to_parquet(file)
    yield file.getvalue()


_READERS: dict[str, Callable[[Path, str], Any]] = {".csv": _csv, ".jsonl": _lines, ".parquet": _parquet}
_WRITERS: dict[str, Callable[[Any], Iterator[bytes]]] = {".csv": csv, ".jsonl": _to_lines, ".parquet": _to_parquet}
