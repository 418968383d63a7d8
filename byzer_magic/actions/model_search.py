"""The models on this machine's disk: in the caches of hubs and programs, and in the usual folders."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.errors import ByzerError
from byzer_magic.files import paths
from byzer_magic.i18n import gettext, lazy_gettext as _, localized
from byzer_magic.local_models import engine_choice, files, hardware
from byzer_magic.local_models.engine_facts import FileFormat
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.gguf import is_later_part
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.hubs import cache
from byzer_magic.local_models.installed import Engines, file_formats
from byzer_magic.local_models.memory import readable

MAX_DEPTH = 6
"""Levels of folders below a cache that are searched."""
MAX_MODELS = 1000
"""Models that are listed."""
CACHES = (
    ("HF_HUB_CACHE", "", "~/.cache/huggingface/hub"),
    ("HF_HOME", "hub", ""),
    ("MODELSCOPE_CACHE", "", "~/.cache/modelscope"),
    ("", "", "~/.auto-coder/storage/models"),
    ("LLAMA_CACHE", "", "~/.cache/llama.cpp"),
    ("", "", "~/.lmstudio/models"),
    ("", "", "~/.cache/lm-studio/models"),
    ("", "", "~/models"),
    ("", "", "models"),
)
"""Environment variable with a folder, the folder below it, and the default when the variable is not set."""
ALONE = ("adapter_config.json", "model_index.json")
"""Files that make a folder a model, or a part of one, whatever else is in it."""
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".pt")
SKIPPED = ("blobs", "refs", "node_modules", "site-packages", "__pycache__")
"""Folders that hold no models themselves: their files are linked from elsewhere."""
_READ_ERRORS = (ByzerError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""What reading the files of a broken model may raise: a config.json may hold anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model on disk, or the error that reading it raised."""

    path: Path
    weights: Weights | None = None
    engine: str = ""
    installed: bool = True
    error: str = ""


def model_folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders of models that exist, those of BYZER_MODELS (separated by colons) first."""
    named = [paths.expanded(part) for part in environ.get("BYZER_MODELS", "").split(os.pathsep) if part]
    for variable, below, usual in CACHES:
        where = environ.get(variable) if variable else None
        if where or usual:
            named.append(paths.expanded(where or usual) / (below if where else ""))
    return list(dict.fromkeys(path.absolute() for path in named if os.path.isdir(path)))  # noqa: PTH112 - Path.is_dir raises without permission


def find(folder: str | None = None) -> list[Found]:
    """Return the models below a folder, or in the usual folders and the current one, sorted by path.

    Args:
        folder: where to search; None searches the usual folders.

    Raises:
        BadParameter: the folder does not exist.
    """
    engines = registry.engines()
    search = _Search(own_formats=file_formats(engines))
    where = [files.existing(folder).absolute()] if folder else model_folders()
    paths: dict[Path, Path] = {}
    for path in (*search.below(where, MAX_DEPTH), *([] if folder else search.below([Path.cwd()], 1))):
        paths.setdefault(path.resolve(), path)
        if len(paths) >= MAX_MODELS:
            break
    here = hardware.detect()
    found = [_found(path, here, engines) for path in sorted(paths.values())]
    return found if folder else _with_unfinished(found)


def _with_unfinished(found: list[Found]) -> list[Found]:
    """Return models with those of hubs that were fetched only in part, which say so instead of what they lack."""
    for reference in cache.repositories():
        if not (size := cache.unfinished(reference)):
            continue
        top = cache.repository(reference)
        error = _("partly downloaded ({size}); pull resumes it", size=readable(size))
        broken = [item for item in found if item.error and item.path.is_relative_to(top)]
        found = [item for item in found if item not in broken]
        found += [Found(path=broken[0].path if broken else top, error=error)]
    return sorted(found, key=lambda item: item.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """A walk through folders that enters each of them once, however many links lead to it."""

    own_formats: tuple[FileFormat, ...]
    seen: set[tuple[int, int]] = field(default_factory=set)

    def below(self, folders: Iterable[Path], depth: int) -> Iterator[Path]:
        """Yield the models in these folders, and those of them that are files."""
        for folder in folders:
            yield from [folder] if folder.is_file() else self._models(folder, depth)

    def _models(self, folder: Path, depth: int) -> Iterator[Path]:
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in self.seen:
                return
            self.seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                names = {entry.name: _is_folder(entry) for entry in entries}
        except OSError:
            return
        if _is_model(names):
            yield folder
            return
        for name in sorted(names):
            if names[name]:
                if depth and not name.startswith(".") and name not in SKIPPED:
                    yield from self._models(folder / name, depth - 1)
            elif self._is_model_file(folder / name):
                yield folder / name

    def _is_model_file(self, path: Path) -> bool:
        if path.suffix == ".gguf":
            return not is_later_part(path.name) and "mmproj" not in path.name.lower()
        return any(form.complete(path) for form in self.own_formats)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_model(names: Mapping[str, bool]) -> bool:
    """Return whether files of these names make a folder a model, complete or not."""
    if any(name in names for name in ALONE) or {"config.yaml", "model.pt"} <= names.keys():
        return True
    if "config.json" not in names:
        return False
    only_gguf = not any(name.endswith(WEIGHTS) for name in names) and any(name.endswith(".gguf") for name in names)
    intended = any(name.endswith(WEIGHTS) or name in files.TOKENIZERS for name in names)
    return intended and not only_gguf


def _found(path: Path, here: Hardware, engines: Engines) -> Found:
    weights = None
    try:
        weights = files.inspect(str(path), file_formats(engines))
        choice = engine_choice.choose(weights, here, engines)
    except _READ_ERRORS as err:
        return Found(path=path, weights=weights, error=_error(err, path))
    return Found(path=path, weights=weights, engine=choice.name, installed=bool(engines[choice.name].usable))


def _error(err: Exception, path: Path) -> str:
    if isinstance(err, OSError):
        return _("{file}: {reason}", file=Path(err.filename or path).name, reason=err.strerror)
    if isinstance(err, ByzerError):
        return err.message
    return _("{path} has an invalid model configuration ({error}).", path=path, error=err)


def error_of(found: Found) -> str:
    """Return a model's error in the active language, without its path, which is shown beside it."""
    return _without_path(localized(found.error), found)


