"""Bedrock's Converse: requests to its schema, and errors of botocore as ours."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.errors import Endpoint, from_response
from byzer_magic.backends.saas.aws_bedrock import schema
from byzer_magic.types import ChatRequest, Message

ENDPOINT = Endpoint("m", "https://bedrock.us-east-1.amazonaws.com", ("secret-key-123",), patterns=schema.PATTERNS)


class EndpointConnectionError(Exception):
    """Named like botocore's."""


def test_arguments_join_neighbouring_turns_of_a_role() -> None:
    turns = [Message("user", "a"), Message("user", "b"), Message("assistant", "c")]
    found = schema.arguments(ChatRequest(messages=turns), {})["messages"]
    assert found == [
        {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
        {"role": "assistant", "content": [{"text": "c"}]},
    ]


def test_arguments_reject_unknown_options() -> None:
    request = ChatRequest(messages=[Message("user", "a")], options={"logprobs": True})
    with pytest.raises(errors.BadRequest, match="has no option logprobs"):
        schema.arguments(request, {})


def test_from_botocore_reads_exceptions_without_a_response() -> None:
    error = schema.from_botocore(EndpointConnectionError("no route; key secret-key-123"), ENDPOINT)
    assert type(error) is errors.ProviderUnavailable
    assert error.message == "Cannot connect to Bedrock: no route; key ***"
    assert schema.from_botocore(ValueError("other"), ENDPOINT) is None


def test_patterns_recognize_prompts_that_are_too_long() -> None:
    error = from_response({"message": "Input is too long for requested model."}, ENDPOINT, 400)
    assert type(error) is errors.ContextTooLong
