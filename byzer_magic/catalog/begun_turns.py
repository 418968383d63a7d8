"""How providers are told to continue the model's last message: the rows of begun_turns.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunTurn:
    """One row of begun_turns.toml."""

    hosts: str
    """Shell patterns, separated by spaces."""
    field: str
    source: str
    checked: str
    """When it was looked up, as an ISO date."""


@functools.cache
def load() -> tuple[BegunTurn, ...]:
    """Return the rows."""
    text = resources.files("byzer_magic.catalog").joinpath("begun_turns.toml").read_text(encoding="utf-8")
    return tuple(BegunTurn(**row) for row in tomllib.loads(text)["provider"])


def mark(host: str) -> str:
    """Return the field that marks a message which the model is to continue; empty where none is needed.

    Example:
        >>> mark("api.moonshot.cn"), mark("localhost")
        ('partial', '')
    """
    rows = (row.field for row in load() if any(fnmatchcase(host.lower(), pattern) for pattern in row.hosts.split()))
    return next(rows, "")
