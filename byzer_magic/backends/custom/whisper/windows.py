"""Long audio for Whisper: speech without the silence between, window after window, tokens with times.

The rules are those of https://arxiv.org/abs/2212.04356, section 4.5.
"""

from __future__ import annotations

import itertools
import threading
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from byzer_magic.backends.custom.whisper.params import UNSPACED, Settings
from byzer_magic.backends.engine.audio import RATE, silence_note
from byzer_magic.types import Segment, TranscriptChunk

TICK_SECONDS = 0.02
"""What one timestamp token counts."""
BLOCK_SECONDS = 300
"""Audio that is searched for speech at once: a second or two of work."""
EDGE_SECONDS = 0.5
"""The silence that is left around speech, and a little more."""
SHORTEST_SECONDS = 0.1
"""Shorter audio contains no word."""


class Stopped(Exception):
    """The request was cancelled."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and its time, in seconds."""

    start: float
    end: float
    word: str


@dataclass(frozen=True, slots=True)
class DecodedSegment:
    """A segment of speech; times are in seconds of the samples that the engine was given."""

    start: float
    end: float
    text: str
    """As the model decoded it, with its leading space."""
    words: tuple[Word, ...] = ()


Part = tuple[float, float, list[int]]
"""Start and end in seconds of a window, and the tokens of the text between."""


class Engine(Protocol):
    """Runs the model; samples are float32 (n,) at 16 kHz."""

    english_only: bool

    def language(self, samples: Any, settings: Settings) -> str:
        """Return the code of the spoken language."""

    def segments(self, samples: Any, settings: Settings, stopped: threading.Event) -> Iterator[DecodedSegment]:
        """Yield the segments, as soon as each window is decoded; `settings.language` is set."""

    def close(self) -> None:
        """Free the memory."""


def transcript(engine: Engine, samples: Any, settings: Settings, stopped: threading.Event) -> Iterator[TranscriptChunk]:
    """Yield the transcript segment by segment, with times in seconds of the complete audio.

    Args:
        engine: runs the model.
        samples: float32 (n,), mono, at 16 kHz.
        settings: of the request.
        stopped: ends the iterator when set.
    """
    timeline = Timeline(_speech(samples, stopped) if settings.vad_filter else [(0, len(samples))])
    speech = timeline.speech(samples)
    words: list[dict[str, Any]] = []
    language = settings.language
    if len(speech) >= SHORTEST_SECONDS * RATE and not stopped.is_set():
        language = language or engine.language(speech, settings)
        so_far = ""
        for decoded in engine.segments(speech, replace(settings, language=language), stopped):
            so_far = _joined(so_far, decoded.text, spaced=language not in UNSPACED)
            segment = Segment(*timeline.span(decoded.start, decoded.end), decoded.text.strip())
            words += [_word(word, timeline) for word in decoded.words]
            yield TranscriptChunk(so_far, [segment] if settings.verbose else None)
    extra = {**({"words": words} if words else {}), **silence_note(samples)} or None
    if settings.verbose:
        duration = round(len(samples) / RATE, 3)
        yield TranscriptChunk(segments=[], language=language, duration=duration, extra=extra)
    else:
        yield TranscriptChunk(extra=extra)


def _joined(before: str, text: str, *, spaced: bool) -> str:
    """Return a text as it follows another: with the space that the model decoded, none at the start."""
    if not before:
        return text.strip()
    if spaced and text[:1].isalnum():
        return f" {text.rstrip()}"
    return text.rstrip()


def _word(word: Word, timeline: Timeline) -> dict[str, Any]:
    start, end = timeline.span(word.start, word.end)
    return {"word": word.word.strip(), "start": start, "end": end}


def _speech(samples: Any, stopped: threading.Event) -> list[tuple[int, int]]:
    """Return start and end of each speech segment, in samples; incomplete when `stopped` is set."""
    from faster_whisper.vad import get_speech_timestamps

    found: list[tuple[int, int]] = []
    for block in range(0, len(samples), BLOCK_SECONDS * RATE):
        if stopped.is_set():
            break
        for part in get_speech_timestamps(samples[block : block + BLOCK_SECONDS * RATE]):
            start, end = block + part["start"], block + part["end"]
            if found and start <= found[-1][1]:
                start = found.pop()[0]  # it continues from the last block
            found.append((start, end))
    return found


class Timeline:
    """Maps times in the concatenated speech to times in the complete audio."""

    def __init__(self, parts: Sequence[tuple[int, int]]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(end - start for start, end in parts))

    def speech(self, samples: Any) -> Any:
        """Return the speech alone, concatenated."""
        import numpy as np

        return np.concatenate([samples[start:end] for start, end in self._parts] or [samples[:0]])

    def span(self, start: float, end: float) -> tuple[float, float]:
        """Return start and end of a speech segment in the complete audio, in seconds.

        One that reaches into the next part, or begins in the last one, by no more than the silence that was left
        around speech does not go there at all.
        """
        first, last = self._part(start), self._part(end)
        if (
            first < last
            and end - self._ends[first] / RATE > EDGE_SECONDS
            and self._ends[first] / RATE - start < EDGE_SECONDS
        ):
            start, first = self._ends[first] / RATE, first + 1
        if first < last and end - self._ends[last - 1] / RATE < EDGE_SECONDS:
            end, last = self._ends[last - 1] / RATE, last - 1
        return self._time(start, first), self._time(end, last)

    def _part(self, seconds: float) -> int:
        return min(bisect_right(self._ends, round(seconds * RATE)), len(self._ends) - 1)

    def _time(self, seconds: float, part: int) -> float:
        at = min(round(seconds * RATE), self._ends[part])
        return round((self._parts[part][1] - (self._ends[part] - at)) / RATE, 3)


def split(tokens: Sequence[int], begin: int, seconds: float) -> tuple[list[Part], float]:
    """Return the segments of a window with their tokens, and the seconds to advance to the next window.

    A window ends in the middle of speech when two timestamps close its last segment but nothing follows: the rest is
    decoded again.

    Args:
        tokens: of the window, timestamps included.
        begin: the timestamp token of 0.00.
        seconds: length of the window.
    """
    pairs = [at for at in range(1, len(tokens)) if tokens[at - 1] >= begin and tokens[at] >= begin]
    complete = len(tokens) > 1 and tokens[-2] < begin <= tokens[-1]

    def time(token: int) -> float:
        return min((token - begin) * TICK_SECONDS, seconds)

    if not pairs:
        times = [token for token in tokens if token >= begin]
        end = time(times[-1]) if times and times[-1] > begin else seconds
        return [(0.0, end, [token for token in tokens if token < begin])], seconds
    cuts = [0, *pairs, *([len(tokens)] if complete else [])]
    parts = [tokens[start:end] for start, end in itertools.pairwise(cuts)]
    found = [(time(part[0]), time(part[-1]), [token for token in part if token < begin]) for part in parts]
    after = time(tokens[pairs[-1] - 1])
    return found, seconds if complete or after <= 0 else after


def repetitive(text: str, limit: float) -> bool:
    """Return whether a text is so repetitive that it compresses by more than a factor of `limit`."""
    data = text.encode()
    return bool(data) and len(data) / len(zlib.compress(data)) > limit
