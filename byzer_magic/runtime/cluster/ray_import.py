"""Importing Ray without what it imports and hardly ever uses (decision 009).

`import ray` imports jsonschema, which imports rfc3987_syntax wherever JupyterLab has installed it, which compiles a
grammar for 2 s. This process and those of the local Ray find a stand-in first, which loads the package when it is used.
Where this package imports Ray itself, also in each worker of the local Ray, jsonschema and requests wait until Ray uses
them: that is another 0.2 s, two fifths of what is left.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from byzer_magic.importing.later import without
from byzer_magic.importing.when import WhenImported

FOLDER = str(Path(__file__).parent / "deferred")
"""The folder of stand-ins, for `sys.path` and PYTHONPATH."""
NAME = "rfc3987_syntax"
UNUSED = ("jsonschema", "requests")
"""What Ray uses where a program has a runtime environment, and on TPUs."""
WHEN_CONNECTING = "ray._common.usage.usage_lib"
"""What imports some of that later, in every process that connects."""
SERIALIZERS = {
    "pydantic.v1.fields": "ray._common.pydantic_compat:register_pydantic_serializers",
    "starlette.datastructures": "ray.util.serialization_addons:register_starlette_serializer",
    "pyarrow": "ray._private.arrow_serialization:_register_custom_datasets_serializers",
}
"""What Ray registers for objects of these modules, which it imports for that wherever they are installed."""
_KNOWN = {word for path in SERIALIZERS.values() for word in path.split(":")} | {"sys", "platform"}


def import_ray() -> ModuleType:
    """Import Ray without what it does not use, and return it."""
    if "ray" in sys.modules:
        return importlib.import_module("ray")
    with deferred(), without(*UNUSED):
        ray = importlib.import_module("ray")
        with contextlib.suppress(ImportError):  # another version of Ray
            importlib.import_module(WHEN_CONNECTING)
    _let_serializers_wait()
    return ray


def _let_serializers_wait() -> None:
    """Have Ray register each of `SERIALIZERS` when its package is imported: before, no object can need it.

    They are two fifths of what the process of a deployment of an API spends before its first request.
    """
    from ray.util import serialization_addons

    def apply(context: Any) -> None:
        for module, path in SERIALIZERS.items():
            WhenImported(module, lambda _module, path=path: pkgutil.resolve_name(path)(context)).start()  # type: ignore[misc]  # of a default

    if {*serialization_addons.apply.__code__.co_names} <= _KNOWN:  # in another version there may be more of them
        serialization_addons.apply = apply


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
