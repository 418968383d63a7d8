"""The events of OpenAI-compatible servers, whatever their fields are."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import ErrorResponse, NoAnswer
from byzer_magic.backends.openai.reader import Reader
from byzer_magic.errors import ByzerError
from byzer_magic.types import ChatChunk, Usage

GPT = Endpoint("gpt-4o", "https://api.x.com/v1")


def read(*events: Any) -> list[ChatChunk]:
    """Return the chunks of a response, the end included."""
    reader = Reader()
    sent = (event if isinstance(event, bytes) else json.dumps(event).encode() for event in events)
    return [chunk for chunk in (*map(reader.chunk, sent), reader.end(GPT)) if chunk is not None]


def event(delta: Any = None, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": "hi"} if delta is None else delta, **choice}]}


ODD: list[dict[str, Any]] = [
    {"id": 17}, {"id": None}, {"id": ["x"]}, {"object": 3}, {"created": "now"}, {"created": 1.5}, {"model": None},
    {"model": {"name": "m"}}, {"system_fingerprint": 1}, {"service_tier": {}}, {"error": None}, {"error": False},
    {"error": ""}, {"error": {}}, {"error": []}, {"error": {"code": 0, "message": ""}}, {"usage": []}, {"usage": 3},
    {"usage": "none"}, {"usage": {"prompt_tokens": None}}, {"usage": {"completion_tokens": "x"}}, {"provider": None},
]  # fmt: skip
ODD_CHOICES: list[dict[str, Any]] = [
    {"index": None}, {"index": "0"}, {"index": 0.0}, {"index": []}, {"logprobs": []}, {"logprobs": 0},
    {"logprobs": "none"}, {"finish_reason": ""}, {"finish_reason": False}, {"finish_reason": "null"}, {"error": None},
    {"error": {}}, {"message": None}, {"text": None}, {"native_finish_reason": 3}, {"content_filter_results": []},
]  # fmt: skip
ODD_DELTAS: list[dict[str, Any]] = [
    {"role": None}, {"role": 1}, {"refusal": None}, {"refusal": False}, {"refusal": {}}, {"annotations": 3},
    {"tool_calls": None}, {"tool_calls": {}}, {"tool_calls": [None]}, {"tool_calls": "x"}, {"reasoning": None},
    {"reasoning": 0.0}, {"reasoning_content": []}, {"function_call": 1}, {"audio": []},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=json.dumps)
def test_odd_field_of_an_event_refuses_nothing(odd: dict[str, Any]) -> None:
    assert "".join(chunk.text for chunk in read({**event(), **odd}, b"[DONE]")) == "hi"


@pytest.mark.parametrize("odd", ODD_CHOICES, ids=json.dumps)
def test_odd_field_of_a_choice_refuses_nothing(odd: dict[str, Any]) -> None:
    assert "".join(chunk.text for chunk in read(event(**odd), b"[DONE]")) == "hi"


@pytest.mark.parametrize("odd", ODD_DELTAS, ids=json.dumps)
def test_odd_field_of_a_delta_refuses_nothing(odd: dict[str, Any]) -> None:
    chunks = read(event({"content": "hi", **odd}), b"[DONE]")
    assert "".join(chunk.text for chunk in chunks) == "hi"
    assert not any(chunk.tool_calls for chunk in chunks)


@pytest.mark.parametrize("odd", [b"null", b"[]", b"3", b'"x"', b"{}", b"[null]", b"true", b""])
def test_events_that_are_no_objects_are_ignored(odd: bytes) -> None:
    assert "".join(chunk.text for chunk in read(odd, event(), odd, b"[DONE]")) == "hi"


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        ({"content": 42}, "42"),
        ({"content": 0.5}, "0.5"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": ["a", "b"]}, "ab"),
        ({"content": {"type": "text", "text": "a"}}, "a"),
        ({"content": {"parts": [1]}}, '{"parts": [1]}'),
        ({"content": True}, "true"),
        ({"content": None, "refusal": "no"}, "no"),
        ("just text", "just text"),
        (["a"], "a"),
    ],
)
def test_text_is_read_from_what_has_it(delta: Any, text: str) -> None:
    assert read(event(delta), b"[DONE]")[0].text == text


@pytest.mark.parametrize(
    ("delta", "reasoning"),
    [
        ({"reasoning_content": {"text": "hm"}}, "hm"),
        ({"reasoning": [{"type": "reasoning.text", "text": "h"}, {"text": "m"}]}, "hm"),
        ({"reasoning": {"content": "hm"}, "content": 1}, "hm"),
        ({"reasoning_content": 7}, "7"),
    ],
)
def test_reasoning_is_read_from_what_has_it(delta: Any, reasoning: str) -> None:
    assert read(event(delta), b"[DONE]")[0].reasoning == reasoning


@pytest.mark.parametrize(
    ("given_", "usage"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2.5}, Usage(3, 2)),
        ({"prompt_tokens": "3", "completion_tokens": None}, Usage(3, 0)),
        ({"prompt_tokens": [], "completion_tokens": 2}, Usage(0, 2)),
    ],
)
def test_token_counts_are_read_as_numbers(given_: Any, usage: Usage) -> None:
    assert read({**event(), "usage": given_}, b"[DONE]")[0].usage == usage


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"), ("Stop", "stop"), ("end_turn", "stop"), ("eos", "stop"), ("eos_token", "stop"),
        ("MAX_TOKENS", "length"), ("max-tokens", "length"), ("tool_use", "tool_calls"), ("SAFETY", "content_filter"),
        ("sensitive", "content_filter"), ({"type": "stop"}, "stop"), (["stop"], "stop"), ("strange", "strange"),
        ("function_call", "function_call"),
    ],
)  # fmt: skip
def test_finish_reason_has_openais_name(reason: Any, finish: str) -> None:
    assert read(event(finish_reason=reason))[-1].finish == finish


@pytest.mark.parametrize(
    "reason", ["error", "ERROR", "failed", "network_error", "insufficient_system_resource", "abort"]
)
def test_finish_reason_of_a_failure_is_an_error(reason: str) -> None:
    with pytest.raises(ErrorResponse):
        read(event(finish_reason=reason))


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "hi"}}]},
        {"choices": {"message": {"content": "hi"}, "finish_reason": "stop"}},
        {"choices": {"0": {"message": {"content": "hi"}}}},
        {"choices": [None, {"message": "hi"}]},
        {"choices": [{"text": "hi", "finish_reason": "stop"}]},
        {"choices": [{"delta": {}, "message": {"content": "hi"}, "finish_reason": "stop"}]},
        [{"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}],
        json.dumps({"choices": [{"message": {"content": "hi"}}]}),
    ],
    ids=json.dumps,
)
def test_complete_bodies_are_answers(body: Any) -> None:
    chunks = read(body)
    assert "".join(chunk.text for chunk in chunks) == "hi"
    assert [chunk.finish for chunk in chunks if chunk.finish] == ["stop"]


def test_choices_may_be_counted_from_one() -> None:
    first, second = event(index=1), event({"content": "no"}, index=2)
    chunks = read(first, second, event({"content": "!"}, index=1, finish_reason="stop"))
    assert "".join(chunk.text for chunk in chunks) == "hi!"


def test_other_choices_are_beside_the_first() -> None:
    chunks = read(event(), event({"content": "no"}, index=1), b"[DONE]")
    assert "".join(chunk.text for chunk in chunks) == "hi"
    assert chunks[1].extra == {"choices": [{"index": 1, "text": "no", "finish": None}]}


def test_response_ends_with_the_last_of_its_choices() -> None:
    reader = Reader()
    for sent in (
        event({"content": "a"}),
        event({"content": "b"}, index=1),
        event({}, finish_reason="stop"),
    ):
        reader.chunk(json.dumps(sent).encode())
    assert not reader.finished
    reader.chunk(json.dumps(event({}, index=1, finish_reason="stop")).encode())
    assert reader.finished


def test_tool_calls_end_with_their_own_reason() -> None:
    call = {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
    assert read(event({"tool_calls": [call]}), b"[DONE]")[-1].finish == "tool_calls"


@pytest.mark.parametrize(
    "events", [[], [{}], [{"choices": []}], [b"[DONE]"], [{"usage": {"prompt_tokens": 1}}], [b"null"]]
)
def test_nothing_is_no_answer(events: list[Any]) -> None:
    with pytest.raises(NoAnswer):
        read(*events)


FIELDS = [
    "choices",
    "delta",
    "message",
    "content",
    "finish_reason",
    "tool_calls",
    "usage",
    "error",
    "index",
    "logprobs",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=25,
)


@given(st.lists(json_values, max_size=4))
def test_any_json_is_an_answer_or_an_error_of_ours(values: list[Any]) -> None:
    try:
        chunks = read(*values)
    except (ErrorResponse, ByzerError):
        return
    for chunk in chunks:
        msgspec.msgpack.encode(chunk)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_an_error_of_ours(data: bytes) -> None:
    try:
        read(data, b'{"choices": [{"delta": {"content": "' + data + b'"}}]}')
    except (ErrorResponse, ByzerError):
        return
