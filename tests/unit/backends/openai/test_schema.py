"""OpenAI's chat completions as our chunks."""

from __future__ import annotations

import pytest

from byzer_magic.backends.http.errors import ErrorResponse
from byzer_magic.backends.openai.schema import Body, chunk_of, decode
from byzer_magic.types import ChatChunk, Usage


@pytest.mark.parametrize(
    ("data", "chunk"),
    [
        ('{"choices":[{"index":0,"delta":{"content":"a"}}]}', ChatChunk("a")),
        ('{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}', None),
        ('{"choices":[{"delta":{"reasoning":"r"}}],"usage":null}', ChatChunk(reasoning="r")),
        ('{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":null}}', ChatChunk(usage=Usage(1, 0))),
        (
            '{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":5}}}',
            ChatChunk(usage=Usage(9, 0, cached_tokens=5)),
        ),
        (
            '{"choices":[],"usage":{"prompt_tokens":9,"cache_read_input_tokens":50,"cache_creation_input_tokens":1}}',
            ChatChunk(usage=Usage(60, 0, cached_tokens=50)),
        ),
        (
            '{"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":[],"cache_read_input_tokens":"x"}}',
            ChatChunk(usage=Usage(9, 0)),
        ),
        ('{"choices":null}', None),
        ('{"choices":[{"delta":null,"finish_reason":"stop"}]}', ChatChunk(finish="stop")),
        ('{"choices":[{"delta":{"content":[{"type":"text","text":"x"},{"type":"other"}]}}]}', ChatChunk("x")),
        ('{"choices":[{"delta":{"refusal":"no"}}]}', ChatChunk("no")),
        ('{"id":"i","model":"m","choices":[{"delta":{},"finish_reason":"length"}]}',
         ChatChunk(finish="length", extra={"id": "i", "model": "m"})),
        ('{"choices":[{"index":1,"delta":{"content":"b"}}]}',
         ChatChunk(extra={"choices": [{"index": 1, "text": "b", "finish": None}]})),
        ('{"choices":[{"delta":{"content":"a"},"logprobs":{"content":[]}}]}',
         ChatChunk("a", extra={"logprobs": {"content": []}})),
    ],
)  # fmt: skip
def test_chunk_of_reads_leniently(data: str, chunk: ChatChunk | None) -> None:
    assert chunk_of(decode(data.encode())) == chunk


def test_chunk_of_empty_body_is_none() -> None:
    assert chunk_of(Body()) is None


def test_decode_raises_error_responses() -> None:
    with pytest.raises(ErrorResponse):
        decode(b'{"error": {"message": "no"}}')
