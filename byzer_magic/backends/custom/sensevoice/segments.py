"""Speech segments: splitting at quiet moments, merging short ones, batching."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from byzer_magic.backends.engine.audio import RATE

CUT_SECONDS = 30
"""The longest segment without a detector; it ends at the quietest moment of its last `SEARCH_SECONDS`."""
SEARCH_SECONDS = 5
QUIET_SECONDS = 0.1

Span = tuple[int, int]
"""Start and end of a segment, in ms."""


def blocks(length: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of blocks, in samples; a last block below a second is joined to the one before."""
    start = 0
    while start < length:
        end = start + size if length - start - size >= RATE else length
        yield start, end
        start = end


def quiet_cuts(samples: Any) -> Iterator[Span]:
    """Yield segments that end at quiet moments, none longer than `CUT_SECONDS`; `samples` is float32 (n,) at 16 kHz."""
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
    """Yield segments merged with their neighbours while they span at most `longest` ms."""
    joined: Span | None = None
    for start, end in spans:
        if joined and end - joined[0] > longest:
            yield joined
            joined = None
        joined = (joined[0] if joined else start, end)
    if joined:
        yield joined


def batches(spans: Iterable[Span], most: int) -> Iterator[list[Span]]:
    """Yield batches of segments that have at most `most` ms with their padding; at least one segment per batch."""
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
