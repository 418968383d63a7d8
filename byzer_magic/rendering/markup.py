"""HTML with automatic escaping: `Markup` is HTML; any other text is escaped when it is put into it."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable
from typing import Any

from markupsafe import Markup

from byzer_magic.rendering import assets
from byzer_magic.safety import urls

VOID = ("br", "img", "input")
"""Elements without content and end tag."""


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """Return an element; content and attributes that are not `Markup` are escaped.

    Args:
        name: the element's name, such as `div`.
        content: what is in it, in order.
        attributes: `class_` becomes `class`, `aria_label` becomes `aria-label`; one that is None or False is left out,
            one that is True has no value. A URL that could run something is left out, see `byzer_magic.safety.urls`.

    Example:
        >>> tag("p", "1 < 2", class_="bz-quiet")
        Markup('<p class="bz-quiet">1 &lt; 2</p>')
    """
    opening = f"<{name}"
    for key, value in attributes.items():
        if value is True:
            opening += f" {_attribute(key)}"
        elif value is not None and value is not False and _is_safe(key, value):
            opening += f' {_attribute(key)}="{_escaped(value)}"'
    if name in VOID:
        return Markup(f"{opening}>")  # noqa: S704 - each value is escaped above
    return Markup(f"{opening}>{''.join(map(_escaped, content))}</{name}>")  # noqa: S704 - each part is escaped above


_URLS = {"href": urls.may_refer, "src": urls.may_show}
"""Attributes that have a URL, and what decides whether a page may have it."""


def _is_safe(key: str, value: Any) -> bool:
    return key not in _URLS or _URLS[key](html.unescape(value) if isinstance(value, Markup) else str(value))


@functools.cache
def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _escaped(value: Any) -> str:
    """Return what `markupsafe.escape` does, without an object for each part: a panel has thousands."""
    return value if isinstance(value, Markup) else html.escape(str(value))


def join(parts: Iterable[Any]) -> Markup:
    """Return parts as one piece of HTML; those that are not `Markup` are escaped.

    Example:
        >>> join(["<", Markup("<br>")])
        Markup('&lt;<br>')
    """
    return Markup("".join(map(_escaped, parts)))  # noqa: S704 - each part is escaped above


def style(*files: str) -> Markup:
    """Return the styles in files of `static/` as an element; empty without any."""
    return tag("style", *(Markup(assets.read(name)) for name in files))  # noqa: S704 - our own files
