"""The templates in the package: calls of the functions of `byzer_magic.i18n`, and fields of TOML tables.

Babel's own extractor reads tokens: it does not see a call inside an f-string (`f"<b>{_('Model')}</b>"`), and two nested
calls confuse it. This one reads the syntax tree, and knows the functions by where they are imported from.
"""

from __future__ import annotations

import ast
import functools
import string
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent.parent
FUNCTIONS = {"gettext": 1, "lazy_gettext": 1, "ngettext": 2, "lazy_ngettext": 2}
"""How many of the first arguments are templates."""
TOML_FIELDS = {"backends/compatible.toml": ("title", "note")}
"""Fields of tables that users read, by file."""
NAME_FIELDS = ("title",)
"""Of these, names of products: without a translation they are shown as they are."""
COMMENT = "# translators:"
"""Prefix of a comment for translators, on the line above the call."""


@dataclass(frozen=True, slots=True)
class Found:
    """A call, or a field of a table."""

    path: str
    """Of the file, below the package."""
    line: int
    forms: tuple[str, ...]
    """The template, or the templates of singular and plural; empty when the call has no literal."""
    comments: tuple[str, ...] = ()
    fault: str = ""
    """What is wrong with the call."""
    formatted: bool = False
    """Whether values are given; without any, the template is shown as it is, braces included."""
    is_name: bool = False
    """Whether it is the name of a product, which needs no translation."""


def extracted(package: Path = PACKAGE) -> Iterator[Found]:
    """Yield all calls and fields of a package, in the order of paths and lines."""
    for path in sorted(package.rglob("*.py")):
        yield from calls(path.read_text(encoding="utf-8"), path.relative_to(package).as_posix())
    for name, fields in TOML_FIELDS.items():
        if (path := package / name).is_file():
            yield from entries(path.read_text(encoding="utf-8"), name, fields)


def calls(source: str, path: str = "") -> Iterator[Found]:
    """Yield the calls in a module's source.

    Example:
        >>> source = "from byzer_magic.i18n import gettext as _; html = f'<b>{_(chr(34))}</b>' + _('Model')"
        >>> [found.forms for found in calls(source) if found.forms]
        [('Model',)]
    """
    yield from _calls(source, path)


@functools.cache
def _calls(source: str, path: str) -> tuple[Found, ...]:
    """Return the calls; a check of the catalogs asks for them several times."""
    tree = ast.parse(source)
    names = dict(_imported(tree))
    lines = source.split("\n")
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    known = [(node, FUNCTIONS.get(names.get(_dotted(node.func), ""))) for node in nodes]
    known.sort(key=lambda found: (found[0].lineno, found[0].col_offset))
    return tuple(_call(node, count, path, lines) for node, count in known if count)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield how the module calls the functions, and their own names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("byzer_magic.i18n", "byzer_magic.i18n.text"):
            yield from ((item.asname or item.name, item.name) for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "byzer_magic":
            modules = [item.asname or item.name for item in node.names if item.name == "i18n"]
            yield from ((f"{module}.{name}", name) for module in modules for name in FUNCTIONS)


def _dotted(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ast.unparse(node) if isinstance(node, ast.Attribute) else ""


def _call(node: ast.Call, count: int, path: str, lines: list[str]) -> Found:
    arguments = node.args[:count]
    forms = tuple(item.value for item in arguments if isinstance(item, ast.Constant) and isinstance(item.value, str))
    above = lines[node.lineno - 2].strip() if node.lineno > 1 else ""
    comments = (above.removeprefix(COMMENT).strip(),) if above.startswith(COMMENT) else ()
    if any(isinstance(item, ast.JoinedStr | ast.BinOp) for item in arguments):
        return Found(path, node.lineno, (), comments, "the template is put together; give its values by name")
    if len(forms) < count:  # a template from a table, which is extracted where the table is
        return Found(path, node.lineno, ())
    given = {item.arg for item in node.keywords} | ({"count"} if len(node.args) > count > 1 else set())
    return Found(path, node.lineno, forms, comments, _fault(forms, given), formatted=bool(given))


def _fault(forms: tuple[str, ...], given: set[str | None]) -> str:
    """Return what is wrong with the values of a template; without values, it is taken as it is."""
    if not given or None in given:  # `**values` may be anything
        return ""
    try:
        missing = set().union(*map(fields_of, forms)) - given
    except ValueError as err:
        return f"not a template: {err}"
    return f"no value for {', '.join(sorted(missing))}" if missing else ""


def fields_of(template: str) -> set[str]:
    """Return the names of a template's fields.

    Raises:
        ValueError: a brace is not closed, or not doubled.

    Example:
        >>> sorted(fields_of("{alias!r} has {count:,} workers."))
        ['alias', 'count']
    """
    return {name for _text, name, _spec, _conversion in string.Formatter().parse(template) if name is not None}


def entries(text: str, path: str, fields: tuple[str, ...]) -> Iterator[Found]:
    """Yield the fields of a TOML file's tables that users read."""
    tables = tomllib.loads(text)
    for table in tables.values():
        for row in table if isinstance(table, list) else [table]:
            yield from (Found(path, 0, (row[name],), is_name=name in NAME_FIELDS) for name in fields if row.get(name))
