"""What other packages bring: the entry points of the group `byzer_magic.backends`, and the names of all engines.

Names only: no backend is imported, so that parser, completion and help can ask.
"""

from __future__ import annotations

import functools
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "byzer_magic.backends"
ENGINE = "engine/"
"""Starts the names of entry points that are engines of `custom/auto`: `engine/acme` is `--infer_backend acme`."""
AUTO = "auto"
_ENGINES = Path(__file__).parent / "backends" / "local"


def entry_points() -> dict[str, EntryPoint]:
    """Return the entry points by name; none is loaded."""
    return dict(_entry_points(tuple((folder, _state(folder)) for folder in sys.path)))


@functools.lru_cache(maxsize=2)
def _entry_points(_folders: tuple[tuple[str, object], ...]) -> dict[str, EntryPoint]:
    """Search all packages (10 ms), again once something has been installed into one of the folders, or removed."""
    from importlib import metadata  # importing it takes 140 ms, which most commands need not spend

    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def _state(folder: str) -> object:
    """Return what changes when a folder of `sys.path` gets or loses an entry; "" is the current folder."""
    try:
        found = Path(folder).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


@functools.cache
def builtin_engines() -> tuple[str, ...]:
    """Return the engines of this package: the folders of backends/local.

    Example:
        >>> "llama_cpp" in builtin_engines()
        True
    """
    return tuple(sorted(item.name for item in pkgutil.iter_modules([str(_ENGINES)])))


def engines() -> tuple[str, ...]:
    """Return all engines of `custom/auto`, those of other packages last; a built-in one wins over its namesake."""
    named = (name.removeprefix(ENGINE) for name in sorted(entry_points()) if name.startswith(ENGINE))
    return tuple(dict.fromkeys((*builtin_engines(), *named)))


class EngineChoices(Sequence[str]):
    """The values of `--infer_backend`, looked up whenever they are read: packages may be installed meanwhile."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...
    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return (AUTO, *engines())[index]

    def __iter__(self) -> Iterator[str]:
        return iter((AUTO, *engines()))  # a Sequence's own asks for one item after the other, each with a search

    def __len__(self) -> int:
        return 1 + len(engines())

    def __bool__(self) -> bool:
        return True  # without a search

    def __contains__(self, name: object) -> bool:
        return name == AUTO or name in builtin_engines() or name in engines()
