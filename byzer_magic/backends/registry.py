"""From a `--pretrained_model_type` to the class behind it: by file name, by row, then by entry point.

A file or folder `backends/saas/<name>` is the provider `saas/<name>`, and so is a row `[<name>]` of
backends/compatible.toml; `backends/local/<engine>` is the engine that `custom/auto --infer_backend <engine>` names, and
`backends/custom/<family>` the family `custom/<family>`. Other packages bring theirs as entry points (see
`byzer_magic.plugins`). Nothing here imports an SDK: backends import theirs in `open`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Iterator

import byzer_magic.backends.custom
import byzer_magic.backends.saas
from byzer_magic import plugins
from byzer_magic.backends import compatible
from byzer_magic.backends.base import Backend, Info
from byzer_magic.commands import former
from byzer_magic.errors import MissingExtra, UnknownKind, suggest
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.local_models import installed
from byzer_magic.local_models.installed import Engine
from byzer_magic.log import get_logger

ROUTE = "route"
"""The type whose deployments pass requests on to others."""

log = get_logger("registry")


def saas_kinds() -> list[str]:
    """Return `saas/<name>` for every provider of this package, file or row (looks at names, imports nothing)."""
    return sorted(f"saas/{name}" for name in {*_files(), *compatible.load()})


def _files() -> tuple[str, ...]:
    return _modules(tuple(byzer_magic.backends.saas.__path__))


def families() -> list[str]:
    """Return `custom/<family>` for every family of this package."""
    return [f"custom/{name}" for name in _modules(tuple(byzer_magic.backends.custom.__path__))]


@functools.cache
def _modules(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modules in the folders of a package: a pool asks for its backend at each request."""
    return tuple(sorted(item.name for item in pkgutil.iter_modules(folders)))


def local() -> dict[str, type[Backend]]:
    """Return what runs local models: engines of custom/auto by name, then families by type.

    A backend of another package that cannot be imported is left out, with a line in the log: it must not break
    the others.
    """
    return dict(_local())


def _local() -> Iterator[tuple[str, type[Backend]]]:
    others = sorted(kind for kind in plugins.entry_points() if kind.startswith("custom/"))
    for name in (*plugins.engines(), *dict.fromkeys([*families(), *others])):
        try:
            backend = find(name) if "/" in name else find("custom/auto", name)
        except Exception as err:  # noqa: BLE001 - code of another package may fail in any way
            log.warning("The backend %s cannot be imported: %s", name, err)
            continue
        yield name, backend


def engines() -> dict[str, Engine]:
    """Return every engine and family of local models by name, each with its packages that are installed."""
    return {
        name: Engine(name=name, facts=backend.info.engine, packages=installed.find(backend.info.engine.packages))
        for name, backend in local().items()
        if backend.info.engine
    }


def kinds() -> list[str]:
    """Return every value that `--pretrained_model_type` can have."""
    others = [name for name in sorted(plugins.entry_points()) if not name.startswith(plugins.ENGINE)]
    return list(dict.fromkeys(["custom/auto", *families(), *saas_kinds(), ROUTE, *others]))


def find(kind: str, infer_backend: str | None = None) -> type[Backend]:
    """Return the backend class of a type.

    ============== ================= ==============================
    type           --infer_backend   where
    ============== ================= ==============================
    saas/<name>    (ignored)         backends/saas/<name>,
                                     or a row of compatible.toml
    custom/auto    <engine>          backends/local/<engine>, or an
                                     entry point engine/<engine>
    custom/<name>  (ignored)         backends/custom/<name>
    anything else  (ignored)         an entry point of that name
    ============== ================= ==============================

    Raises:
        UnknownKind: there is no such backend; the hint has the nearest names.

    Example:
        >>> find("saas/openai").info.title
        'OpenAI and compatible APIs'
    """
    family, _slash, name = kind.partition("/")
    if family == "saas" and name in _files():
        return _load(f"byzer_magic.backends.saas.{name}")
    if family == "saas" and name in compatible.load():
        return compatible.backend(name)
    if kind == ROUTE:
        return _load("byzer_magic.backends.route")
    if kind == "custom/auto":
        return _engine(infer_backend)
    if kind in families():
        return _load(f"byzer_magic.backends.custom.{name}")
    if family != plugins.ENGINE.rstrip("/") and kind in (points := plugins.entry_points()):
        backend: type[Backend] = points[kind].load()
        return backend
    if kind in former.GONE_TYPES:
        raise UnknownKind(*former.GONE_TYPES[kind])
    raise UnknownKind(_("Unknown --pretrained_model_type {kind!r}.", kind=kind), _nearest(kind, kinds()))


def _engine(name: str | None) -> type[Backend]:
    if name in plugins.builtin_engines():
        return _load(f"byzer_magic.backends.local.{name}")
    available = plugins.engines()
    if name in (None, plugins.AUTO):  # the caller looks at the model's files and chooses one first
        raise UnknownKind(
            _("custom/auto needs an engine."),
            _("Add --infer_backend (available: {engines}).", engines=listed(available)),
        )
    if name not in available:
        raise UnknownKind(_("Unknown --infer_backend {name!r}.", name=name), _nearest(str(name), available))
    backend: type[Backend] = plugins.entry_points()[f"{plugins.ENGINE}{name}"].load()
    return backend


def _load(module: str) -> type[Backend]:
    found = importlib.import_module(module)
    backend: type[Backend] = found.BACKEND
    return backend


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return suggest(word, known, _("Available: {names}.", names=listed(known)))


def require(info: Info) -> None:
    """Check that one of the packages a backend needs is installed, in a version that works, with its companions.

    Raises:
        MissingExtra: none of them is; the hint is the command that installs one.
    """
    packages = " / ".join(info.modules)
    if info.modules and not any(importlib.util.find_spec(name) for name in info.modules):
        raise MissingExtra(
            _("{kind} needs the package {packages}, which is not installed.", kind=info.kind, packages=packages),
            _("Run: {command}", command=info.install_command),
        )
    found = installed.find(info.engine.packages) if info.engine else ()
    if found and all(package.wanted for package in found):
        facts = {"package": found[0].name, "version": found[0].version, "wanted": found[0].wanted}
        raise MissingExtra(
            _("{package} {version} is installed, which does not work here; {wanted} does.", **facts),
            _("Run: {command}", command=f"pip install '{found[0].wanted}'"),
        )
    if found and all(package.missing for package in found):
        missing = found[0].missing
        command = f"pip install {' '.join(missing)}"
        raise MissingExtra(
            _("{package} needs {missing}, which is not installed.", package=found[0].name, missing=listed(missing)),
            _("Run: {command}", command=command),
        )
