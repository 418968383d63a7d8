"""Answers as Markdown for other readers: nothing in it becomes a tag, runs a script, or loads a picture.

A notebook trusts what its own kernel printed, and readers of Markdown disagree on many details. So nothing here depends
on how one of them reads a text: wherever one might see a tag or a link, it finds none. All of it takes time in
proportion to the text.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator

from markupsafe import Markup, escape

from byzer_magic.rendering.markup import tag
from byzer_magic.safety.texts import visible

OPENING = re.compile(r"(`{3,})[^`]*$|(~{3,})")
"""A fence at the very start of a line: there it is one in any context."""
DOUBTFUL = re.compile(r"[\s>*+\-\d.)]*(```|~~~)")
"""A fence that may or may not be one, e.g. indented or in a list."""
TAG = re.compile(r"<(?=[A-Za-z/!?])")
GAP = "\u200b"
"""A character that nobody sees: behind a `<` of code, where an entity would be shown literally, and in links."""
LINK = re.compile(
    r"\](?=[(:][\s<>]*+(?!https?://|mailto:|data:image/(?:png|jpeg|gif|webp);base64,|"
    r"[^\s:&\\<>()\x00-\x20]{0,100}(?:[/?#)> \n]|\Z)))",
    re.IGNORECASE,
)
r"""The bracket in front of a link that is neither of these nor a file: `javascript:`, also as `&#106;avascript\:`."""
IMAGE = re.compile(r"!(?=\[(?![^\[\]\n]{0,300}\]\(data:image/(?:png|jpeg|gif|webp);base64,))")
"""An image that is not embedded: loading it would reveal the reader to its server. With a gap it is a link."""
TICKS = re.compile("`+")
MARK = re.compile("[`$]")
MATH = re.compile(r"\$[^$\n]+\$")


def safe(text: str) -> str:
    r"""Return Markdown whose raw HTML shows as text; `\(...\)` and `\[...\]` become math that notebooks know.

    Only what certainly is a fenced block is left alone.

    Example:
        >>> safe("<b>bold</b>, [a](javascript:x)") == "&lt;b>bold&lt;/b>, [a]\u200b(javascript:x)"
        True
    """
    shown: list[str] = []
    prose: list[str] = []
    fence = ""
    doubt = False
    for line in visible(text).split("\n"):
        if fence and not doubt:
            shown.append(line)
            if _closes(line, fence):
                fence = ""
        elif (opening := OPENING.match(line)) and not doubt:
            shown += [_prose("\n".join(prose))] if prose else []
            prose = []
            fence = opening[1] or opening[2]
            shown.append(line)
        else:
            doubt = doubt or DOUBTFUL.match(line) is not None
            prose.append(TAG.sub(f"<{GAP}", line) if doubt else line)
    shown += [_prose("\n".join(prose))] if prose else []
    return "\n".join(shown)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    indent = len(line) - len(line.lstrip(" "))
    return indent <= 3 and len(bare) >= len(fence) and set(bare) == {fence[0]}


def _prose(text: str) -> str:
    text = "\n".join(_between(line, r"\(", r"\)", "$") for line in text.split("\n"))
    text = _between(text, r"\[", r"\]", "$$")
    pieces = []
    end = 0
    for begin, until in _spans(text):
        instead = f"<{GAP}" if text[begin] == "`" else "< "  # in math a space after < changes nothing
        pieces += [TAG.sub("&lt;", text[end:begin]), TAG.sub(instead, text[begin:until])]
        end = until
    text = "".join([*pieces, TAG.sub("&lt;", text[end:])])
    return IMAGE.sub(f"!{GAP}", LINK.sub(f"]{GAP}", text))


def _between(text: str, opening: str, closing: str, instead: str) -> str:
    """Return a text with `instead` around what is between two marks, in place of them."""
    pieces = []
    end = 0
    while (begin := text.find(opening, end)) >= 0 and (until := text.find(closing, begin + 3)) >= 0:
        pieces += [text[end:begin], instead, text[begin + 2 : until], instead]
        end = until + 2
    return "".join([*pieces, text[end:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield where code spans and formulas begin and end."""
    runs: dict[int, list[int]] = {}
    for found in TICKS.finditer(text):
        runs.setdefault(len(found[0]), []).append(found.start())
    last = text.rfind("$$")
    at = 0
    while mark := MARK.search(text, at):
        begin, end = mark.start(), 0
        if mark[0] == "`":
            size = TICKS.match(text, begin).end() - begin  # type: ignore[union-attr]  # one is there
            others = runs[size]
            later = bisect.bisect_right(others, begin)
            at = begin + size
            end = others[later] + size if later < len(others) else 0
        else:
            at = begin + 1
            if text.startswith("$$", begin) and last > begin + 2:
                end = text.find("$$", begin + 3) + 2
            elif inline := MATH.match(text, begin):
                end = inline.end()
        if end > begin + 2:
            yield begin, end
            at = end


def folded(title: str, text: str) -> Markup:
    """Return text folded away until it is clicked; plain text, so that no fence in it stays open."""
    entities: dict[str, str | int | None] = {"`": "&#96;", "~": "&#126;", "$": "&#36;", "\n": "<br>"}
    body = str(escape(visible(text))).translate(str.maketrans(entities))
    return tag("details", tag("summary", title), tag("p", Markup(body)))  # noqa: S704 - escaped above


def fence(text: str, language: str) -> str:
    """Return text as a fenced block that nothing in it can close."""
    text = visible(text)
    longest = max((len(run) for run in TICKS.findall(text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"
