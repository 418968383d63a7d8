"""Providers that are a row of compatible.toml: OpenAI's wire at an address of their own.

A new one is a new row; `registry` finds it by its name, and a file `saas/<name>.py` takes precedence.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

from byzer_magic.backends.base import Backend, Info


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of compatible.toml."""

    name: str
    title: str
    env: tuple[str, ...]
    """The provider's own variables that a key may be in."""
    base_url: str | None = None
    """Where it is; None is OpenAI's own address."""
    embed_batch: int | None = None
    """Texts in one request for vectors, where it takes fewer than OpenAI."""
    note: str = ""
    """What a user must know to reach it."""
    source: str
    checked: str


@functools.cache
def load() -> dict[str, Provider]:
    """Return the rows by name, those with several names once for each."""
    text = resources.files("byzer_magic.backends").joinpath("compatible.toml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    named = ((name, row) for first, row in rows.items() for name in (first, *row.pop("also", ())))
    return {name: Provider(name=name, **row | {"env": tuple(row["env"])}) for name, row in named}


@functools.cache
def backend(name: str) -> type[Backend]:
    """Return the class of the row `name`: always the same one."""
    from byzer_magic.backends.openai.backend import OpenAIBackend, info  # listing names needs no wire

    row = load()[name]
    title = f"{row.title} ({row.note})" if row.note else row.title

    class Compatible(OpenAIBackend):
        info: ClassVar[Info]
        EMBED_BATCH: ClassVar[int] = row.embed_batch or OpenAIBackend.EMBED_BATCH

    Compatible.info = info(f"saas/{name}", title, row.base_url, row.env)
    Compatible.__name__ = Compatible.__qualname__ = f"{name.title().replace('_', '')}Backend"
    return Compatible
