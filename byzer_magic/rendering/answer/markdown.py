"""Markdown of an answer: HTML block by block while it streams, the formats of `--format`, and safe Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from byzer_magic.rendering.answer.dialect import parser
from byzer_magic.rendering.markup import join, tag

if TYPE_CHECKING:
    from markdown_it.token import Token

UNSETTLED = 2
"""Blocks at the end that may still change: the last line may yet turn out to belong to the one before the last."""
OPENING = re.compile(r"(`{3,})[^`]*$|(~{3,})")
"""A fence at the very start of a line: there it is one in any context."""
DOUBTFUL = re.compile(r"[\s>*+\-\d.)]*(```|~~~)")
"""A fence that may or may not be one, e.g. indented or in a list."""
SPAN = re.compile(r"(?P<code>(`+)(?!`).+?(?<!`)\2(?!`))|(?P<math>\$\$.+?\$\$|\$[^$\n]+\$)", re.DOTALL)
TAG = re.compile(r"<(?=[A-Za-z/!?])")
GAP = "<\u200b"
"""A `<` that does not begin a tag: for code, where an entity would be shown literally."""
FENCED = re.compile(r"^(```+|~~~+)[^\n]*\n(.*?)(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def render(text: str) -> Markup:
    """Return Markdown as HTML; nothing in it becomes a tag that Markdown does not make itself."""
    return join(Stream().blocks(text))


class Stream:
    """Renders a growing text; settled blocks are rendered once.

    The blocks are always those that `render` would give of the same text.
    """

    def __init__(self) -> None:
        self._text = ""
        self._settled: list[Markup] = []
        self._from = 0
        """Where the unsettled text begins."""
        self._references: dict[str, Any] = {}
        """Link definitions in the text, as of the last rendering."""
        self._kept: dict[str, Any] = {}
        """Those of them that are defined in the settled part."""

    def blocks(self, text: str) -> list[Markup]:
        """Return the HTML of each top-level block."""
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
        if not text.startswith(self._text):
            self._begin()
        self._text = text
        tail, env = self._parsed()
        if self._from and _named(env) != _named({"references": self._references}):
            self._begin()  # a name that settled blocks may use has another URL now
            tail, env = self._parsed()
        self._references = env.get("references", {})
        shown = [self._html(tokens, env) for _, tokens in tail]
        settled = shown[: max(0, len(shown) - UNSETTLED)]
        if settled:
            self._settle(tail[len(settled)][0], settled)
        return [*self._settled, *shown[len(settled) :]]

    def _begin(self) -> None:
        self._settled, self._from, self._kept = [], 0, {}

    def _parsed(self) -> tuple[list[tuple[int, list[Token]]], dict[str, Any]]:
        """Return the tokens of each unsettled block with the line where it begins, and the link definitions."""
        env: dict[str, Any] = {"references": dict(self._kept)}
        return list(_top_level(parser().parse(self._text[self._from :], env))), env

    @staticmethod
    def _html(tokens: list[Token], env: dict[str, Any]) -> Markup:
        known = parser()
        return Markup(known.renderer.render(tokens, known.options, env))  # noqa: S704 - the renderer escapes

    def _settle(self, line: int, shown: list[Markup]) -> None:
        """Settle the blocks before a line of the unsettled text."""
        for name, reference in self._references.items():
            if name not in self._kept and reference["map"][0] < line:
                self._kept[name] = {**reference, "map": [-1, -1]}
        self._settled += shown
        for _ in range(line):
            self._from = self._text.index("\n", self._from) + 1


def _named(env: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {name: (found["href"], found["title"]) for name, found in env.get("references", {}).items()}


def _top_level(tokens: Sequence[Token]) -> Iterator[tuple[int, list[Token]]]:
    group: list[Token] = []
    for token in tokens:
        group.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield (group[0].map or [0])[0], group
            group = []


def safe(text: str) -> str:
    r"""Return Markdown whose raw HTML shows as text; `\(...\)` and `\[...\]` become math that notebooks know.

    A notebook trusts what its own kernel printed, so a `<script>` in an answer would run. Only what certainly is a
    fenced block is left alone; everywhere else no `<` begins a tag, for any Markdown reader.
    """
    shown: list[str] = []
    prose: list[str] = []
    fence = ""
    doubt = False
    for line in text.split("\n"):
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
            prose.append(TAG.sub(GAP, line) if doubt else line)
    shown += [_prose("\n".join(prose))] if prose else []
    return "\n".join(shown)


def _closes(line: str, fence: str) -> bool:
    bare = line.strip()
    indent = len(line) - len(line.lstrip(" "))
    return indent <= 3 and len(bare) >= len(fence) and set(bare) == {fence[0]}


def _prose(text: str) -> str:
    text = re.sub(r"\\\((.+?)\\\)", r"$\1$", text)
    text = re.sub(r"\\\[(.+?)\\\]", r"$$\1$$", text, flags=re.DOTALL)
    pieces = []
    end = 0
    for match in SPAN.finditer(text):
        instead = GAP if match["code"] else "< "  # in math a space after < changes nothing
        pieces += [TAG.sub("&lt;", text[end : match.start()]), TAG.sub(instead, match[0])]
        end = match.end()
    return "".join([*pieces, TAG.sub("&lt;", text[end:])])


def folded(title: str, text: str) -> Markup:
    """Return text folded away until it is clicked; plain text, so that no fence in it stays open."""
    entities: dict[str, str | int | None] = {"`": "&#96;", "~": "&#126;", "$": "&#36;", "\n": "<br>"}
    body = str(escape(text)).translate(str.maketrans(entities))
    return tag("details", tag("summary", title), tag("p", Markup(body)))  # noqa: S704 - escaped above


def formatted(text: str, style: str) -> str:
    """Return an answer as Markdown in one of `--format`'s styles: markdown, text, json, code."""
    if style == "text":
        return fence(text, "text")
    if style == "json":
        return fence(pretty_json(text), "json")
    if style == "code":
        return fence(code_in(text), "python")
    return safe(text)


def fence(text: str, language: str) -> str:
    """Return text as a fenced block that nothing in it can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def pretty_json(text: str) -> str:
    """Return the JSON in `text` (bare or fenced) indented; what is not JSON stays as it is."""
    try:
        return json.dumps(json.loads(code_in(text)), indent=2, ensure_ascii=False)
    except ValueError:
        return text


def code_in(text: str) -> str:
    """Return the fenced blocks of `text`, joined; all of it when there is none."""
    blocks = [match[2].rstrip("\n") for match in FENCED.finditer(text)]
    return "\n\n".join(blocks) if blocks else text
