"""Speech segments: splitting, merging, batching."""

from __future__ import annotations

from byzer_magic.backends.custom.sensevoice import segments
from byzer_magic.backends.engine.audio import RATE


def test_blocks_cover_the_audio_without_a_short_last_one() -> None:
    size = 60 * RATE
    for length in (1, size - 1, size, size + 1, size + RATE - 1, size + RATE, 3 * size + 7):
        found = list(segments.blocks(length, size))
        assert [0, *(end for _, end in found)] == [*(start for start, _ in found), length]
        assert all(RATE <= end - start < size + RATE for start, end in found) or length < RATE


def test_merged_joins_short_segments() -> None:
    found = [(0, 4000), (5000, 9000), (9500, 14_000), (14_500, 16_000), (40_000, 80_000), (81_000, 82_000)]
    assert list(segments.merged(found, 15_000)) == [(0, 14_000), (14_500, 16_000), (40_000, 80_000), (81_000, 82_000)]
    assert list(segments.merged([], 15_000)) == []


def test_batches_are_limited_with_their_padding() -> None:
    found = [(0, 1000), (2000, 3000), (4000, 9000), (10_000, 11_000)]
    assert list(segments.batches(found, 10_000)) == [[(0, 1000), (2000, 3000)], [(4000, 9000), (10_000, 11_000)]]
    assert list(segments.batches(found, 0)) == [[span] for span in found]
    assert list(segments.batches([], 10_000)) == []


def test_quiet_cuts_split_at_quiet_moments() -> None:
    import numpy as np

    clip = np.ones(70 * RATE, np.float32)
    for second in (10, 27, 52):  # the first is too early to be of use
        clip[second * RATE : second * RATE + RATE // 5] = 0
    found = list(segments.quiet_cuts(clip))
    assert [end // 1000 for _, end in found] == [27, 52, 70]
    assert [start for start, _ in found] == [0, *(end for _, end in found[:-1])]
    assert list(segments.quiet_cuts(clip[: 30 * RATE])) == [(0, 30_000)]
