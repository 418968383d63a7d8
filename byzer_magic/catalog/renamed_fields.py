"""Fields of requests that a provider takes by another name: the rows of renamed_fields.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class RenamedField:
    """One row of renamed_fields.toml."""

    hosts: str
    """Shell patterns, separated by spaces."""
    models: str
    """Shell patterns, separated by spaces, for names in lower case; what precedes a last slash is ignored."""
    name: str
    successor: str
    source: str
    checked: str
    """When it was looked up, as an ISO date."""

    def matches(self, host: str, model: str) -> bool:
        """Return whether the row is about this model at this host (without its port)."""
        short = model.lower().rpartition("/")[2]
        return any(fnmatchcase(host.lower(), pattern) for pattern in self.hosts.split()) and any(
            fnmatchcase(short, pattern) for pattern in self.models.split()
        )


@functools.cache
def load() -> tuple[RenamedField, ...]:
    """Return the rows."""
    text = resources.files("byzer_magic.catalog").joinpath("renamed_fields.toml").read_text(encoding="utf-8")
    return tuple(RenamedField(**row) for row in tomllib.loads(text)["field"])


def successors(host: str, model: str) -> dict[str, str]:
    """Return the names by which a model takes fields, by the fields' usual names.

    Example:
        >>> successors("api.openai.com", "o3-mini"), successors("localhost", "o3-mini")
        ({'max_tokens': 'max_completion_tokens'}, {})
    """
    return {row.name: row.successor for row in load() if row.matches(host, model)}
