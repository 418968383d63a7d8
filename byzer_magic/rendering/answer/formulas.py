r"""Formulas of an answer: found in Markdown (`$`, `$$`, `\(`, `\[`, environments), shown as MathML."""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

from markupsafe import Markup

from byzer_magic.rendering.markup import join, tag

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

ENVIRONMENTS = (
    "equation|align|aligned|alignat|gather|gathered|multline|split|eqnarray|[dpbvBV]?matrix|d?cases|array|smallmatrix"
)
BEGIN = re.compile(rf"\\begin\{{((?:{ENVIRONMENTS})\*?)\}}")
OTHER_NAMES = {"aligned": "split", "align": "split", "align*": "split", "alignat": "split", "alignat*": "split",
               "eqnarray": "split", "eqnarray*": "split", "multline": "split", "multline*": "split",
               "gather": "matrix", "gather*": "matrix", "gathered": "matrix", "dcases": "cases"}  # fmt: skip
"""Environments that latex2mathml lacks or numbers, by the most similar one that it knows."""
NAMED = re.compile(r"\\(begin|end)\{(\w+\*?)\}")
EQUATION = re.compile(r"\\(begin|end)\{equation\*?\}|\\(label|tag)\{[^}]*\}|\\nonumber|\\notag")
BRACKETS = {"\\(": ("\\)", "math_inline"), "\\[": ("\\]", "math_inline_double")}
LONGEST = 4_000
"""Characters; longer source is shown as it is."""
DEEPEST = 80
"""Elements within each other; browsers take very long for many more."""
TAGS = re.compile(
    "math|mrow|mi|mn|mo|mtext|ms|mspace|msup|msub|msubsup|munder|mover|munderover|mfrac|msqrt|mroot|mtable|mtr|mtd|"
    "mstyle|mpadded|mphantom|menclose|mmultiscripts|mprescripts|none|merror"
)
ATTRIBUTES = re.compile(
    "display|displaystyle|scriptlevel|stretchy|fence|form|separator|accent|accentunder|movablelimits|largeop|symmetric|"
    "lspace|rspace|minsize|maxsize|linethickness|width|height|depth|mathvariant|mathcolor|mathbackground"
)
"""What of latex2mathml's output is passed on; URLs and scripts are in neither list."""


def install(parser: MarkdownIt) -> None:
    """Add formulas to a Markdown parser; they become tokens `math_inline`, `math_inline_double`, `math_block`."""
    from mdit_py_plugins.dollarmath.index import math_inline_dollar

    dollars = math_inline_dollar(allow_space=False, allow_digits=False, allow_double=True)
    parser.inline.ruler.before("escape", "math_inline", dollars)
    parser.inline.ruler.before("escape", "math_brackets", _brackets)
    parser.block.ruler.before("fence", "math_block", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})


