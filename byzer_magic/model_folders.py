"""The models on this machine's disk: in the caches that hubs and programs keep, and where people put them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from byzer_magic.backends.weights import choose, files
from byzer_magic.backends.weights.files import Weights
from byzer_magic.backends.weights.gguf import is_later_part
from byzer_magic.backends.weights.hardware import Hardware
from byzer_magic.errors import ByzerError

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
MARKS = ("config.json", "config.yaml", "adapter_config.json", "model_index.json")
"""Files that make a folder a model; what lies below is part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model on disk, or what is wrong with it."""

    path: Path
    weights: Weights | None = None
    engine: str = ""
    trouble: str = ""


def folders(environ: Mapping[str, str]) -> list[Path]:
    """Return the folders to look in that exist, those of BYZER_MODELS (with colons between) first."""
    named = [Path(part).expanduser() for part in environ.get("BYZER_MODELS", "").split(os.pathsep) if part]
    for variable, below, usual in CACHES:
        where = environ.get(variable) if variable else None
        if where or usual:
            named.append(Path(where or usual).expanduser() / (below if where else ""))
    return list(dict.fromkeys(path.absolute() for path in named if path.is_dir()))


def find(where: Iterable[Path], machine: Hardware, installed: choose.Installed) -> list[Found]:
    """Return the models below these folders, sorted by path."""
    paths: dict[Path, Path] = {}
    for folder in where:
        for path in _models(folder, DEEPEST):
            paths.setdefault(path.resolve(), path)
            if len(paths) >= MOST:
                break
    return [_found(path, machine, installed) for path in sorted(paths.values())]


def _models(folder: Path, depth: int) -> Iterator[Path]:
    """Yield folders with a model, and single files; links to folders are not followed, but for snapshots' files."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    names = {entry.name for entry in entries}
    if names & set(MARKS):
        yield folder
        return
    for entry in entries:
        path = Path(entry.path)
        voice = entry.name.endswith(".onnx") and f"{entry.name}.json" in names
        if voice or (entry.name.endswith(".gguf") and not is_later_part(entry.name)):
            yield path
        elif depth and entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".", "blobs")):
            yield from _models(path, depth - 1)


def _found(path: Path, machine: Hardware, installed: choose.Installed) -> Found:
    try:
        weights = files.look(str(path))
    except (ByzerError, OSError) as err:
        return Found(path=path, trouble=_sentence(err))
    try:
        return Found(path=path, weights=weights, engine=choose.engine(weights, machine, installed).name)
    except ByzerError as err:
        return Found(path=path, weights=weights, trouble=_sentence(err))


def _sentence(err: Exception) -> str:
    return err.message if isinstance(err, ByzerError) else str(err)
