"""Streams as byzer-llm yields them: pairs of a text and what is known so far."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from byzer_magic.compat.responses import LLMResponse, SingleOutputMeta
from byzer_magic.types import AudioChunk, ChatChunk, TranscriptChunk, Usage


def whole(response: LLMResponse) -> tuple[Any, SingleOutputMeta]:
    """Return the one pair of a response that did not arrive in pieces."""
    known = {field.name for field in fields(SingleOutputMeta)}
    return response.output, SingleOutputMeta(
        **{name: value for name, value in response.metadata.items() if name in known}
    )


class Pieces:
    """Turns the chunks of one response into pairs.

    Args:
        delta: whether each text is what is new; otherwise it is the response so far.

    Example:
        >>> pieces = Pieces(delta=False)
        >>> [pieces.pair(ChatChunk(text))[0] for text in ("Hel", "lo")]
        ['Hel', 'Hello']
    """

    def __init__(self, *, delta: bool) -> None:
        self._delta = delta
        self._text = ""
        self._reasoning = ""
        self._usage = Usage()
        self._finish = ""

    def pair(self, item: Any) -> tuple[Any, SingleOutputMeta] | None:
        """Return the pair of a chunk; None for an item that has nothing for the user."""
        if isinstance(item, AudioChunk):
            return item.data, SingleOutputMeta()
        if isinstance(item, ChatChunk):
            return self._of(item.text, item.reasoning, item.finish or "", item.usage)
        if isinstance(item, TranscriptChunk):
            return self._of(item.text, "", "", item.usage)
        return None

    def _of(self, text: str, reasoning: str, finish: str, usage: Usage | None) -> tuple[str, SingleOutputMeta] | None:
        if not (text or reasoning or finish or usage):
            return None
        self._text += text
        self._reasoning += reasoning
        self._finish = finish or self._finish
        self._usage = usage or self._usage
        known = SingleOutputMeta(
            input_tokens_count=self._usage.prompt_tokens,
            generated_tokens_count=self._usage.completion_tokens,
            reasoning_content=reasoning if self._delta else self._reasoning,
            finish_reason=self._finish,
        )
        return (text if self._delta else self._text), known
