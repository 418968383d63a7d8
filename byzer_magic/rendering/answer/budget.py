"""What one painting of an answer may use: time and depth, so that no answer can stop the process that shows it.

A call that has begun cannot be interrupted from outside, so the parsers ask between their steps, and what one step gets
is limited in size.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline

PARSING_SECONDS = 2.0
"""For the Markdown of one painting: about 100 kB of what takes longest, megabytes of ordinary text."""
DETAIL_SECONDS = 1.0
"""For the colours and formulas of one painting."""
URL_CHARACTERS = 10
"""Characters of URLs in the HTML per character of the text; a link definition that is used often makes more."""


class Budget:
    """Processor time of the current thread, so that a busy machine does not use it up.

    Asking for that is a system call, slow on some machines: it is not asked for before as much time has gone by.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.thread_time() + seconds
        self._look = time.perf_counter() + seconds
        self._over = False

    def is_spent(self) -> bool:
        """Return whether the time is over."""
        if not self._over and time.perf_counter() >= self._look:
            left = self._end - time.thread_time()
            self._over = left <= 0
            self._look = time.perf_counter() + left
        return self._over


class Painting:
    """The budgets of one painting of a text; markdown-it hands it to its rules in `env`."""

    def __init__(self, text: str) -> None:
        self.parsing = Budget(PARSING_SECONDS)
        self.details = Budget(DETAIL_SECONDS)
        self._urls = URL_CHARACTERS * len(text) + 10_000
        self._steps = 0
        self._stopped = False

    def may_parse(self) -> bool:
        """Return whether there is time for another step of a parser; called at every few characters."""
        self._steps += 1
        if self._steps % 8 == 0 and self.parsing.is_spent():
            self._stopped = True  # from here on: parsers ask at different places
        return not self._stopped

    def may_link(self, url: str) -> bool:
        """Count a URL, and return whether there is still room for it."""
        self._urls -= len(url)
        return self._urls >= 0


def install(parser: MarkdownIt) -> None:
    """Let a Markdown parser stop where the `Painting` in its `env` says; the rest becomes a token `source`, or text."""
    parser.block.ruler.before("table", "budget", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    parser.inline.ruler.before("text", "budget", _inline)
    parser.core.ruler.at("inline", _inlines)


def _may_parse(env: object) -> bool:
    painting = env.get("painting") if isinstance(env, dict) else None
    return painting is None or painting.may_parse()


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - markdown-it calls it so
    if _may_parse(state.env):
        return False
    if not silent:
        token = state.push("source", "", 0)
        token.content = state.src[state.bMarks[start] : state.eMarks[end - 1]]
        token.map = [start, end]
        state.line = end
    return True


def _inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001 - as above
    if _may_parse(state.env):
        return False
    if not silent:
        state.pending += state.src[state.pos : state.posMax]
    state.pos = state.posMax
    return True


def _inlines(state: StateCore) -> None:
    """Parse the texts in blocks, as markdown-it's own rule does."""
    from markdown_it.token import Token

    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = token.children or []
        if _may_parse(state.env):
            state.md.inline.parse(token.content, state.md, state.env, token.children)
        else:
            token.children.append(Token("text", "", 0, content=token.content))
