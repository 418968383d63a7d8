"""The tags in what SenseVoice writes: language, emotion, events.

`<|en|><|HAPPY|><|Speech|><|withitn|>Good morning.` Their meanings: https://github.com/FunAudioLLM/SenseVoice#usage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LANGUAGES = ("zh", "en", "yue", "ja", "ko")
NOBODY = "nospeech"
UNKNOWN_EMOTION = ("EMO_UNKNOWN", "EMO_UNK")
EMOTIONS = ("HAPPY", "SAD", "ANGRY", "NEUTRAL", "FEARFUL", "DISGUSTED", "SURPRISED", *UNKNOWN_EMOTION)
_SILENT = frozenset({"withitn", "woitn", "Event_UNK", "GBG"})
"""Tags that say nothing of the sound."""
_TAG = re.compile(r"<\|([^|<>]*)\|>")
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Characters that no space stands beside: Chinese, Japanese, their punctuation."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a sound, in seconds, and what the model wrote for it."""

    start: float
    end: float
    raw: str

    @property
    def text(self) -> str:
        """Return the text without its tags."""
        return " ".join(_TAG.sub(" ", self.raw).split())

    @property
    def tags(self) -> list[str]:
        """Return the tags in the order of the text."""
        return _TAG.findall(self.raw)

    @property
    def language(self) -> str | None:
        """Return the language that was heard."""
        return next((tag for tag in self.tags if tag in (*LANGUAGES, NOBODY)), None)

    @property
    def emotion(self) -> str | None:
        """Return the emotion that was heard."""
        return next((tag for tag in self.tags if tag in EMOTIONS), None)

    @property
    def events(self) -> list[str]:
        """Return what else was heard: Speech, BGM, Applause, Laughter, ..."""
        known = {*LANGUAGES, NOBODY, *EMOTIONS, *_SILENT}
        return list(dict.fromkeys(tag for tag in self.tags if tag not in known))


def joint(before: str, after: str) -> str:
    """Return what stands between two pieces of text: a space, but none beside Chinese and Japanese."""
    if not before or not after or (_UNSPACED.match(before[-1]) and _UNSPACED.match(after[0])):
        return ""
    return " "


def summary(pieces: Sequence[Piece]) -> dict[str, Any]:
    """Return language and emotion that were heard longest, all events, and the tags of each piece."""
    found: dict[str, Any] = {
        "language": _longest(pieces, "language", (NOBODY,)),
        "emotion": _longest(pieces, "emotion", UNKNOWN_EMOTION),
        "events": list(dict.fromkeys(event for piece in pieces for event in piece.events)),
    }
    found["tags"] = [
        {"start": piece.start, "end": piece.end, "language": piece.language, "emotion": piece.emotion,
         "events": piece.events}
        for piece in pieces
    ]  # fmt: skip
    return found


def _longest(pieces: Sequence[Piece], name: str, nothing: tuple[str, ...]) -> str | None:
    times: Counter[str] = Counter()
    for piece in pieces:
        value = getattr(piece, name)
        if value and value not in nothing:
            times[value] += round((piece.end - piece.start) * 1000)
    return times.most_common(1)[0][0] if times else None
