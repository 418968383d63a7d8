"""What other packages bring: the entry points of the group `byzer_magic.backends`, and the names of all engines.

Names only: no backend is imported, so that parser, completion and help can ask.
"""

from __future__ import annotations

import functools
import pkgutil
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
    from importlib import metadata  # importing it takes 140 ms, which most commands need not spend

    return {point.name: point for point in metadata.entry_points(group=GROUP)}


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
        return True  # without a search, which takes 10 ms

    def __contains__(self, name: object) -> bool:
        return name == AUTO or name in builtin_engines() or name in engines()
