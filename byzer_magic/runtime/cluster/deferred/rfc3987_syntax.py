"""The package of this name, loaded when it is used: its import compiles a grammar, which takes 2 s (decision 009)."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from typing import Any

_HERE = os.path.dirname(__file__)  # noqa: PTH120 - pathlib would cost more than the rest of this module
_spec = PathFinder.find_spec("rfc3987_syntax", [entry for entry in sys.path if entry != _HERE])
if _spec is None and __name__ == "rfc3987_syntax":
    raise ModuleNotFoundError("No module named 'rfc3987_syntax'", name="rfc3987_syntax")
__path__ = list(_spec.submodule_search_locations or []) if _spec else []
"""The real package's: its submodules are found, and one of them has all names of the package."""


def is_valid_syntax(term: str, value: str) -> bool:
    """Return whether a text is a valid `term` of RFC 3987; the one function that jsonschema imports."""
    return bool(import_module("rfc3987_syntax.syntax_helpers").is_valid_syntax(term, value))


def __getattr__(name: str) -> Any:
    return getattr(import_module("rfc3987_syntax.syntax_helpers"), name)
