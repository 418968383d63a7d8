"""What Whisper's backends do without a model: options, windows, times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from byzer_magic.backends.custom.whisper import params as whisper_params, windows

SENTENCE = "Every morning before sunrise, the old fisherman walked down the narrow path to the harbour."


def test_a_window_is_split_where_the_timestamps_say() -> None:
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
    assert windows.split([at(0), at(0)], begin, 30)[1] == 30, "no window is heard for ever"
    assert windows.split([], begin, 5) == ([(0, 5, [])], 5)


def test_the_clock_of_a_sound_of_which_parts_are_left() -> None:
    clock = windows.Clock([(0, 16_000), (160_000, 320_000)])
    assert len(clock.cut(np.zeros(400_000, np.float32))) == 176_000
    assert clock.span(0, 0.5) == (0, 0.5)
    assert clock.span(2, 3) == (11, 12)
    assert clock.span(0.2, 1.3) == (0.2, 1.0), "it ends in the silence before the next part"
    assert clock.span(0.8, 3) == (10, 12)
    assert clock.span(0.2, 3) == (0.2, 12)


def test_text_that_repeats_itself() -> None:
    assert windows.repetitive("you and me and " * 20, 2.4)
    assert not windows.repetitive(SENTENCE, 2.4)
    assert not windows.repetitive("", 2.4)


@pytest.mark.parametrize(
    ("given", "code"),
    [("en", "en"), ("English", "en"), ("<|zh|>", "zh"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("nb", "no")],
)
def test_languages_have_many_names(given: str, code: str) -> None:
    assert whisper_params.code(given) == code


def test_temperatures_rise() -> None:
    def steps(value: Any) -> tuple[float, ...]:
        return whisper_params.asked({}, {"temperature": value}, english_only=False).temperatures

    assert steps(0) == steps(None) == whisper_params.LADDER
    assert steps(0.5) == (0.5, 0.6, 0.8, 1.0)
    assert steps([0, 0.5]) == (0, 0.5)
    assert steps("0.8") == (0.8, 1.0)
