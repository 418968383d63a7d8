"""Code of a model's answer: its language, a Copy button, and colours of the notebook's editor."""

from __future__ import annotations

import functools
import html
from collections.abc import Iterator
from typing import Any

from byzer_magic.i18n import gettext as _

LONGEST = 100_000
"""Longer code has no colours."""
CLASSES = {
    "Keyword": "k", "Name.Builtin": "b", "Name.Function": "f", "Name.Class": "f", "Name.Decorator": "m",
    "Name.Tag": "t", "Name.Attribute": "a", "Literal.String": "s", "Literal.Number": "n", "Comment": "c",
    "Operator.Word": "k", "Operator": "o", "Generic.Inserted": "s", "Generic.Deleted": "e", "Generic.Heading": "k",
}  # fmt: skip
"""Kinds of tokens by their class `bz-?`; answer.css gives each the editor's colour."""
COPY = (
    "var c=this.closest('.bz-code').querySelector('code'),s=getSelection();"
    "if(navigator.clipboard)navigator.clipboard.writeText(c.textContent);"
    "else{s.selectAllChildren(c);document.execCommand('copy');s.removeAllRanges()}"
    "this.textContent=this.dataset.done"
)
"""A page that did not come over https has no navigator.clipboard."""


def block(code: str, language: str) -> str:
    """Return a block of code."""
    copy, done = html.escape(_("Copy")), html.escape(_("Copied"))
    name = html.escape(language)
    label = f'<span class="bz-lang">{name}</span>' if name else ""
    # hidden, until answer.css shows it: where styles are stripped, scripts are, too
    button = f'<button type="button" class="bz-copy" hidden data-done="{done}" onclick="{COPY}">{copy}</button>'
    return (
        f'<div class="bz-code"><div class="bz-code-head">{label}{button}</div>'
        f'<pre tabindex="0"><code>{coloured(code, language)}</code></pre></div>\n'
    )


@functools.lru_cache(maxsize=128)
def coloured(code: str, language: str) -> str:
    """Return code as HTML with classes."""
    lexer = _lexer(language.lower()) if len(code) <= LONGEST else None
    if lexer is None:
        return html.escape(code, quote=False)
    return "".join(_spans(lexer.get_tokens(code)))


def _spans(tokens: Iterator[tuple[Any, str]]) -> Iterator[str]:
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


def _span(kind: str, text: str) -> str:
    escaped = html.escape(text, quote=False)
    return f'<span class="bz-{kind}">{escaped}</span>' if kind and text else escaped


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
