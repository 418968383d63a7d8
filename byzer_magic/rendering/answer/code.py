"""Blocks of code in an answer: language, Copy button, syntax colours of the notebook's editor."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.answer.budget import Budget
from byzer_magic.rendering.markup import join, tag

LONGEST = 20_000
"""Characters; longer code is not coloured."""
RUNS = re.compile(r"[^\n]{1000}|\s{100}")
"""Code with such lines and gaps is not coloured: in them, one match of some lexers takes up to a minute."""
OPEN_STRING = re.compile(r"\$'(?:[^'\\]|\\.)*+\Z", re.DOTALL)
"""A string of bash that does not end: pygments' expression takes twice the time for each `\\1` in it, in all lexers
that have bash within them."""
CHECKED = frozenset({
    "bash", "c", "clojure", "cmake", "console", "cpp", "csharp", "css", "dart", "diff", "docker", "elixir",
    "go", "haskell", "html", "ini", "ipython", "java", "javascript", "json", "jsx", "julia", "kotlin",
    "less", "lua", "make", "markdown", "matlab", "nasm", "nginx", "objective-c", "ocaml", "php",
    "powershell", "properties", "protobuf", "pycon", "python", "r", "ruby", "rust", "scala", "scss", "sql",
    "swift", "tex", "toml", "tsx", "typescript", "xml", "yaml",
})  # fmt: skip
"""Aliases of pygments' lexers that are used: no match of theirs took long in 20 kB made from their own
expressions. A match cannot be interrupted, and some of other lexers (perl, bat) never end; http chooses any lexer."""
SECONDS = 0.5
"""Processor time for one block; what is not coloured by then stays plain."""
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


def block(code: str, language: str, *, coloured: bool = True) -> Markup:
    """Return a block of code with its language and a Copy button."""
    shown = colours(code, language) if coloured else escape(code)
    # hidden, until answer.css shows it: where styles are stripped, scripts are, too
    button = tag(
        "button", _("Copy"), type="button", class_="bz-copy", hidden=True, data_done=_("Copied"), onclick=COPY
    )  # fmt: skip
    head = tag("div", tag("span", language, class_="bz-lang") if language else "", button, class_="bz-code-head")
    return tag("div", head, tag("pre", tag("code", shown), tabindex=0), class_="bz-code") + "\n"


@functools.lru_cache(maxsize=128)
def colours(code: str, language: str) -> Markup:
    """Return code as HTML with classes."""
    lexer = _lexer(language.lower())
    if lexer is None or CHECKED.isdisjoint(lexer.aliases) or not _is_harmless(code):
        return escape(code)
    try:
        return join(_spans(lexer, code))
    except Exception:  # noqa: BLE001 - lexers of hundreds of authors
        return escape(code)


def _is_harmless(code: str) -> bool:
    """Return whether lexers may look at it: it has nothing that a match takes long for."""
    if len(code) > LONGEST or RUNS.search(code):
        return False
    unended = OPEN_STRING.search(code)
    return unended is None or re.search(r"\\[0-7]", unended[0]) is None


def _spans(lexer: Any, code: str) -> Iterator[Markup]:
    budget, done = Budget(SECONDS), 0
    before, waiting = "", ""
    code = code.removeprefix("\ufeff")  # as pygments does
    for kind, text in lexer.get_tokens(code):
        done += len(text)
        now = _class(kind) if text.strip() else before
        if now != before:
            yield _span(before, waiting)
            before, waiting = now, ""
        waiting += text
        if budget.is_spent():
            yield _span(before, waiting)
            yield escape(code[done:])
            return
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

    options = {"stripnl": False, "ensurenl": False, "handlecodeblocks": False}  # by a lexer that they name
    try:
        return get_lexer_by_name(language, **options) if language else None
    except ClassNotFound:
        return None