def _brackets(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it so
    r"""Parse `\(...\)` and `\[...\]` within a paragraph."""
    opening = state.src[state.pos : state.pos + 2]
    if opening not in BRACKETS:
        return False
    closing, kind = BRACKETS[opening]
    begin = state.pos + 2
    if _last(state.src, closing) <= begin or (end := state.src.find(closing, begin + 1, state.posMax)) < 0:
        return False
    if not silent:
        token = state.push(kind, "math", 0)
        token.content = state.src[begin:end]
        token.markup = state.src[state.pos : end + 2]
    state.pos = end + 2
    return True


@functools.lru_cache(maxsize=4)
def _last(text: str, closing: str) -> int:
    """Return where it is for the last time: most openings without an end come behind it."""
    return text.rfind(closing)


def _opening(line: str) -> tuple[str, str] | None:
    """Return what closes the formula that a line opens, and what of the formula the line has; None: it opens none."""
    if line.startswith("$$") and not line.startswith("$$$"):
        return "$$", line[2:]
    if line.startswith("\\["):
        return "\\]", line[2:]
    if found := BEGIN.match(line):
        return f"\\end{{{found[1]}}}", line
    return None


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it so
    """Parse a formula on separate lines.

    Like a fence, one that a bare `$$` opens and nothing closes goes to the end: so what an earlier line means never
    depends on a later one, and an answer can be rendered while it arrives.
    """
    line = _line(state, start)
    opening = _opening(line) if state.sCount[start] - state.blkIndent < 4 else None
    if opening is None:
        return False
    closing, first = opening
    bare = not first.strip() or first is line
    at = first.find(closing)
    if at >= 0:
        return not _after(first, at, closing) and (silent or _push(state, start, start + 1, first, closing))
    if silent:
        return bare
    last = start + 1
    while last < end and (bare or not state.isEmpty(last)):
        if state.sCount[last] < state.blkIndent and not state.isEmpty(last):
            break
        text = _line(state, last)
        if (at := text.find(closing)) >= 0 and not _after(text, at, closing):
            return _push(state, start, last + 1, _body(state, first, start, last + 1), closing)
        last += 1
    if bare:
        return _push(state, start, last, _body(state, first, start, last), "")
    return _paragraph(state, start, last)


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()


def _after(text: str, at: int, closing: str) -> str:
    """Return what follows a formula's end; a full stop or comma belongs to it."""
    return text[at + len(closing) :].strip(" \t.,;:。，；")


def _body(state: StateBlock, first: str, start: int, end: int) -> str:
    rest = state.getLines(start + 1, end, state.blkIndent, False)  # noqa: FBT003 - markdown-it's signature
    return f"{first}\n{rest}"


def _push(state: StateBlock, start: int, end: int, body: str, closing: str) -> bool:
    token = state.push("math_block", "math", 0)
    head, found, tail = body.rpartition(closing) if closing else (body, "", "")
    keep = closing if closing.startswith("\\end") else ""
    token.content = f"{head}{keep if found else ''}{tail.strip()}"
    token.map = [start, end]
    token.info = "" if closing else "unfinished"
    state.line = end
    return True


def _paragraph(state: StateBlock, start: int, end: int) -> bool:
    """Parse lines as a paragraph after all."""
    opened = state.push("paragraph_open", "p", 1)
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, end, state.blkIndent, False).strip()  # noqa: FBT003 - as above
    inline.children = []
    opened.map = inline.map = [start, end]
    state.push("paragraph_close", "p", -1)
    state.line = end
    return True


@functools.lru_cache(maxsize=512)
def mathml(source: str, *, display: bool) -> str:
    """Return a formula as safe MathML, and as its source in <code> where that cannot be."""
    source = source.strip()
    tree = _tree(source, display=display)
    if tree is None:
        return as_source(source, display=display)
    return str(tag("div" if display else "span", _xml(tree), class_="bz-math", title=source))


def as_source(source: str, *, display: bool) -> str:
    """Return a formula as it was written."""
    return str(tag("pre" if display else "span", tag("code", source.strip()), class_="bz-tex"))


def _tree(source: str, *, display: bool) -> Element | None:
    from latex2mathml.converter import Converter

    if not source or len(source) > LONGEST:
        return None
    plain = EQUATION.sub("", source)
    plain = NAMED.sub(lambda found: f"\\{found[1]}{{{OTHER_NAMES.get(found[2], found[2])}}}", plain)
    try:
        tree = Converter(display="block" if display else "inline").convert_to_element(plain)
    except Exception:  # noqa: BLE001 - a library that raises anything at wrong input, and models write wrong input
        return None
    unknown = any((node.text or "").startswith("\\") or node.text == "&" for node in tree.iter() if node.tag == "mi")
    return None if unknown or _is_deep(tree) else tree


def _is_deep(tree: Element) -> bool:
    """Return whether elements are nested too deep; without recursion, which may be too deep itself."""
    level, depth = [tree], 0
    while level and depth <= DEEPEST:
        level, depth = [child for node in level for child in node], depth + 1
    return bool(level)


def _xml(node: Element) -> Markup:
    """Return an element as HTML, escaped again: latex2mathml's own output is not."""
    if not TAGS.fullmatch(node.tag):
        return join(map(_xml, node))
    attributes = {name: value for name, value in node.attrib.items() if ATTRIBUTES.fullmatch(name)}
    return tag(node.tag, html.unescape(node.text or ""), *map(_xml, node), style=_style(node), **attributes)


def _style(node: Element) -> str | None:
    """Return as CSS what browsers' MathML lacks."""
    align = node.get("columnalign")
    if node.tag == "mtd" and align in ("left", "right", "center"):
        return f"text-align:{align}"
    if node.tag == "menclose" and node.get("notation") == "box":
        return "border:1px solid;padding:2px 4px"
    return None


def shown(tokens: Sequence[Any], index: int, _: Any, env: dict[str, Any]) -> str:
    """Return a token's formula; a markdown-it render rule."""
    token = tokens[index]
    if token.info == "unfinished":
        return as_source(token.content, display=True) + "\n"
    display = token.type != "math_inline"
    if env["painting"].details.is_spent():
        return as_source(token.content, display=display)
    return mathml(token.content, display=display)
