"""Embeddings, rankings, transcripts and images of OpenAI-compatible servers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.errors import NO_AUDIO, ErrorResponse, NoAnswer
from byzer_magic.backends.http.media import to_float32
from byzer_magic.backends.openai import bodies
from byzer_magic.types import Segment, Usage

END = Endpoint("m", "https://api.x.com/v1")
HALVES = to_float32([0.5, 1.5])


def body(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.mark.parametrize(
    "row",
    [
        {"embedding": [0.5, 1.5], "index": 0, "object": "embedding"},
        {"embedding": [0.5, 1.5], "index": None, "object": 3},
        {"embedding": ["0.5", "1.5"], "index": "0"},
        {"embedding": [[0.5, 1.5]]},
        {"embedding": base64.b64encode(HALVES).decode(), "index": 0.0},
    ],
)
@pytest.mark.parametrize("usage", [{"prompt_tokens": 3}, {"prompt_tokens": "3"}, {"total_tokens": 3.0}])
def test_embeddings_are_read_from_any_form(row: dict[str, Any], usage: Any) -> None:
    data = body({"data": [row], "usage": usage, "model": None, "error": None})
    assert bodies.embeddings(data, 1, END) == ([HALVES], Usage(3, 0))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"embedding": [0.5]}], "1 embeddings for 2 texts"),
        ([{"embedding": [0.5]}, {"embedding": None}], "1 embeddings for 2 texts"),
        ([{"embedding": [0.5]}, {"embedding": [None]}], "not a list of numbers"),
        ([{"embedding": [0.5]}, {"embedding": "!"}], "not a list of numbers"),
        ([{"embedding": [0.5]}, {"embedding": [0.5, 1]}], "different lengths"),
        ([{"embedding": []}, {"embedding": []}], "empty"),
    ],
)
def test_embeddings_that_are_none_are_unreadable(rows: list[Any], words: str) -> None:
    with pytest.raises(errors.ProviderUnavailable, match=words):
        bodies.embeddings(body({"data": rows}), 2, END)


@pytest.mark.parametrize("key", ["results", "data"])
@pytest.mark.parametrize("name", ["relevance_score", "score"])
def test_ranking_is_read_from_any_form(key: str, name: str) -> None:
    rows = [{"index": 0, name: 0.25}, {"index": "1", name: "0.5", "document": 3}]
    assert bodies.ranking(body({key: rows}), 2, END) == ([(1, 0.5), (0, 0.25)], None)
    for odd in ({"index": 9, name: 1}, {"index": 0, name: 1}, {"index": 1, name: None}, {}):
        with pytest.raises(errors.ProviderUnavailable, match="does not fit the documents"):
            bodies.ranking(body({key: [rows[0], odd]}), 2, END)


def test_images_are_read_from_any_form() -> None:
    rows = [{"b64_json": "YWJj"}, {"b64_json": "data:image/png;base64,YWJj", "url": 3}, None, {"revised_prompt": "x"}]
    found, _usage = bodies.images(body({"images": rows, "data": None}), END)
    assert [row.data() for row in found] == [b"abc", b"abc"]


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        ({"text": "hi"}, "application/json", "hi"),
        (
            {"text": "hi", "duration": "2.5", "segments": [{"start": 0, "end": "1", "text": "hi"}, None]},
            "text/plain",
            "hi",
        ),
        ({"text": ""}, "application/json", ""),
        (b'"hi"', "application/json", "hi"),
        (b"hi", "text/plain", "hi"),
        (b"h\xe4\xbd", "text/plain", "h\ufffd"),
        (b'{"text": "h\\ud83d"}', "application/json", "h\ufffd"),
    ],
)
def test_transcript_is_read_from_any_form(data: Any, kind: str, text: str) -> None:
    found = bodies.transcript(body(data), kind, END)
    assert found.text == text
    assert found.segments in (None, [Segment(0, 1, "hi")])


READERS = {
    "embeddings": lambda data: bodies.embeddings(data, 1, END),
    "ranking": lambda data: bodies.ranking(data, 1, END),
    "images": lambda data: bodies.images(data, END),
    "transcript": lambda data: bodies.transcript(data, "application/json", END),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"code": 1302, "msg": "too many at once"}, "too many at once"),
        ({"error": {"message": "it is gone"}}, "it is gone"),
        ({"message": "moved away"}, "moved away"),
        ({"data": [], "base_resp": {"status_code": 1004, "status_msg": "log in"}}, "log in"),
        ({}, ""),
        ([], ""),
        (b"upstream error", "upstream error"),
        (b"<html><title>Welcome</title></html>", "Welcome"),
        (b"", "empty"),
    ],
)
def test_nothing_counts_as_a_result_that_is_none(reader: str, data: Any, words: str) -> None:
    with pytest.raises((ErrorResponse, errors.ByzerError)) as caught:
        READERS[reader](body(data))
    said = caught.value.error if isinstance(caught.value, ErrorResponse) else caught.value
    assert words in str(said)


def test_speech_without_audio_is_an_error() -> None:
    assert isinstance(bodies.instead_of(NO_AUDIO, b'{"message": "no voice"}', END), NoAnswer)
    assert "upstream" in str(bodies.instead_of(NO_AUDIO, b"upstream error", END))


FIELDS = ["data", "results", "images", "text", "embedding", "index", "score", "b64_json", "url", "error", "segments"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("reader", READERS)
@given(value=json_values)
def test_any_json_is_a_result_or_an_error_of_ours(reader: str, value: Any) -> None:
    try:
        READERS[reader](json.dumps(value).encode())
    except (ErrorResponse, errors.ByzerError):
        return
