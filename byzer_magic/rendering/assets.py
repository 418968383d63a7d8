"""Styles and scripts of rendered output: the files in `widgets/static`."""

from __future__ import annotations

import functools
from importlib import resources


@functools.cache
def read(name: str) -> str:
    """Return a file of `static/`, such as `panel.css`."""
    return resources.files("byzer_magic.widgets").joinpath("static", name).read_text(encoding="utf-8")
