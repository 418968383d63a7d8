"""The tags in the output of SenseVoice: language, emotion, events.

`<|en|><|HAPPY|><|Speech|><|withitn|>Good morning.` Their meanings: https://github.com/FunAudioLLM/SenseVoice#usage.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

LANGUAGES = ("zh", "en", "yue", "ja", "ko")
NO_SPEECH = "nospeech"
UNKNOWN_EMOTION = ("EMO_UNKNOWN", "EMO_UNK")
EMOTIONS = ("HAPPY", "SAD", "ANGRY", "NEUTRAL", "FEARFUL", "DISGUSTED", "SURPRISED", *UNKNOWN_EMOTION)
_SILENT = frozenset({"withitn", "woitn", "Event_UNK", "GBG"})
"""Tags that do not describe the audio."""
_TAG = re.compile(r"<\|([^|<>]*)\|>")
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
"""Characters without spaces between them: Chinese, Japanese, their punctuation."""


@dataclass(frozen=True, slots=True)
class TaggedSegment:
    """A segment of the audio, in seconds, and the model's output for it."""

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
        """Return the detected language."""
        return next((tag for tag in self.tags if tag in (*LANGUAGES, NO_SPEECH)), None)

    @property
    def emotion(self) -> str | None:
        """Return the detected emotion."""
        return next((tag for tag in self.tags if tag in EMOTIONS), None)

    @property
    def events(self) -> list[str]:
        """Return the detected events: Speech, BGM, Applause, Laughter, ..."""
        known = {*LANGUAGES, NO_SPEECH, *EMOTIONS, *_SILENT}
        return list(dict.fromkeys(tag for tag in self.tags if tag not in known))


def joint(before: str, after: str) -> str:
    """Return the separator between two texts: a space, but none between Chinese or Japanese characters."""
    if not before or not after or (_UNSPACED.match(before[-1]) and _UNSPACED.match(after[0])):
        return ""
    return " "


def summary(tagged: Sequence[TaggedSegment]) -> dict[str, Any]:
    """Return the longest language and emotion, all events, and the tags of each segment."""
    found: dict[str, Any] = {
        "language": _longest(tagged, "language", (NO_SPEECH,)),
        "emotion": _longest(tagged, "emotion", UNKNOWN_EMOTION),
        "events": list(dict.fromkeys(event for segment in tagged for event in segment.events)),
    }
    found["tags"] = [
        {"start": segment.start, "end": segment.end, "language": segment.language, "emotion": segment.emotion,
         "events": segment.events}
        for segment in tagged
    ]  # fmt: skip
    return found


def _longest(tagged: Sequence[TaggedSegment], name: str, nothing: tuple[str, ...]) -> str | None:
    times: Counter[str] = Counter()
    for segment in tagged:
        value = getattr(segment, name)
        if value and value not in nothing:
            times[value] += round((segment.end - segment.start) * 1000)
    return times.most_common(1)[0][0] if times else None
