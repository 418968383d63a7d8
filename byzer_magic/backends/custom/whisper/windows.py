"""Long sounds as Whisper hears them: speech without the silence between, window after window, tokens with times.

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

from byzer_magic.backends.custom.whisper.params import UNSPACED, Ask
from byzer_magic.backends.engine.audio import RATE
from byzer_magic.types import Segment, TranscriptChunk

TICK_SECONDS = 0.02
"""What one timestamp token counts."""
BLOCK_SECONDS = 300
"""How much is searched for speech at once: a second or two of work."""
EDGE_SECONDS = 0.5
"""The silence that is left before and behind speech, and a little more."""
SHORTEST_SECONDS = 0.1
"""A sound, or what is left of one, that is shorter holds no word."""


class Stopped(Exception):
    """The request is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was said."""

    start: float
    end: float
    word: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of speech, in seconds of what the engine was given."""

    start: float
    end: float
    text: str
    """As the model wrote it, with the space before it."""
    words: tuple[Word, ...] = ()


Part = tuple[float, float, list[int]]
"""Begin and end in seconds of a window, and the tokens of the text between."""


class Engine(Protocol):
    """What runs the model."""

    english_only: bool

    def language(self, samples: Any, ask: Ask) -> str:
        """Return the code of the language that is spoken."""

    def pieces(self, samples: Any, ask: Ask, stopped: threading.Event) -> Iterator[Piece]:
        """Yield what is said, as soon as each window is done; `ask.language` is given."""

    def close(self) -> None:
        """Free the memory."""


def listen(engine: Engine, samples: Any, ask: Ask, stopped: threading.Event) -> Iterator[TranscriptChunk]:
    """Yield the transcript of 16 kHz samples piece by piece, with times in seconds of the whole sound."""
    clock = Clock(_speech(samples, stopped) if ask.vad_filter else [(0, len(samples))])
    heard = clock.cut(samples)
    words: list[dict[str, Any]] = []
    language = ask.language
    if len(heard) >= SHORTEST_SECONDS * RATE and not stopped.is_set():
        language = language or engine.language(heard, ask)
        so_far = ""
        for piece in engine.pieces(heard, replace(ask, language=language), stopped):
            so_far = _joined(so_far, piece.text, spaced=language not in UNSPACED)
            segment = Segment(*clock.span(piece.start, piece.end), piece.text.strip())
            words += [_word(word, clock) for word in piece.words]
            yield TranscriptChunk(so_far, [segment] if ask.verbose else None)
    if ask.verbose:
        duration = round(len(samples) / RATE, 3)
        yield TranscriptChunk(
            segments=[], language=language, duration=duration, extra={"words": words} if words else None
        )
    else:
        yield TranscriptChunk()


def _joined(before: str, text: str, *, spaced: bool) -> str:
    """Return a piece of text as it follows another: the space that the model wrote, none at the start."""
    if not before:
        return text.strip()
    if spaced and text[:1].isalnum():
        return f" {text.rstrip()}"
    return text.rstrip()


def _word(word: Word, clock: Clock) -> dict[str, Any]:
    start, end = clock.span(word.start, word.end)
    return {"word": word.word.strip(), "start": start, "end": end}


def _speech(samples: Any, stopped: threading.Event) -> list[tuple[int, int]]:
    """Return where speech begins and ends, in samples; as far as it was looked for when `stopped` is set."""
    from faster_whisper.vad import get_speech_timestamps

    found: list[tuple[int, int]] = []
    for block in range(0, len(samples), BLOCK_SECONDS * RATE):
        if stopped.is_set():
            break
        for part in get_speech_timestamps(samples[block : block + BLOCK_SECONDS * RATE]):
            start, end = block + part["start"], block + part["end"]
            if found and start <= found[-1][1]:
                start = found.pop()[0]  # it goes on from the last block
            found.append((start, end))
    return found


class Clock:
    """Times in a sound of which only parts are left."""

    def __init__(self, parts: Sequence[tuple[int, int]]) -> None:
        self._parts = parts
        self._ends = list(itertools.accumulate(end - start for start, end in parts))

    def cut(self, samples: Any) -> Any:
        """Return the parts alone, one after the other."""
        import numpy as np

        return np.concatenate([samples[start:end] for start, end in self._parts] or [samples[:0]])

    def span(self, start: float, end: float) -> tuple[float, float]:
        """Return when in the whole sound a stretch of speech is.

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
    """Return the stretches of a window with their tokens, and how far to go on to the next window.

    A window ends in the middle of speech when two timestamps close its last stretch but nothing follows: what comes
    then is heard again. `begin` is the token of 0.00, `seconds` is how long the window is.
    """
    pairs = [at for at in range(1, len(tokens)) if tokens[at - 1] >= begin and tokens[at] >= begin]
    whole = len(tokens) > 1 and tokens[-2] < begin <= tokens[-1]

    def time(token: int) -> float:
        return min((token - begin) * TICK_SECONDS, seconds)

    if not pairs:
        times = [token for token in tokens if token >= begin]
        end = time(times[-1]) if times and times[-1] > begin else seconds
        return [(0.0, end, [token for token in tokens if token < begin])], seconds
    cuts = [0, *pairs, *([len(tokens)] if whole else [])]
    parts = [tokens[start:end] for start, end in itertools.pairwise(cuts)]
    found = [(time(part[0]), time(part[-1]), [token for token in part if token < begin]) for part in parts]
    after = time(tokens[pairs[-1] - 1])
    return found, seconds if whole or after <= 0 else after


def repetitive(text: str, limit: float) -> bool:
    """Return whether a text repeats itself so much that it can be packed `limit` times smaller."""
    data = text.encode()
    return bool(data) and len(data) / len(zlib.compress(data)) > limit
