"""Join the modules of a screen to the one script that a widget takes; nothing is built before the package is used."""

from __future__ import annotations

import functools
import posixpath
import re

from byzer_magic.rendering import assets

_IMPORT = re.compile(r'^import [^;"]*?from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default\b)", re.MULTILINE)


@functools.cache
def bundle(entry: str) -> str:
    """Return a module of `static/` with all that it imports, each file once, in front of those that import it.

    All share one scope, so names at the top level must differ; a test checks that.
    """
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", assets.read(name))) for name in files(entry))


def files(entry: str) -> list[str]:
    """Return the names of the modules in the order in which they are joined."""
    found: list[str] = []

    def visit(name: str, importing: tuple[str, ...]) -> None:
        if name in found or name in importing:
            return
        for target in _IMPORT.findall(assets.read(name)):
            visit(posixpath.normpath(posixpath.join(posixpath.dirname(name), target)), (*importing, name))
        found.append(name)

    visit(entry, ())
    return found
