"""The words, styles and scripts of what is drawn, kept as files beside the code."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources


@functools.cache
def read(name: str) -> str:
    """Return a file of `static/`, such as `panel.css`."""
    return resources.files("byzer_magic.widgets").joinpath("static", name).read_text(encoding="utf-8")


@functools.cache
def texts(name: str, *, chinese: bool) -> Mapping[str, str]:
    """Return the words of one screen in one language, by key, from `texts/<name>.toml`."""
    file = resources.files("byzer_magic.widgets").joinpath("texts", f"{name}.toml")
    rows = tomllib.loads(file.read_text(encoding="utf-8"))
    return {key: row["zh" if chinese else "en"] for key, row in rows.items()}
