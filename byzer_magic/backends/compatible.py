"""Providers that are a row of compatible.toml: the OpenAI API at a base URL of their own.

A new one is a new row; `registry` finds it by its name, and a file `saas/<name>.py` takes precedence.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any, ClassVar

from byzer_magic.backends.base import Backend, Info
from byzer_magic.i18n import lazy_gettext as _


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One row of compatible.toml."""

    name: str
    title: str
    env: tuple[str, ...]
    """The provider's own environment variables for the key."""
    base_url: str | None = None
    """The base URL of the API; None for OpenAI's own."""
    embed_batch: int | None = None
    """Texts in one embeddings request, where the limit is lower than OpenAI's."""
    note: str = ""
    """What a user must know to use it: a lazy text, as `title` is."""
    source: str
    checked: str


@functools.cache
def load() -> dict[str, Provider]:
    """Return the rows by name, those with several names once for each.

    Example:
        >>> load()["groq"].base_url
        'https://api.groq.com/openai/v1'
    """
    text = resources.files("byzer_magic.backends").joinpath("compatible.toml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    named = ((name, row) for first, row in rows.items() for name in (first, *row.pop("also", ())))
    return {name: _provider(name, row) for name, row in named}


def _provider(name: str, row: dict[str, Any]) -> Provider:
    texts = {field: _(row[field]) for field in ("title", "note") if field in row}  # `byzer_magic.i18n` extracts them
    return Provider(name=name, **row | texts | {"env": tuple(row["env"])})


@functools.cache
def backend(name: str) -> type[Backend]:
    """Return the class of the row `name`, always the same one."""
    from byzer_magic.backends.openai.backend import OpenAIBackend, info  # listing names does not need it

    row = load()[name]
    title = _("{title} ({note})", title=row.title, note=row.note) if row.note else row.title

    class Compatible(OpenAIBackend):
        info: ClassVar[Info]
        EMBED_BATCH: ClassVar[int] = row.embed_batch or OpenAIBackend.EMBED_BATCH

    Compatible.info = info(f"saas/{name}", title, row.base_url, row.env)
    Compatible.__name__ = Compatible.__qualname__ = f"{name.title().replace('_', '')}Backend"
    return Compatible
