"""Long responses in several turns: the model marks where the response begins and ends, and goes on until the end mark.

Providers bound the tokens of one response; the marks tell a response that is complete from one that was cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

DEFAULT = ("<RESPONSE>", "</RESPONSE>")
TURNS = 10
_CHINESE = re.compile("[\u4e00-\u9fff]")
_TOLD = (
    "Your response may be split over several turns. Write {{ RESPONSE_START }} before its first word, and"
    " {{ RESPONSE_END }} after its last word; write neither of them in between."
)
_TOLD_ZH = (
    "回答可能要分几轮才能写完。请在整个回答的最前面写 {{ RESPONSE_START }}，在全部写完之后写 {{ RESPONSE_END }}，"
    "中间各轮不要写这两个标记。"
)
_GO_ON = "Go on exactly where your response broke off, and repeat nothing."
_GO_ON_ZH = "请从刚才中断的地方继续写，不要重复已经写过的内容。"


@dataclass(frozen=True, slots=True)
class Markers:
    """How a response is marked, and what the model is told; empty texts are ours, in the language of the prompt."""

    start: str = DEFAULT[0]
    end: str = DEFAULT[1]
    told: str = ""
    """A Jinja template with RESPONSE_START and RESPONSE_END."""

    def instruction(self, prompt: str) -> str:
        """Return the text that goes below a prompt."""
        from byzer_magic.prompts.template import template

        told = self.told or (_TOLD_ZH if _CHINESE.search(prompt) else _TOLD)
        return template(told, strict=False).render(RESPONSE_START=self.start, RESPONSE_END=self.end)

    def without(self, text: str) -> str:
        """Return what is between the marks; a mark that is missing is no loss.

        Example:
            >>> Markers().without("<RESPONSE>once upon a time</RESPONSE>")
            'once upon a time'
        """
        return text.partition(self.start)[2].rpartition(self.end)[0] if self._both(text) else self._bare(text)

    def _both(self, text: str) -> bool:
        return -1 < text.find(self.start) < text.rfind(self.end)

    def _bare(self, text: str) -> str:
        return text.replace(self.start, "").replace(self.end, "")

    def pieces(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield a stream of texts without the marks; the beginning of a mark is held back until it is one or not.

        Example:
            >>> list(Markers().pieces(["<RES", "PONSE>one", " < two</", "RESPONSE>"]))
            ['one', ' < two']
        """
        held = ""
        longest = max(len(self.start), len(self.end)) - 1
        for text in texts:
            held = self._bare(held + text)
            keep = next(
                (size for size in range(min(longest, len(held)), 0, -1) if self._begins(held[-size:])), 0
            )  # fmt: skip
            ready, held = held[: len(held) - keep], held[len(held) - keep :]
            if ready:
                yield ready
        if held:
            yield held

    def _begins(self, text: str) -> bool:
        return self.start.startswith(text) or self.end.startswith(text)


def go_on(prompt: str) -> str:
    """Return the message that asks for the next turn, in the language of the prompt."""
    return _GO_ON_ZH if _CHINESE.search(prompt) else _GO_ON
