"""A prompt that was truncated is told at the endpoint: beside the token counts, and in a header."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from byzer_magic.types import ChatChunk, PromptTruncation, Request, Usage
from tests.endpoints import Running, Scripted, running
from tests.waiting import PATIENCE

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {**CHAT, "stream_options": {"include_usage": True}},
    "/v1/completions": {"model": "m", "prompt": "hi", "stream_options": {"include_usage": True}},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/api/chat": CHAT,
}


def answer(alias: str, _request: Request) -> Sequence[ChatChunk]:
    truncated = PromptTruncation(2050, 7900, "update --model secret_alias") if alias == "m" else None
    return [ChatChunk("Hello!"), ChatChunk(finish="stop", usage=Usage(2050, 2, truncated=truncated))]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(answer, m="saas/openai", whole="saas/openai")) as found:
        yield found


def replied(endpoint: Running, path: str, **more: Any) -> tuple[str, str | None]:
    """Return the body of an answer, and the header."""
    body = {**BODIES[path], **more}
    if not body.get("stream"):
        body.pop("stream_options", None)
    request = urllib.request.Request(
        endpoint.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read().decode(), response.headers["x-byzer-warning"]


@pytest.mark.parametrize("path", BODIES)
def test_truncation_is_told(endpoint: Running, path: str) -> None:
    body, header = replied(endpoint, path, stream=False)
    assert header == "Only 2,050 of about 7,900 prompt tokens were read."
    streamed, _none = replied(endpoint, path, stream=True)
    for found in (body, streamed):
        assert '"prompt_truncated_from":7900' in found
        assert "secret_alias" not in found  # a client may know the deployment by another name only


@pytest.mark.parametrize("path", BODIES)
def test_whole_prompt_is_not_mentioned(endpoint: Running, path: str) -> None:
    for stream in (False, True):
        body, header = replied(endpoint, path, stream=stream, model="whole")
        assert ("truncated" in body, header) == (False, None)
