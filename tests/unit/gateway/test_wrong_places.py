"""A value of the wrong type anywhere in a request: an error of the request, never one of the endpoint."""

from __future__ import annotations

import copy
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.endpoints import Running, Scripted, running
from tests.unit.gateway.test_bad_input import answer
from tests.unit.gateway.test_conversations import CLAUDE_CODE, PNG, SCHEMA
from tests.waiting import PATIENCE

IMAGE = f"data:image/png;base64,{PNG}"
FUNCTION = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
RICH: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": IMAGE}}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "x"},
        ],
        "tools": [FUNCTION], "tool_choice": "auto", "stop": ["a"], "n": 1, "metadata": {"a": "b"}, "logit_bias": {},
        "response_format": {"type": "json_object"}, "stream_options": {"include_usage": True},
    },
    "/v1/messages": {
        **CLAUDE_CODE, "stop_sequences": ["a"],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    },
    "/v1/messages/count_tokens": {name: CLAUDE_CODE[name] for name in ("system", "messages", "tools", "tool_choice")},
    "/v1/responses": {
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_text", "text": "w"}, {"type": "input_image", "image_url": IMAGE}],
            },
            {"type": "function_call", "call_id": "c1", "name": "w", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "18"},
        ],
        "instructions": "b", "text": {"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}},
        "reasoning": {"effort": "low"}, "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
        "tool_choice": {"type": "function", "name": "f"}, "metadata": {"a": "b"},
    },
    "/api/chat": {
        "messages": [
            {"role": "user", "content": "x", "images": [PNG]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "content": "1", "tool_name": "f"},
        ],
        "options": {"num_predict": 5, "temperature": 0, "stop": ["a"], "top_k": 1, "seed": 1},
        "format": SCHEMA, "tools": [FUNCTION], "think": False,
    },
    "/api/generate": {
        "prompt": "x", "images": [PNG], "options": {"num_predict": 5}, "system": "s", "format": "json",
    },
    "/v1/completions": {"prompt": ["a"], "echo": True, "n": 1, "stream_options": {"include_usage": True}},
    "/v1/embeddings": {"input": ["a"], "encoding_format": "base64", "dimensions": 2},
    "/v1/rerank": {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True},
    "/v1/audio/speech": {"input": "hi", "voice": "x", "speed": 1.0, "response_format": "mp3"},
    "/v1/images/generations": {"prompt": "p", "n": 1, "size": "1x1", "response_format": "url"},
    "/api/embed": {"input": ["a"]},
}  # fmt: skip
"""Bodies with much in them, all valid."""
WRONG: tuple[Any, ...] = (5, "x", [5], {"a": 1})


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(answer, m="custom/auto (llama_cpp)", claude="saas/claude")) as found:
        yield found


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where there is something in a body."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in inner:
        yield from places(item, (*at, name))


def put(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a body with another value at a place."""
    found = copy.deepcopy(body)
    inner = found
    for name in at[:-1]:
        inner = inner[name]
    inner[at[-1]] = value
    return found


@pytest.mark.parametrize(("path", "model"), [*((path, "m") for path in RICH), ("/v1/messages", "claude")])
def test_no_value_anywhere_breaks_the_endpoint(endpoint: Running, path: str, model: str) -> None:
    body = {"model": model, "stream": False, **RICH[path]}
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=PATIENCE)
    failed = []
    try:
        for at in [(), *places(body)]:
            for wrong in WRONG if at else (None,):
                changed = put(body, at, wrong) if at else body
                connection.request("POST", path, json.dumps(changed), {"content-type": "application/json"})
                response = connection.getresponse()
                data = response.read()
                if response.status not in (200, 400, 404) or (not at and response.status != 200):
                    failed.append((at, wrong, response.status, data))
    finally:
        connection.close()
    assert not failed
