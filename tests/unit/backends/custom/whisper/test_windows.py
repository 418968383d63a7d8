"""Windows of long audio: splitting, times, repetition."""

from __future__ import annotations

import numpy as np

from byzer_magic.backends.custom.whisper import windows

SENTENCE = "Every morning before sunrise, the old fisherman walked down the narrow path to the harbour."


def test_split_at_the_timestamps() -> None:
    begin = 1000

    def at(seconds: float) -> int:
        return begin + round(seconds / 0.02)

    ends = [at(0), 1, 2, at(2), at(2.5), 3, at(4)]
    assert windows.split(ends, begin, 30) == ([(0, 2, [1, 2]), (2.5, 4, [3])], 30)
    goes_on = [at(0), 1, at(2), at(2), 2, at(28), at(28)]
    assert windows.split(goes_on, begin, 30) == ([(0, 2, [1]), (2, 28, [2])], 28)
    cut_off = [at(0), 1, at(2), at(2), 2, 3]
    assert windows.split(cut_off, begin, 30) == ([(0, 2, [1])], 2)
    assert windows.split([at(0), 1, 2], begin, 7.5) == ([(0, 7.5, [1, 2])], 7.5)
    assert windows.split([at(0), at(0)], begin, 30)[1] == 30, "no window is decoded for ever"
    assert windows.split([], begin, 5) == ([(0, 5, [])], 5)


def test_timeline_maps_speech_to_the_complete_audio() -> None:
    timeline = windows.Timeline([(0, 16_000), (160_000, 320_000)])
    assert len(timeline.speech(np.zeros(400_000, np.float32))) == 176_000
    assert timeline.span(0, 0.5) == (0, 0.5)
    assert timeline.span(2, 3) == (11, 12)
    assert timeline.span(0.2, 1.3) == (0.2, 1.0), "it ends in the silence before the next part"
    assert timeline.span(0.8, 3) == (10, 12)
    assert timeline.span(0.2, 3) == (0.2, 12)


def test_repetitive_compares_the_compression_ratio() -> None:
    assert windows.repetitive("you and me and " * 20, 2.4)
    assert not windows.repetitive(SENTENCE, 2.4)
    assert not windows.repetitive("", 2.4)
