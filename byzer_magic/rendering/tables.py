"""Tables: the same rows as text, aligned by the cells that a terminal shows, and as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

from markupsafe import Markup, escape

from byzer_magic.i18n import pad, width
from byzer_magic.rendering.markup import join, style, tag

NUMBER = re.compile(r"[-+]?[$¥]?[\d,.]+%?( ?(s|ms|min|h|/s|[kKMGT]i?B))?(/\d+)?|")
"""What a column of numbers has in its cells; it is aligned at the right."""
LONG = 48
"""Text that is longer may be broken into lines."""


class Cell(str):
    """A text with its own HTML: for a table that is both."""

    __slots__ = ("html", "number")
    html: Markup
    number: bool

    def __new__(cls, text: str, shown: str | Markup, *, number: bool = False) -> Self:
        """Make one; `shown` is escaped unless it is Markup. A number is aligned at the right of its column."""
        made = super().__new__(cls, text)
        made.html, made.number = escape(shown), number
        return made


def to_text(rows: Sequence[dict[str, Any]], empty: str) -> str:
    """Return rows as text, aligned by the cells that a terminal shows.

    Args:
        rows: values by column; all rows have the columns of the first.
        empty: what is returned without rows.

    Example:
        >>> print(to_text([{"alias": "m", "slots": 4}], "none"))
        alias  slots
        m      4
    """
    if not rows:
        return empty
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(pad(cell, cells) for cell, cells in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def to_html(rows: Sequence[dict[str, Any]], empty: str) -> Markup:
    """Return rows as a plain table that reads well in a saved notebook and in both themes."""
    if not rows:
        return tag("p", empty)
    kinds = {name: _kind([row[name] for row in rows]) for name in rows[0]}
    head = tag("tr", *(tag("th", name, scope="col", class_=kinds[name]) for name in rows[0]))
    body = (tag("tr", *(_cell(row[name], kind) for name, kind in kinds.items())) for row in rows)
    return join([style("table.css"), tag("table", tag("thead", head), tag("tbody", *body), class_="bz-table")])


def bundle(tables: Sequence[Sequence[dict[str, Any]]]) -> dict[str, str]:
    """Return several tables, one below the other, as Jupyter shows them."""
    return {
        "text/html": str(join(to_html(rows, "") for rows in tables if rows)),
        "text/plain": "\n\n".join(to_text(rows, "") for rows in tables if rows),
    }


def _kind(values: Sequence[Any]) -> str | None:
    """Return the class that aligns a column, from all its values."""
    texts = [str(value) for value in values]
    numbers = [value.number if isinstance(value, Cell) else NUMBER.fullmatch(str(value)) for value in values]
    if any(texts) and all(numbers):
        return "bz-number"
    return "bz-wrap" if max(map(len, texts)) > LONG else None


def _cell(value: Any, kind: str | None) -> Markup:
    return tag("td", value.html if isinstance(value, Cell) else str(value), class_=kind)
