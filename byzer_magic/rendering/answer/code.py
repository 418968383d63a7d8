"""Blocks of code in an answer: language, Copy button, syntax colours of the notebook's editor."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.markup import join, tag

LONGEST = 100_000
"""Characters; longer code is not coloured."""
CLASSES = {
    "Keyword": "k", "Name.Builtin": "b", "Name.Function": "f", "Name.Class": "f", "Name.Decorator": "m",
    "Name.Tag": "t", "Name.Attribute": "a", "Literal.String": "s", "Literal.Number": "n", "Comment": "c",
    "Operator.Word": "k", "Operator": "o", "Generic.Inserted": "s", "Generic.Deleted": "e", "Generic.Heading": "k",
}  # fmt: skip
"""Classes (`bz-k`, ...) of pygments' tokens; answer.css gives each the editor's colour."""
COPY = (
    "var c=this.closest('.bz-code').querySelector('code'),s=getSelection();"
    "if(navigator.clipboard)navigator.clipboard.writeText(c.textContent);"
    "else{s.selectAllChildren(c);document.execCommand('copy');s.removeAllRanges()}"
    "this.textContent=this.dataset.done"
)
"""The fallback is for pages without https, which have no navigator.clipboard."""


def block(code: str, language: str) -> Markup:
    """Return a block of code with its language and a Copy button."""
    # hidden, until answer.css shows it: where styles are stripped, scripts are, too
    button = tag(
        "button", _("Copy"), type="button", class_="bz-copy", hidden=True, data_done=_("Copied"), onclick=COPY
    )  # fmt: skip
    head = tag("div", tag("span", language, class_="bz-lang") if language else "", button, class_="bz-code-head")
    return tag("div", head, tag("pre", tag("code", coloured(code, language)), tabindex=0), class_="bz-code") + "\n"


@functools.lru_cache(maxsize=128)
def coloured(code: str, language: str) -> Markup:
    """Return code as HTML with classes."""
    lexer = _lexer(language.lower()) if len(code) <= LONGEST else None
    if lexer is None:
        return escape(code)
    return join(_spans(lexer.get_tokens(code)))


def _spans(tokens: Iterator[tuple[Any, str]]) -> Iterator[Markup]:
    before, waiting = "", ""
    for kind, text in tokens:
        if not text.strip():
            waiting += text
            continue
        now = _class(kind)
        if now != before:
            yield _span(before, waiting)
            before, waiting = now, ""
        waiting += text
    yield _span(before, waiting)


def _span(kind: str, text: str) -> Markup:
    return tag("span", text, class_=f"bz-{kind}") if kind and text else escape(text)


@functools.cache
def _class(kind: Any) -> str:
    while kind.parent is not None:
        name = str(kind).removeprefix("Token.")
        if name in CLASSES:
            return CLASSES[name]
        kind = kind.parent
    return ""


@functools.lru_cache(maxsize=64)
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]  # it has no types
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]  # it has no types

    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False) if language else None
    except ClassNotFound:
        return None
