"""What is known of models by their names: what they can do, and which are retired. The rows of models.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from typing import Any

from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One row of models.toml."""

    match: str
    """Shell patterns for names in lower case, with spaces; the part of a name before its last slash does not count."""
    capabilities: frozenset[Capability]
    note: str = ""
    """A retirement or a risk, with the successor."""
    source: str = ""
    checked: str = ""

    def fits(self, name: str) -> bool:
        """Return whether the row is about this model."""
        short = name.lower().rpartition("/")[2]
        return any(fnmatchcase(short, pattern) for pattern in self.match.split())


@functools.cache
def load() -> tuple[Facts, ...]:
    """Return the rows in the order of the file: the first that fits counts."""
    text = resources.files("byzer_magic.catalog").joinpath("model_facts.toml").read_text(encoding="utf-8")
    return tuple(_facts(row) for row in tomllib.loads(text)["model"])


def _facts(row: dict[str, Any]) -> Facts:
    return Facts(**row | {"capabilities": frozenset(map(Capability, row["capabilities"]))})


def facts(name: str) -> Facts:
    """Return what is known of a model; of an unknown one, that it chats (the last row fits all names)."""
    return next(row for row in load() if row.fits(name))


def capabilities(name: str, stated: str | None = None) -> frozenset[Capability]:
    """Return what a model can do: as `stated` (names with commas), else by its name.

    Raises:
        BadParameter: a stated capability does not exist.
    """
    if not stated:
        return facts(name).capabilities
    words = [word.strip() for word in stated.split(",") if word.strip()]
    unknown = [word for word in words if word not in list(Capability)]
    if unknown:
        raise BadParameter(
            f"saas.capabilities has {unknown[0]!r}, which is no capability.",
            f"Choose from: {', '.join(Capability)}.",
        )
    return frozenset(map(Capability, words))
