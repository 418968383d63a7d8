"""Parameters and options of Whisper."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic.backends.custom.whisper import params as whisper_params


@pytest.mark.parametrize(
    ("given", "code"),
    [("en", "en"), ("English", "en"), ("<|zh|>", "zh"), ("pt-BR", "pt"), ("zh_CN", "zh"), ("nb", "no")],
)
def test_code_accepts_names_of_languages(given: str, code: str) -> None:
    assert whisper_params.code(given) == code


def test_temperatures_rise_from_zero() -> None:
    def steps(value: Any) -> tuple[float, ...]:
        return whisper_params.asked({}, {"temperature": value}, english_only=False).temperatures

    assert steps(0) == steps(None) == whisper_params.LADDER
    assert steps(0.5) == (0.5, 0.6, 0.8, 1.0)
    assert steps([0, 0.5]) == (0, 0.5)
    assert steps("0.8") == (0.8, 1.0)
