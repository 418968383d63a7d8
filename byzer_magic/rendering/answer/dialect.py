"""The Markdown dialect of models' answers, and the HTML that it becomes.

Render rules return plain text: markdown-it adds it up, and adding `Markup` would escape what is there already.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.answer import budget, code, formulas
from byzer_magic.rendering.markup import tag
from byzer_magic.safety import urls

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

EMBEDDED_IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+\Z")
"""Images embedded in an answer: these are shown. Loading others would reveal the reader to their server."""
BARE = re.compile(
    r"https?://[^\s<>\"'`|\\\u3000-\u303f\uff00-\uffef]+[^\s<>\"'`|\\.,;:!?)\]}*_~\u3000-\u303f\uff00-\uffef]"
)
"""A URL in running text. We looked at linkify-it-py; no, because it takes Chinese punctuation, and the text behind it,
for a part of the URL: all of `https://e.org/a，然后` would be one link."""
LONGEST_NAME = 100
"""Characters of a code block's language that are shown."""
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
"""Models write it, as a table's cell has no other way to a new line; it becomes a line break."""


@functools.cache
def parser() -> MarkdownIt:
    """Return the one Markdown parser."""
    from markdown_it import MarkdownIt

    made = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    made.validateLink = lambda url: _is_link(url) or bool(EMBEDDED_IMAGE.match(url))  # type: ignore[method-assign]  # its own way of configuring
    formulas.install(made)
    made.inline.ruler.before("escape", "break", _break)
    made.core.ruler.push("bare_links", _bare_links)
    budget.install(made)
    rules: dict[str, Any] = {
        "fence": _fence, "code_block": _code, "image": _image, "link_open": _link_open, "table_open": _table_open,
        "table_close": _table_close, "math_inline": formulas.shown, "math_inline_double": formulas.shown,
        "math_block": formulas.shown, "source": _source,
    }  # fmt: skip
    made.renderer.rules.update(rules)  # type: ignore[attr-defined]  # of the HTML renderer, which it is
    return made


def _is_link(url: str) -> bool:
    """Return whether a URL becomes a link; a file beside the notebook does not: its name may be any text."""
    return bool(urls.web(url)) or (url[:7].lower() == "mailto:" and len(url) > len("mailto:"))


def _break(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it so
    found = BREAK.match(state.src, state.pos) if state.src[state.pos] == "<" else None
    if found is None:
        return False
    if not silent:
        state.push("hardbreak", "br", 0)
    state.pos = found.end()
    return True


def _bare_links(state: StateCore) -> None:
    """Turn URLs in running text into links."""
    for token in state.tokens:
        if token.type == "inline" and "://" in token.content:
            token.children = list(_linked(token.children or []))


def _linked(tokens: Sequence[Token]) -> Iterator[Token]:
    from markdown_it.token import Token

    inside = 0
    for token in tokens:
        inside += (token.type == "link_open") - (token.type == "link_close")
        if token.type != "text" or inside or "://" not in token.content:
            yield token
            continue
        end = 0
        for found in BARE.finditer(token.content):
            yield Token("text", "", 0, content=token.content[end : found.start()])
            yield Token("link_open", "a", 1, attrs={"href": parser().normalizeLink(found[0])})
            yield Token("text", "", 0, content=found[0])
            yield Token("link_close", "a", -1)
            end = found.end()
        yield Token("text", "", 0, content=token.content[end:])


def source(text: str) -> Markup:
    """Return the rest of an answer as its source, where rendering it would take too long."""
    note = _("The rest is shown as its source: rendering it would take too long.")
    return tag("p", tag("em", note)) + tag("pre", tag("code", text), class_="bz-tex") + "\n"


def _source(tokens: Sequence[Token], index: int, *_: Any) -> str:
    return str(source(tokens[index].content))


def _fence(tokens: Sequence[Token], index: int, _: Any, env: dict[str, Any]) -> str:
    token = tokens[index]
    language = (token.info.split(maxsplit=1) or [""])[0][:LONGEST_NAME].strip("{}.")
    return str(code.block(token.content, language, coloured=not env["painting"].details.is_spent()))


def _code(tokens: Sequence[Token], index: int, *_: Any) -> str:
    return str(code.block(tokens[index].content, ""))


def _link_open(tokens: Sequence[Token], index: int, _: Any, env: dict[str, Any]) -> str:
    url, title = (str(tokens[index].attrs.get(name, "")) for name in ("href", "title"))
    if not env["painting"].may_link(url + title):
        return "<a>"
    link = tag("a", href=url, title=title or None, target="_blank", rel="noopener noreferrer")
    return str(link).removesuffix("</a>")


def _image(tokens: Sequence[Token], index: int, _options: Any, env: dict[str, Any]) -> str:
    """Show an image that is embedded in the answer; one that is elsewhere becomes a link."""
    token = tokens[index]
    known = parser()
    about = known.renderer.renderInlineAsText(token.children, known.options, env)  # type: ignore[attr-defined]  # as above
    source = str(token.attrs.get("src", ""))
    if not env["painting"].may_link(source):
        return str(escape(about))
    if EMBEDDED_IMAGE.match(source):
        return str(tag("img", src=source, alt=about))
    host = urls.split(source).hostname or source
    label = _("{label}: {text}", label=_("image"), text=about) if about else _("image")
    name = _("{text} ({notes})", text=label, notes=host)
    return str(tag("a", name, href=source, target="_blank", rel="noopener noreferrer"))


def _table_open(*_: Any) -> str:
    return '<div class="bz-scroll" tabindex="0"><table>\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"
