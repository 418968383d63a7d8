"""Removing a model of a hub from this machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from byzer_magic.errors import FetchError, NotFetched
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.hubs import cache, choice
from byzer_magic.local_models.hubs.choice import Wish
from byzer_magic.local_models.hubs.hub import HUBS
from byzer_magic.local_models.hubs.reference import Reference, is_in_hub, parse


def named(text: str, environ: Mapping[str, str]) -> Reference:
    """Return the model on this machine that a text names: as `pull` has it, or `OWNER/REPO` as `models` shows it.

    Raises:
        NotFetched: nothing of it is on this machine.
        BadParameter: it is written like a model in a hub, but not correctly.
    """
    choices = [parse(text)] if is_in_hub(text) else [parse(f"{hub}:{text}") for hub in HUBS if "/" in text]
    for reference in choices:
        if any(folder.is_dir() for folder in _folders(reference, environ)):
            return reference
    raise NotFetched(
        _("{name} is not in the caches of the hubs.", name=text),
        _("%byzer models lists the models on this machine; remove files outside these caches yourself."),
        model=text,
    )


def remove(reference: Reference, environ: Mapping[str, str]) -> int:
    """Remove a repository from its hub's cache, what is fetched only in part too; return the bytes that are freed.

    Where the reference names a file or a quantization, only that is removed.

    Raises:
        FetchError: the repository has no such part here, or it cannot be removed.
    """
    try:
        if reference.part:
            return _remove_part(reference, environ)
        freed = 0
        for folder in _folders(reference, environ):
            if folder.is_dir():
                freed += sum(path.stat().st_size for path in folder.rglob("*") if _is_own(path))
                shutil.rmtree(folder)
    except OSError as err:
        raise FetchError(
            _("{path} cannot be removed: {reason}.", path=err.filename, reason=err.strerror),
            _("Check its permissions."),
        ) from err
    return freed


def _is_own(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _folders(reference: Reference, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders of a repository in its hub's cache."""
    top = cache.repository(reference, environ)
    yield top
    if reference.hub == "ms":
        yield from cache.older(reference, environ)
    else:
        yield top.parent / ".locks" / top.name


def _remove_part(reference: Reference, environ: Mapping[str, str]) -> int:
    top = cache.repository(reference, environ)
    older = cache.older(reference, environ) if reference.hub == "ms" else ()
    found: set[Path] = set()
    for folder in (*sorted((top / "snapshots").glob("*")), *older):
        with contextlib.suppress(FetchError, OSError):
            chosen = choice.choose(reference, list(cache.files_in(folder)), Wish())
            found |= {folder / file.path for file in chosen.files}
    if not found:
        raise NotFetched(
            _("{model} is not on this machine.", model=reference), _("%byzer models lists the models on this machine."),
            model=str(reference),
        )  # fmt: skip
    sizes = {path.resolve(): path.stat().st_size for path in found}
    for path in found:
        path.unlink()
    linked = {path.resolve() for path in (top / "snapshots").rglob("*") if path.is_symlink()}
    for blob in sizes.keys() & linked:  # of another revision, too
        del sizes[blob]
    for blob in sizes:
        blob.unlink(missing_ok=True)  # in a cache without links, it was the file
    return sum(sizes.values())
