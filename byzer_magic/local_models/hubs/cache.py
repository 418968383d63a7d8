"""What of the hubs is on this machine, found without asking a hub and without its package."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from byzer_magic.errors import FetchError, MissingExtra, NotFetched
from byzer_magic.files import paths
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.local_models.hubs import choice
from byzer_magic.local_models.hubs.choice import File, Wish
from byzer_magic.local_models.hubs.hub import HUBS
from byzer_magic.local_models.hubs.reference import Reference, from_path, parse

_COMMIT = re.compile(r"[0-9a-f]{40}")
LARGEST_INDEX = 50_000_000
"""Bytes; a larger index of weights is none."""


def local(text: str, environ: Mapping[str, str] = os.environ, wish: Wish | None = None) -> Path:
    """Return the file or folder in a cache that a model in a hub is deployed from; the hub is not asked.

    Args:
        text: the model, as the user has written it.
        environ: the environment's variables, which may move caches.
        wish: what is known about the engine.

    Raises:
        BadParameter: it is not written like a model in a hub.
        NotFetched: it is not there, or not all of it; `details["model"]` has it as typed.
    """
    reference = parse(text)
    if found := find(reference, environ, wish):
        return found
    hub = HUBS[reference.hub]
    fetch = _("Download it: %byzer pull {reference}", reference=text)
    if hub.is_offline(environ):
        fetch = join(_("{variable} is set, so {hub} is not contacted.", variable=hub.offline, hub=hub.title), fetch)
    raise NotFetched(_("{reference} is not on this machine, or not completely.", reference=text), fetch, model=text)


def find(reference: Reference, environ: Mapping[str, str] = os.environ, wish: Wish | None = None) -> Path | None:
    """Return where a model in a hub is on this machine, all of it; None where it is not, or not complete.

    Of several quantizations that are there, it is the one that was fetched last, unless the reference names one.

    Args:
        reference: the model.
        environ: the environment's variables, which may move caches.
        wish: what is known about the engine.
    """
    for folder in _snapshots(reference, environ):
        try:
            found = _in(folder, reference, wish or Wish())
        except OSError:  # it cannot be read, or is being removed
            continue
        if found is not None:
            return found
    return None


def repository(reference: Reference, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of a repository in its hub's cache, whether it is there or not."""
    cache = HUBS[reference.hub].folder(environ)
    name = reference.repo.replace("/", "--")
    return cache / f"models--{name}" if reference.hub == "hf" else cache / "models" / name


def repositories(environ: Mapping[str, str] = os.environ) -> list[Reference]:
    """Return the repositories of which something is in the hubs' caches, complete or not."""
    found = []
    for hub in HUBS:
        for folder in sorted(repository(Reference(hub=hub, repo="*/*"), environ).parent.glob("*--*")):
            owner, _dashes, name = folder.name.removeprefix("models--").partition("--")
            is_model = hub == "ms" or folder.name.startswith("models--")
            if is_model and owner and name and folder.is_dir():
                found.append(Reference(hub=hub, repo=f"{owner}/{name}"))
    return found


def unfinished(reference: Reference, environ: Mapping[str, str] = os.environ) -> int:
    """Return the bytes of files of a repository that are fetched only in part."""
    top = repository(reference, environ)
    parts = re.compile(r".*(?:\.incomplete|\.parallel_tmp)|.*_\d+_\d+")
    return sum(path.stat().st_size for path in top.rglob("*") if path.is_file() and parts.fullmatch(path.name))


def of_path(path: Path, environ: Mapping[str, str] = os.environ) -> Reference | None:
    """Return the model in a hub that a path in its cache is; None for other paths."""
    found = from_path(path) or next((one for one in repositories(environ) if path == repository(one, environ)), None)
    inside = found is not None and path.is_relative_to(HUBS[found.hub].folder(environ).absolute())
    return replace(found, revision="") if found is not None and inside else None


def _snapshots(reference: Reference, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which a revision of a repository may be."""
    top = repository(reference, environ)
    kept = top / "snapshots"
    names = [reference.revision] if reference.revision else [HUBS[reference.hub].main, "main", "master"]
    for name in dict.fromkeys(names):
        for folder in (kept / name, _commit(top, kept, name)):
            if folder is not None and folder.is_dir():
                yield folder
    if not reference.revision and kept.is_dir() and len(every := list(kept.iterdir())) == 1:
        yield every[0]
    if reference.hub == "ms" and reference.revision in ("", "master"):
        yield from older(reference, environ)


def older(reference: Reference, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folder where modelscope before 1.38 kept a model; the package goes on using one that is there."""
    owner, _slash, name = reference.repo.partition("/")
    cache = HUBS["ms"].folder(environ)
    for base in (cache / "models", cache / "hub" / "models"):
        if (folder := base / owner / name.replace(".", "___")).is_dir():
            yield folder


def _commit(top: Path, kept: Path, name: str) -> Path | None:
    """Return the folder of a branch or tag in Hugging Face's cache."""
    try:
        commit = (top / "refs" / name).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return kept / commit if _COMMIT.fullmatch(commit) else None


def _in(folder: Path, reference: Reference, wish: Wish) -> Path | None:
    listing = list(files_in(folder))
    there = {file.path for file in listing}
    if reference.part:
        try:
            chosen = choice.choose(reference, listing, wish)
        except FetchError:
            return None
        complete = choice.has_all_parts([chosen.main], there)
        return folder / chosen.main if complete else None
    versions = [one for one in choice.versions_of(listing) if choice.has_all_parts(one.files, there)]
    whole = choice.is_complete(there) and _has_indexed(folder, there)
    if whole and not wish.only_gguf and not (wish.gguf and versions):
        return folder
    if not versions:
        return None
    last = max(versions, key=lambda one: (folder / one.files[0]).stat().st_mtime)
    return folder / last.files[0]


def files_in(folder: Path, depth: int = 3) -> Iterator[File]:
    """Yield the files of a folder and of those in it, with their sizes; what is still being fetched is none."""

    def below(path: Path, left: int) -> Iterator[File]:
        for item in sorted(path.iterdir()):
            if item.is_dir():
                if left:
                    yield from below(item, left - 1)
            elif item.is_file() and item.suffix not in (".incomplete", ".parallel_tmp"):
                yield File(path=item.relative_to(folder).as_posix(), size=item.stat().st_size)

    return below(folder, depth)


def _has_indexed(folder: Path, there: set[str]) -> bool:
    """Return whether all weights are there that an index lists, under whatever names."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        if index in there and any(name.endswith(index.split(".")[1]) for name in there):
            file = folder / index
            try:
                listed = json.loads(file.read_bytes()) if file.stat().st_size < LARGEST_INDEX else {}
                if not set(listed.get("weight_map", {}).values()) <= there:
                    return False
            except (OSError, ValueError, AttributeError):
                return False
    return True


def existing_parent(path: Path) -> Path:
    """Return a folder, or the nearest one above it that exists: it has the disk on which the folder will be."""
    return next((folder for folder in (path, *path.parents) if paths.exists(folder)), Path("/"))


def need_package(hub: str) -> None:
    """Check that the package is installed that fetches from a hub.

    Raises:
        MissingExtra: it is not; the hint is the command that installs it.
    """
    import importlib.util

    found = HUBS[hub]
    if importlib.util.find_spec(found.module) is None:
        package = found.module.replace("_", "-")
        raise MissingExtra(
            _("{hub} needs the package {package}, which is not installed.", hub=found.title, package=package),
            _("Run: {command}", command=f"pip install 'byzer-magic[{found.extra}]'"),
        )
