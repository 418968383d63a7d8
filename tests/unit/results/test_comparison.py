"""Answers of several models."""

from __future__ import annotations

from typing import Any

from byzer_magic.errors import AuthenticationFailed
from byzer_magic.results import (
    ChatResult,
)
from byzer_magic.results.comparison import Answers
from byzer_magic.results.metadata import Timings
from byzer_magic.types import Usage


def chat(model: str = "a", text: str = "**hello**", **more: Any) -> ChatResult:
    timings = Timings(first_token=0.5, total=2.5)
    return ChatResult(model=model, text=text, timings=timings, finish="stop", **{"usage": Usage(7, 101)} | more)


def test_answers_frame_has_a_row_per_model() -> None:
    failed = chat("b", "", error=AuthenticationFailed("no key"), interrupted=True)
    table = Answers([chat(usage=Usage(7, 101, 0.5, "USD")), failed]).frame()
    assert list(table.model) == ["a", "b"]
    assert table.tokens_per_second[0] == 50
    assert (table.cost[0], table.currency[0]) == (0.5, "USD")
    assert table.error[1] == "no key"
