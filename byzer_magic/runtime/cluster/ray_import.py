"""Importing Ray without rfc3987_syntax, which takes 2 s to import and which Ray does not use (decision 009).

`import ray` imports jsonschema, which imports rfc3987_syntax wherever JupyterLab has installed it, which compiles a
grammar. This process and those of the local Ray find a stand-in first, which loads the package when it is used.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

FOLDER = str(Path(__file__).parent / "deferred")
"""The folder of stand-ins, for `sys.path` and PYTHONPATH."""
NAME = "rfc3987_syntax"


def import_ray() -> ModuleType:
    """Import Ray with the stand-in on the path, and return it."""
    with deferred():
        return importlib.import_module("ray")


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let imports in the block find the stand-in; afterwards `import rfc3987_syntax` finds the package again."""
    if NAME in sys.modules:  # already loaded by the user's code
        yield
        return
    sys.path.insert(0, FOLDER)
    try:
        yield
    finally:
        sys.path.remove(FOLDER)
        found = sys.modules.get(NAME)
        if found is not None and str(found.__file__).startswith(FOLDER):
            del sys.modules[NAME]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return a copy of an environment in which Python processes, and their children, find the stand-in first.

    Example:
        >>> child_environment({"PYTHONPATH": "/code"})["PYTHONPATH"].endswith(":/code")
        True
    """
    paths = [FOLDER, *filter(None, [environ.get("PYTHONPATH")])]
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}
