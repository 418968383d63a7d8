"""Anthropic's events as our chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from byzer_magic.backends.anthropic import schema as anthropic_schema
from byzer_magic.types import STOPPED_AT, Usage
from tests.backends import text_of

START = {"type": "message_start", "message": {"usage": {"input_tokens": 4, "output_tokens": 1}}}


STOP = {"type": "message_stop"}


def read(*events: dict[str, Any]) -> list[Any]:
    reader = anthropic_schema.Reader()
    chunks = [chunk for event in events if (chunk := reader.chunk(event))]
    assert reader.finished is (events[-1]["type"] == "message_stop")
    return chunks


def test_usage_counts_are_cumulative() -> None:
    def counted(reason: str | None, **usage: Any) -> dict[str, Any]:
        return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}

    first = counted(None, input_tokens=50, output_tokens=3)
    second = counted("end_turn", input_tokens=90, cache_read_input_tokens=10, output_tokens=9)
    assert read(START, first, second, STOP)[-1].usage == Usage(100, 9, cached_tokens=10)
    assert read(START, counted("end_turn", input_tokens=None, output_tokens=2), STOP)[-1].usage == Usage(4, 2)


@pytest.mark.parametrize(("given", "parts"), [({}, [""]), ({"city": "x"}, [""]), ({}, ["", '{"ci', 'ty": "x"}'])])
def test_tool_call_arguments_are_complete_json(given: dict[str, Any], parts: list[str]) -> None:
    block = {"type": "tool_use", "id": "t", "name": "now", "input": given}
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
    chunks = read(
        START,
        {"type": "content_block_start", "index": 1, "content_block": block},
        *({"type": "content_block_delta", "index": 1, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 1},
    )
    calls = [call for chunk in chunks for call in chunk.tool_calls]
    expected = {"city": "x"} if given or len(parts) > 1 else {}
    assert json.loads("".join(call["function"]["arguments"] for call in calls)) == expected


def test_stop_sequence_is_kept() -> None:
    ended = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    [chunk] = read(START, {"type": "message_delta", "delta": ended}, STOP)
    whole = anthropic_schema.complete({"type": "message", "content": "Hi", **ended})
    for found in (chunk, whole):
        assert (found.finish, found.extra[STOPPED_AT]) == ("stop", "END")
    [chunk] = read(START, {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}, STOP)
    assert STOPPED_AT not in (chunk.extra or {})


def test_content_block_start_text_is_kept() -> None:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hel"}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}}
    assert text_of(read(START, block, delta)) == "Hello"


def test_thoughts_that_are_hidden_are_kept() -> None:
    block = {"type": "redacted_thinking", "data": "xyz"}
    [chunk] = read({"type": "content_block_start", "index": 0, "content_block": block})
    assert chunk.extra == {"redacted_thinking": "xyz"}
