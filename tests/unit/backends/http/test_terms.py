"""Which sentences of servers change the terms; quoted from public reports, bar the made-up ones."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.terms import Agreement, Terms, successor
from byzer_magic.types import ChatChunk

CANNOT_STREAM = [
    "Your organization must be verified to stream this model. Please go to: https://platform.openai.com/settings",
    "The model is unsupported for streaming.",
    "User: arn:aws:iam::1:user/x is not authorized to perform: bedrock:InvokeModelWithResponseStream on resource: y",
    "Streaming is not supported by this model.",
    "streaming not supported",
    "This model does not support streaming.",
    "This server doesn't support the stream mode",
    "Unsupported value: 'stream' does not support true with this model. Only the default (false) value is supported.",
    "stream is currently not supported",
    "'stream' must be set to false",
    "Streaming is disabled for this deployment.",
    "Unsupported parameter: 'stream' is not supported with this model.",
    "该模型不支持流式输出",
    "该接口仅支持非流式调用",
    "Only non-streaming requests are supported.",
    "Not implemented: streaming",
    "body.stream: Extra inputs are not permitted",
    "Unrecognized request argument supplied: stream",
    "The stream parameter must be false for this model.",
    "Please set stream=false.",
    "Please use `stream`: false",
    "stream=true is not allowed",
    "Server-sent event streaming isn't enabled on this endpoint",
]
MUST_STREAM = [
    "This model only answers in stream mode; enable the stream parameter.",
    "This model only support stream mode, please enable the stream parameter to access the model.",
    "Non-streaming is not supported by this model.",
    "parameter.enable_thinking must be set to false for non-streaming calls",
    "This model does not support non-streaming output.",
    "The upstream server is not available.",
    "Unexpected end of stream",
    "An unknown error ended the stream.",
    "Please set stream=true.",
    "This model supports streaming only.",
    "stream must be true",
    "该模型不支持非流式输出",
]


@pytest.mark.parametrize("sentence", CANNOT_STREAM)
def test_learn_that_a_server_cannot_stream(sentence: str) -> None:
    agreement = Agreement()
    agreement.learn(sentence, {})
    assert agreement.terms({}) == Terms(stream=False)


@pytest.mark.parametrize("sentence", MUST_STREAM)
def test_learn_nothing_from_other_sentences(sentence: str) -> None:
    agreement = Agreement()
    agreement.learn(sentence, {})
    assert agreement.terms({}) == Terms()


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("This model doesn't support tool use in streaming mode.", "tools"),
        ("json_object response format does not support streaming", "response_format"),
        ("n > 1 is not supported with streaming", "n"),
        ("logprobs are not supported when streaming", "logprobs"),
    ],
)
def test_learn_with_which_option_a_server_does_not_stream(sentence: str, name: str) -> None:
    agreement = Agreement()
    agreement.learn(sentence, {name: 1, "temperature": 0})
    assert not agreement.terms({name: 1}).stream
    assert agreement.terms({"temperature": 0}).stream, "other requests are still streamed"


@pytest.mark.parametrize(
    "sentence",
    ["Unrecognized request argument supplied: stream_options", "streamOptions.include_usage is not supported"],
)
def test_learn_that_a_server_does_not_count_in_streams(sentence: str) -> None:
    agreement = Agreement()
    agreement.learn(sentence, {})
    assert agreement.terms({}) == Terms(usage=False)


async def gathered(agreement: Agreement, attempt: Any) -> list[str]:
    return [chunk.text async for chunk in agreement.chunks({}, {}, attempt)]


async def test_chunks_asks_again_by_other_terms_until_nothing_is_learned() -> None:
    sentences = {
        Terms(): "Unknown field: stream_options",
        Terms(usage=False): "Streaming is not supported.",
        Terms(usage=False, stream=False): "Streaming is not supported, really.",
    }
    tried = []

    async def attempt(terms: Terms) -> AsyncIterator[ChatChunk]:
        tried.append(terms)
        raise errors.BadRequest(sentences[terms])
        yield

    with pytest.raises(errors.BadRequest, match="really"):
        await gathered(Agreement(), attempt)
    assert tried == list(sentences)


async def test_chunks_streams_again_where_complete_responses_are_refused_too() -> None:
    agreement = Agreement(Terms(stream=False))

    async def attempt(terms: Terms) -> AsyncIterator[ChatChunk]:
        raise errors.BadRequest("This model only supports the stream mode.")
        yield

    with pytest.raises(errors.BadRequest):
        await gathered(agreement, attempt)
    assert agreement.terms({}).stream


async def test_chunks_asks_for_a_complete_response_where_an_empty_stream_gives_no_reason() -> None:
    tried = []

    async def attempt(terms: Terms) -> AsyncIterator[ChatChunk]:
        tried.append(terms)
        raise errors.StreamTruncated("ended") if terms.stream else errors.ContextTooLong("too long")
        yield

    agreement = Agreement()
    with pytest.raises(errors.ContextTooLong):
        await gathered(agreement, attempt)
    assert tried == [Terms(), Terms(stream=False)]
    assert agreement.terms({}).stream, "the next response is streamed again"


async def test_chunks_does_not_ask_again_once_something_has_come() -> None:
    tried = []

    async def attempt(terms: Terms) -> AsyncIterator[ChatChunk]:
        tried.append(terms)
        yield ChatChunk("a")
        raise errors.BadRequest("Streaming is not supported.")

    with pytest.raises(errors.BadRequest):
        await gathered(Agreement(), attempt)
    assert tried == [Terms()]


SUCCESSORS = [
    (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_tokens",
        "max_completion_tokens",
    ),
    ("`functions` has been replaced by `tool_choices` in this version", "functions", "tool_choices"),
    ("The field stop_words is no longer accepted; please use the parameter stop_sequences.", "stop_words",
     "stop_sequences"),
    ("Unrecognized request argument supplied: max_completion_tokens", "max_completion_tokens", "max_tokens"),
    ("max_completion_tokens: Extra inputs are not permitted", "max_completion_tokens", "max_tokens"),
    ("参数 max_tokens 已不支持，请改用 max_completion_tokens。", "max_tokens", "max_completion_tokens"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "old", "new"), SUCCESSORS)
def test_successor_is_the_name_that_the_sentence_gives(sentence: str, old: str, new: str) -> None:
    assert successor(sentence, {old: 1, "temperature": 0}) == (old, new)
    assert successor(sentence, {"temperature": 0}) is None
    assert successor(sentence, {old: 1, new: 1}) is None, "both were given"


@pytest.mark.parametrize(
    "sentence",
    [
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens.",
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) is supported.",
        "Rate limit reached; use exponential backoff.",
    ],
)
def test_successor_of_other_sentences_is_none(sentence: str) -> None:
    assert successor(sentence, {"max_tokens": 1, "temperature": 0.2}) is None


def test_fields_prefer_the_name_that_was_given() -> None:
    terms = Terms(renamed=(("max_tokens", "max_completion_tokens"),))
    assert terms.fields({"max_tokens": 5, "max_completion_tokens": 7}) == {"max_completion_tokens": 7}