def _without_path(text: str, found: Found) -> str:
    return text.removeprefix(f"{found.path} ").replace(f"{found.path}/", "").rstrip(".。")


# ---- rows


def rows(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Return one row for each model; the columns of errors and hubs are left out when they are empty."""
    table = [_row(item) for item in found]
    for column in (gettext("error"), gettext("hub")):
        if not any(row[column] for row in table):
            for row in table:
                del row[column]
    return table


def _row(found: Found) -> dict[str, Any]:
    weights = found.weights
    engine = found.engine if found.installed else gettext("{engine} (not installed)", engine=found.engine)
    return {
        gettext("name"): name_of(found.path),
        gettext("format"): weights.format if weights else "",
        gettext("engine"): engine or "-",
        gettext("parameters"): readable(weights.parameters, "") if weights and weights.parameters else "",
        gettext("dtype"): weights.dtype if weights else "",
        gettext("size"): readable(weights.size) if weights else "",
        gettext("error"): error_of(found),
        gettext("hub"): str(cache.of_path(found.path) or ""),
        gettext("path"): short(_repository(found.path)),
    }


def plain(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Return the same as data for programs."""
    return [
        {
            "name": name_of(item.path),
            "path": str(item.path),
            "hub": str(cache.of_path(item.path) or "") or None,
            "engine": item.engine or None,
            "installed": item.installed if item.engine else None,
            "error": _without_path(str(item.error), item) or None,
            "format": item.weights.format if item.weights else None,
            **{
                name: getattr(item.weights, name, None) or None
                for name in ("architecture", "parameters", "dtype", "size", "context")
            },
        }
        for item in found
    ]


def name_of(path: Path) -> str:
    """Return a model's name; in the hubs' caches it is in the names of folders above."""
    parts = path.parts
    own = path.stem if path.suffix in (".gguf", ".onnx") else path.name
    kept = next((above for above, part in itertools.pairwise(parts) if part == "snapshots" and "--" in above), "")
    if hub := next((part for part in parts if part.startswith("models--")), kept):
        repository = hub.removeprefix("models--").replace("--", "/")
        return f"{repository}/{own}" if path.suffix == ".gguf" else repository
    if "modelscope" in parts and path.suffix != ".gguf":
        return f"{path.parent.name}/{own.replace('___', '.')}"
    return own


def _repository(path: Path) -> Path:
    """Return the shorter path that leads to the same model, where a hub's cache has one."""
    top = path.parent.parent
    return top if path.parent.name == "snapshots" and files.snapshot(top) == path else path


def short(path: Path) -> str:
    """Return a path with ~ for the home folder."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and path != home else str(path)
