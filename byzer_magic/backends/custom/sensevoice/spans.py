"""Stretches of a sound: cutting them where nobody speaks, joining short ones, putting them into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from byzer_magic.backends.engine.audio import RATE

CUT_SECONDS = 30
"""The longest stretch without a detector; it ends at the quietest moment of its last `SEARCH_SECONDS`."""
SEARCH_SECONDS = 5
QUIET_SECONDS = 0.1

Span = tuple[int, int]
"""A stretch of a sound, in ms."""


def blocks(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks; what would be a last one below a second belongs to the one before."""
    start = 0
    while start < length:
        end = start + size if length - start - size >= RATE else length
        yield start, end
        start = end


def quiet_cuts(samples: Any) -> Iterator[Span]:
    """Yield stretches that end where it is quiet, none longer than `CUT_SECONDS`."""
    import numpy as np

    start, longest, window = 0, CUT_SECONDS * RATE, int(QUIET_SECONDS * RATE)
    while len(samples) - start > longest:
        end = start + longest
        tail = samples[end - SEARCH_SECONDS * RATE : end]
        loudness = np.square(tail[: len(tail) // window * window]).reshape(-1, window).sum(1)
        end = end - SEARCH_SECONDS * RATE + int(loudness.argmin()) * window + window // 2
        yield start * 1000 // RATE, end * 1000 // RATE
        start = end
    yield start * 1000 // RATE, len(samples) * 1000 // RATE


def merged(spans: Iterable[Span], longest: int) -> Iterator[Span]:
    """Yield stretches joined with their neighbours while they span at most `longest` ms."""
    joined: Span | None = None
    for start, end in spans:
        if joined and end - joined[0] > longest:
            yield joined
            joined = None
        joined = (joined[0] if joined else start, end)
    if joined:
        yield joined


def batches(spans: Iterable[Span], most: int) -> Iterator[list[Span]]:
    """Yield stretches in groups that have `most` ms with their padding (one by one when each has more)."""
    group: list[Span] = []
    longest = 0
    for span in spans:
        longest = max(longest, span[1] - span[0])
        if group and longest * (len(group) + 1) > most:
            yield group
            group, longest = [], span[1] - span[0]
        group.append(span)
    if group:
        yield group
