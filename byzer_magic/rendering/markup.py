"""HTML that escapes by itself: `Markup` is HTML; any other text is escaped when it is put into it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape

from byzer_magic.rendering import assets

VOID = ("br", "img", "input")
"""Elements without content and end tag."""


def tag(name: str, *content: Any, **attributes: Any) -> Markup:
    """Return an element; content and attributes that are not `Markup` are escaped.

    Args:
        name: the element's name, such as `div`.
        content: what is in it, in order.
        attributes: `class_` stands for `class`, `aria_label` for `aria-label`; one that is None or False is left out,
            one that is True has no value.

    Example:
        >>> tag("p", "1 < 2", class_="bz-quiet")
        Markup('<p class="bz-quiet">1 &lt; 2</p>')
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        written.append(f" {attribute}" if value is True else f' {attribute}="{escape(value)}"')
    opening = f"<{name}{''.join(written)}>"
    inner = "".join(escape(part) for part in content)
    return Markup(opening if name in VOID else f"{opening}{inner}</{name}>")  # noqa: S704 - each part is escaped above


def join(parts: Iterable[Any]) -> Markup:
    """Return parts as one piece of HTML; those that are not `Markup` are escaped.

    Example:
        >>> join(["<", Markup("<br>")])
        Markup('&lt;<br>')
    """
    return Markup().join(parts)


def style(*files: str) -> Markup:
    """Return the styles in files of `static/` as an element; empty without any."""
    return tag("style", *(Markup(assets.read(name)) for name in files))  # noqa: S704 - our own files
