"""Markdown of an answer: HTML block by block while it streams, and the formats of `--format`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from byzer_magic.log import get_logger
from byzer_magic.rendering.answer import safe
from byzer_magic.rendering.answer.budget import Painting
from byzer_magic.rendering.answer.dialect import parser, source
from byzer_magic.rendering.markup import join
from byzer_magic.safety.texts import visible

if TYPE_CHECKING:
    from markdown_it.token import Token

LOG = get_logger("rendering")
UNSETTLED = 2
"""Blocks at the end that may still change: the last line may yet turn out to belong to the one before the last."""
LARGEST_HTML = 8 * 1024 * 1024
"""Characters; what would make more is shown as its source: a browser is slow to show more."""
MOST_LARGER = 10
"""How many times as long as it was JSON may become with its indentation: deep lists become very long."""
FENCED = re.compile(r"^(`{3,}+|~{3,}+)[^\n]*\n(.*?)(?:^\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


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
        self._size = 0
        """Characters of them."""
        self._from = 0
        """Where the unsettled text begins."""
        self._references: dict[str, Any] = {}
        """Link definitions in the text, as of the last rendering."""
        self._kept: dict[str, Any] = {}
        """Those of them that are defined in the settled part."""

    def blocks(self, text: str) -> list[Markup]:
        """Return the HTML of each top-level block; what would take too long is shown as its source."""
        text = visible(text)
        if not text.startswith(self._text):
            self._begin()
        self._text = text
        if self._size > LARGEST_HTML:
            return [*self._settled, source(text[self._from :])]
        try:
            return self._painted()
        except Exception:  # whatever a renderer does, the answer is shown
            LOG.warning("an answer is shown as its source", exc_info=True)
            self._begin()
            return [source(text)]

    def _painted(self) -> list[Markup]:
        tail, env = self._parsed()
        if self._from and _named(env) != _named({"references": self._references}):
            self._begin()  # a name that settled blocks may use has another URL now
            tail, env = self._parsed()
        self._references = env.get("references", {})
        shown = self._rendered(tail, env)
        settled = shown[: max(0, len(shown) - UNSETTLED)]
        if settled:
            self._settle(tail[len(settled)][0], settled)
        return [*self._settled, *shown[len(settled) :]]

    def _begin(self) -> None:
        self._settled, self._from, self._kept, self._size = [], 0, {}, 0

    def _parsed(self) -> tuple[list[tuple[int, list[Token]]], dict[str, Any]]:
        """Return the tokens of each unsettled block with the line where it begins, and the link definitions."""
        text = self._text[self._from :]
        env: dict[str, Any] = {"references": dict(self._kept), "painting": Painting(text)}
        return list(_top_level(parser().parse(text, env))), env

    def _rendered(self, tail: list[tuple[int, list[Token]]], env: dict[str, Any]) -> list[Markup]:
        shown: list[Markup] = []
        size = self._size
        for line, tokens in tail:
            if size > LARGEST_HTML:
                lines = self._text[self._from :].split("\n")
                return [*shown, source("\n".join(lines[line:]))]
            shown.append(self._html(tokens, env))
            size += len(shown[-1])
        return shown

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
        self._size += sum(map(len, shown))
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


def formatted(text: str, style: str) -> str:
    """Return an answer as Markdown in one of `--format`'s styles: markdown, text, json, code."""
    if style == "text":
        return safe.fence(text, "text")
    if style == "json":
        return safe.fence(pretty_json(text), "json")
    if style == "code":
        return safe.fence(code_in(text), "python")
    return safe.safe(text)


def pretty_json(text: str) -> str:
    """Return the JSON in `text` (bare or fenced) indented; what is not JSON stays as it is."""
    try:
        pretty = json.dumps(json.loads(code_in(text)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if len(pretty) < MOST_LARGER * len(text) + 1000 else text


def code_in(text: str) -> str:
    """Return the fenced blocks of `text`, joined; all of it when there is none."""
    blocks = [match[2].rstrip("\n") for match in FENCED.finditer(text)]
    return "\n\n".join(blocks) if blocks else text
