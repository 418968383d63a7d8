"""From a `--pretrained_model_type` to the class behind it: by file name, by row, then by entry point.

A file `backends/saas/<name>.py` is the provider `saas/<name>`, and so is a row `[<name>]` of backends/compatible.toml;
`backends/local/<engine>.py` is the engine that `custom/auto --infer_backend <engine>` names, and
`backends/custom/<family>.py` the family `custom/<family>`. Third parties add theirs
in the entry-point group `byzer_magic.backends`. Nothing here imports an SDK: backends import theirs in `open`.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from typing import TYPE_CHECKING

import byzer_magic.backends.custom
import byzer_magic.backends.local
import byzer_magic.backends.saas
from byzer_magic.backends import compatible
from byzer_magic.backends.base import Backend, Info
from byzer_magic.commands.spec import ENGINES
from byzer_magic.errors import MissingExtra, UnknownKind
from byzer_magic.local_models import installed as installed_engines
from byzer_magic.local_models.installed import Package

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "byzer_magic.backends"


def saas_kinds() -> list[str]:
    """Return `saas/<name>` for every provider, file or row (looks at names, imports nothing)."""
    return sorted(f"saas/{name}" for name in {*_files(), *compatible.load()})


def _files() -> list[str]:
    return [item.name for item in pkgutil.iter_modules(byzer_magic.backends.saas.__path__)]


def engines() -> list[str]:
    """Return the engines that have a file."""
    return sorted(item.name for item in pkgutil.iter_modules(byzer_magic.backends.local.__path__))


def families() -> list[str]:
    """Return `custom/<family>` for every family that has a file."""
    return sorted(f"custom/{item.name}" for item in pkgutil.iter_modules(byzer_magic.backends.custom.__path__))


def local() -> dict[str, type[Backend]]:
    """Return what runs local models: engines of custom/auto by their name, families by their type."""
    return {name: find("custom/auto", name) for name in engines()} | {kind: find(kind) for kind in families()}


def installed() -> dict[str, tuple[Package, ...]]:
    """Return the packages that are there of each engine and family."""
    return {name: installed_engines.find(backend.info.requires) for name, backend in local().items()}


def kinds() -> list[str]:
    """Return every value that `--pretrained_model_type` can have."""
    return ["custom/auto", *families(), *saas_kinds(), *sorted(_entry_points())]


def find(kind: str, infer_backend: str | None = None) -> type[Backend]:
    """Return the backend class of a type.

    ============== ================= ===========================
    type           --infer_backend   where
    ============== ================= ===========================
    saas/<name>    (ignored)         backends/saas/<name>.py,
                                     or a row of compatible.toml
    custom/auto    <engine>          backends/local/<engine>.py
    custom/<name>  (ignored)         backends/custom/<name>.py
    anything else  (ignored)         an entry point of that name
    ============== ================= ===========================

    Raises:
        UnknownKind: there is none; the nearest names are in the hint.
    """
    family, _, name = kind.partition("/")
    if family == "saas" and name in _files():
        return _load(f"byzer_magic.backends.saas.{name}")
    if family == "saas" and name in compatible.load():
        return compatible.backend(name)
    if kind == "custom/auto":
        return _engine(infer_backend)
    if kind in families():
        return _load(f"byzer_magic.backends.custom.{name}")
    if kind in (points := _entry_points()):
        backend: type[Backend] = points[kind].load()
        return backend
    raise UnknownKind(f"Unknown --pretrained_model_type {kind!r}.", _nearest(kind, kinds()))


def _engine(name: str | None) -> type[Backend]:
    available = engines()
    if name in available:
        return _load(f"byzer_magic.backends.local.{name}")
    choices = ", ".join(available)
    if name in (None, "auto"):  # whoever looks at the model's files chooses one first
        raise UnknownKind("custom/auto needs an engine.", f"Add --infer_backend (available: {choices}).")
    if name in ENGINES:
        raise UnknownKind(f"The engine {name} is not part of this version.", f"Available: {choices}.")
    raise UnknownKind(f"Unknown --infer_backend {name!r}.", _nearest(str(name), available))


def _load(module: str) -> type[Backend]:
    found = importlib.import_module(module)
    backend: type[Backend] = found.BACKEND
    return backend


def _entry_points() -> dict[str, EntryPoint]:
    """Return the third parties' entry points by name; none is loaded before `find` wants it."""
    from importlib.metadata import entry_points  # costs 140 ms: only on a miss

    return {point.name: point for point in entry_points(group=GROUP)}


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else f"Available: {', '.join(known)}."


def require(info: Info) -> None:
    """Check that one of the packages a backend needs is installed.

    Raises:
        MissingExtra: none is; the hint is the line that installs it.
    """
    if info.requires and not any(importlib.util.find_spec(name) for name in info.requires):
        raise MissingExtra(
            f"{info.kind} needs the package {' or '.join(info.requires)}, which is not installed.",
            f"Run: pip install 'byzer-magic[{info.extra}]'",
        )
    found = installed_engines.find(info.requires) if info.local else ()
    if found and all(package.missing for package in found):
        missing = ", ".join(found[0].missing)
        raise MissingExtra(f"{found[0].name} needs {missing}, which is not installed.", f"Run: pip install {missing}")
