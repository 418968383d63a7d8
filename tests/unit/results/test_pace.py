"""How fast a response arrived: by its pieces."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from byzer_magic.client.collect import ChatCollector
from byzer_magic.results.pace import BURST_SECONDS, Pace
from byzer_magic.types import ChatChunk, ChatRequest, Usage

CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"day": 3}'}}


def pace_of(*pieces: tuple[ChatChunk, float]) -> Pace:
    pace = Pace()
    for chunk, seconds in pieces:
        pace.add(chunk, seconds)
    return pace


@given(st.lists(st.tuples(st.text(max_size=9), st.floats(0, BURST_SECONDS / 2)), max_size=9), st.floats(0, 99))
def test_pieces_that_arrive_together_have_no_speed(pieces: list[tuple[str, float]], start: float) -> None:
    late = sorted(later for _text, later in pieces)
    pace = pace_of(*((ChatChunk(text), start + later) for (text, _), later in zip(pieces, late, strict=True)))
    assert pace.tokens_per_second(1_000) is None
    assert (pace.first is None) == (sum(bool(text) for text, _later in pieces) < 2)


@given(st.integers(1, 200), st.floats(1, 500), st.floats(0, 10))
def test_speed_of_even_pieces_is_their_rate(count: int, rate: float, start: float) -> None:
    pace = pace_of(*((ChatChunk("word "), start + number / min(rate, 99)) for number in range(count + 1)))
    assert pace.first == start
    assert pace.tokens_per_second(count + 1) == pytest.approx(min(rate, 99), rel=1e-6)


def test_tool_calls_are_output() -> None:
    pace = pace_of((ChatChunk("", tool_calls=[CALL]), 1.0), (ChatChunk(" " * 10), 2.0), (ChatChunk(finish="stop"), 3.0))
    assert (pace.first, pace.last, pace.after_first) == (1.0, 2.0, 0.5)


def test_result_in_one_piece_has_no_speed_and_no_first_token() -> None:
    collector = ChatCollector("m", ChatRequest(messages=[]))
    collector.add(ChatChunk("The whole answer.", finish="stop", usage=Usage(10, 20)))
    result = collector.result()
    assert (result.timings.first_token, result.tokens_per_second) == (None, None)
    assert result.timings.total > 0
