"""How many tokens texts have: roughly, and at least, since only the provider has the model's tokenizer.

Rough counts stand in where none is reported (limits of keys, `count_tokens`). Lower bounds tell a prompt that was
truncated from one that the model's tokenizer packs well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from byzer_magic.types import ChatRequest, Message

BYTES_PER_TOKEN = 4
"""What a token of text takes in UTF-8, roughly: four letters, or one and a third Chinese characters."""
FAR_FEWER = 0.6
"""A prompt was truncated when fewer tokens were read than this part of its lower bound."""
SMALLEST_CONTEXT = 256
"""No server truncates to fewer tokens; a lower count is a placeholder, or leaves out what was cached."""
DENSEST = 5
"""Bytes per token that text hardly exceeds: where a token has no more of them, nothing is missing."""
PIECE = 2_000
"""Characters that are looked at together."""
MOST_PIECES = 20
"""Of a longer text, so many pieces are looked at, evenly spread: all of a million would stop the loop for a second."""
PHRASE = 16
"""With no more different characters, a piece may repeat one phrase, and that may be one token."""
IN_PHRASES = 0.1
"""Tokens of each character then."""

_HAN = "\u2e80-\u2fdf\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
_INDIC_AND_THAI = "\u0900-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Scripts that write vowels as marks, and some of them no spaces."""
_EMOJI = "\u2600-\u27bf\U0001f000-\U0001faff"
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u200b-\u200f\u2060"
    "\ufe00-\ufe0f\ufe20-\ufe2f\U000e0000-\U000e01ef"
)
"""What changes the character before it."""
_BY_CHARACTER = _HAN + _KANA + _HANGUL + _INDIC_AND_THAI
_SMALL = rf"[^\W\d_A-Z{_BY_CHARACTER}]"
_SIGN = rf"(?:[^\w\s{_BY_CHARACTER}{_EMOJI}{_MARKS}]|_)"
_TAG = "</?[A-Za-z]"
_WORDS = (
    rf"{_TAG}\w{{0,9}}>|NaN|(?:[A-Z]{{0,32}}{_SMALL}{{1,32}}|[A-Z]{{1,32}})(?:['’](?:[stmd]|re|ll|ve)\b)?"
    rf"|\d{{1,32}}|{_SIGN}(?:(?!{_TAG}){_SIGN})+|{_SIGN}(?![^\W\d_])"  # a single sign may be in the next word
)
"""What is a token at least: tags, words (in `camelCase`, each), numbers, signs. Spaces are in those beside them.

These patterns are compiled when they are used first, by `re`: that takes 12 ms, and most processes never count."""
_LONG_WORDS = _SMALL + "{9,}"
_CHARACTERS = tuple(
    (rf"([{characters}])(?!\1)", tokens)
    for characters, tokens in ((_HAN, 0.6), (_KANA, 0.4), (_HANGUL, 0.55), (_INDIC_AND_THAI, 0.25), (_EMOJI, 0.5))
)
"""Tokens of each character of scripts that put several into one; a repeated one counts once."""


def text_bytes(value: Any) -> int:
    """Return how much text there is in a value, in bytes of UTF-8; images and audio are none.

    Example:
        >>> text_bytes({"role": "user", "content": [{"text": "Hi"}, {"url": "data:image/png;base64,iVBORw0KGgo="}]})
        6
    """
    if isinstance(value, str):
        if value.startswith("data:"):
            return 0
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, dict):
        return sum(text_bytes(item) for name, item in value.items() if name != "data")
    if isinstance(value, list):
        return sum(map(text_bytes, value))
    if isinstance(value, msgspec.Struct):
        return sum(text_bytes(getattr(value, name)) for name in value.__struct_fields__)
    return 0


def at_least(text: str) -> float:
    """Return a lower bound of the tokens of a text.

    No text of `tests/property/test_token_counts.py` has fewer with any tokenizer, also not with those of Llama 3,
    Qwen 2.5, Gemma 3, DeepSeek V3 and Command R+; English, code and data have 1 to 2 times as many, other languages up
    to 3 times. Only a text that has little but their longest words would have fewer.

    Example:
        >>> at_least("Truncation is told, in words.")
        7.5
    """
    starts = range(0, len(text), PIECE)
    if len(starts) > MOST_PIECES:
        starts = starts[:: -(-len(starts) // MOST_PIECES)]
    pieces = [text[start : start + PIECE] for start in starts]
    return sum(map(_in_piece, pieces)) * len(text) / max(1, sum(map(len, pieces)))


def _in_piece(text: str) -> float:
    count = len(re.findall(_WORDS, text)) + len(re.findall(_LONG_WORDS, text)) / 2
    if text.isascii():
        return count
    found = [(re.findall(pattern, text), tokens) for pattern, tokens in _CHARACTERS]
    is_phrase = len(set().union(*(characters for characters, _tokens in found))) <= PHRASE
    return count + sum(len(characters) * (IN_PHRASES if is_phrase else tokens) for characters, tokens in found)


def truncated_from(request: ChatRequest, read: int) -> int:
    """Return how many tokens a prompt has, roughly, of which only a part was read; 0 where nothing seems missing.

    Tools, images and earlier reasoning do not count: how many tokens they become, or whether any, depends on the model.

    Args:
        request: the prompt.
        read: the tokens of it that the provider reports.

    Example:
        >>> request = ChatRequest(messages=[Message("user", "All of this counts. " * 1_500)])
        >>> truncated_from(request, 2_050), truncated_from(request, 7_502)
        (7500, 0)
    """
    if read < SMALLEST_CONTEXT or "context_management" in request.options:  # Claude removes then what it was told to
        return 0
    texts = list(_texts(request.messages))
    if read * DENSEST >= sum(map(text_bytes, texts)):
        return 0
    least = at_least("\n".join(texts))
    if read >= least * FAR_FEWER:
        return 0
    return round(max(int(least), text_bytes(request) // BYTES_PER_TOKEN), -2)


def _texts(messages: Iterable[Message]) -> Iterator[str]:
    """Return the texts of a conversation that any model reads."""
    for message in messages:
        parts = message.content if isinstance(message.content, list) else [{"type": "text", "text": message.content}]
        for part in parts:
            if isinstance(part, dict) and part.get("type") == "text" and isinstance(text := part.get("text"), str):
                # Chat templates leave out what a model has thought before.
                yield text.rpartition("</think>")[2] if message.role == "assistant" else text
