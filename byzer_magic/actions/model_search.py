"""The models on this machine's disk: in the caches that hubs and programs keep, and where people put them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.backends import registry
from byzer_magic.errors import ByzerError
from byzer_magic.local_models import engine_choice, files, hardware, installed as installed_engines
from byzer_magic.local_models.files import Weights
from byzer_magic.local_models.gguf import is_later_part
from byzer_magic.local_models.hardware import Hardware
from byzer_magic.local_models.memory import readable

DEEPEST = 6
"""Folders below a cache that are looked into."""
MOST = 1000
"""Models that are listed."""
CACHES = (
    ("HF_HUB_CACHE", "", "~/.cache/huggingface/hub"),
    ("HF_HOME", "hub", ""),
    ("MODELSCOPE_CACHE", "", "~/.cache/modelscope/hub"),
    ("", "", "~/.auto-coder/storage/models"),
    ("LLAMA_CACHE", "", "~/.cache/llama.cpp"),
    ("", "", "~/.lmstudio/models"),
    ("", "", "~/.cache/lm-studio/models"),
    ("", "", "~/models"),
    ("", "", "models"),
)
"""Variable that says where, folder below it, and where it is when the variable is not set."""
ALONE = ("adapter_config.json", "model_index.json")
"""Files that make a folder a model (or a part of one) whatever else is in it."""
WEIGHTS = (".safetensors", ".safetensors.index.json", ".bin", ".pt")
SKIPPED = ("blobs", "refs", "node_modules", "site-packages", "__pycache__")
"""Folders in which no model lies that does not lie elsewhere, too."""
_WRONG = (ByzerError, OSError, ValueError, TypeError, LookupError, AttributeError)
"""What reading the files of a broken model may raise: configurations are whatever somebody wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model on disk, or what is wrong with it."""

    path: Path
    weights: Weights | None = None
    engine: str = ""
    installed: bool = True
    trouble: str = ""


def shelves(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the folders of models that exist, those of BYZER_MODELS (with colons between) first."""
    named = [Path(part).expanduser() for part in environ.get("BYZER_MODELS", "").split(os.pathsep) if part]
    for variable, below, usual in CACHES:
        where = environ.get(variable) if variable else None
        if where or usual:
            named.append(Path(where or usual).expanduser() / (below if where else ""))
    return list(dict.fromkeys(path.absolute() for path in named if os.path.isdir(path)))  # noqa: PTH112 - Path.is_dir raises where we may not look


def find(folder: str | None = None) -> list[Found]:
    """Return the models below a folder, or else in the usual ones and right here, sorted by path.

    Raises:
        BadParameter: the folder that is named does not exist.
    """
    where = [files.existing(folder).absolute()] if folder else shelves()
    paths: dict[Path, Path] = {}
    seen: set[tuple[int, int]] = set()
    for path in (*_all(where, DEEPEST, seen), *([] if folder else _all([Path.cwd()], 1, seen))):
        paths.setdefault(path.resolve(), path)
        if len(paths) >= MOST:
            break
    here, installed = hardware.look(), installed_engines.usable(registry.installed())
    return [_found(path, here, installed) for path in sorted(paths.values())]


def _all(where: Iterable[Path], depth: int, seen: set[tuple[int, int]]) -> Iterator[Path]:
    for folder in where:
        yield from [folder] if folder.is_file() else _models(folder, depth, seen)


def _models(folder: Path, depth: int, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield folders with a model, and single files; a folder that several links lead to is looked into once."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
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
                yield from _models(folder / name, depth - 1, seen)
        elif _is_model_file(name, names):
            yield folder / name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_model(names: Mapping[str, bool]) -> bool:
    """Return whether files of these names make a folder a model: whole, or at least meant as one."""
    if any(name in names for name in ALONE) or {"config.yaml", "model.pt"} <= names.keys():
        return True
    if "config.json" not in names:
        return False
    only_gguf = not any(name.endswith(WEIGHTS) for name in names) and any(name.endswith(".gguf") for name in names)
    meant = any(name.endswith(WEIGHTS) or name in files.TOKENIZERS for name in names)
    return meant and not only_gguf


def _is_model_file(name: str, names: Mapping[str, bool]) -> bool:
    if name.endswith(".onnx"):
        return f"{name}.json" in names
    return name.endswith(".gguf") and not is_later_part(name) and "mmproj" not in name.lower()


def _found(path: Path, here: Hardware, installed: engine_choice.Installed) -> Found:
    weights = None
    try:
        weights = files.look(str(path))
        choice = engine_choice.engine(weights, here, installed)
    except _WRONG as err:
        return Found(path=path, weights=weights, trouble=_trouble(err, path))
    return Found(path=path, weights=weights, engine=choice.name, installed=choice.name in installed)


def _trouble(err: Exception, path: Path) -> str:
    """Return what is wrong, without the path, which stands beside it."""
    if isinstance(err, OSError):
        return f"{Path(err.filename or path).name}: {err.strerror}"
    text = err.message if isinstance(err, ByzerError) else f"has a configuration that is not a model's ({err})"
    return text.removeprefix(f"{path} ").replace(f"{path}/", "").rstrip(".")


# ---- rows


def rows(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Return one row for each model; that something is wrong has a column where it is so."""
    table = [_row(item) for item in found]
    if not any(row["trouble"] for row in table):
        for row in table:
            del row["trouble"]
    return table


def _row(found: Found) -> dict[str, Any]:
    weights = found.weights
    return {
        "name": name_of(found.path),
        "form": weights.form if weights else "",
        "engine": f"{found.engine}{'' if found.installed else ' (to install)'}" or "-",
        "parameters": readable(weights.parameters, "") if weights and weights.parameters else "",
        "dtype": weights.dtype if weights else "",
        "size": readable(weights.size) if weights else "",
        "trouble": found.trouble,
        "path": short(_repository(found.path)),
    }


def plain(found: Iterable[Found]) -> list[dict[str, Any]]:
    """Return the same as data for programs."""
    return [
        {
            "name": name_of(item.path),
            "path": str(item.path),
            "engine": item.engine or None,
            "installed": item.installed if item.engine else None,
            "trouble": item.trouble or None,
            **{
                name: getattr(item.weights, name, None) or None
                for name in ("form", "architecture", "parameters", "dtype", "size", "context")
            },
        }
        for item in found
    ]


def name_of(path: Path) -> str:
    """Return a model's name; in the hubs' caches it is in the names of folders above."""
    parts = path.parts
    own = path.stem if path.suffix in (".gguf", ".onnx") else path.name
    if hub := next((part for part in parts if part.startswith("models--")), ""):
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
