"""Ollama's schema: options and base URLs."""

from __future__ import annotations

from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.backends.saas.ollama import schema

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"response_format": {"type": "json_object"}}, {"format": "json"}),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
         {"format": {"type": "object"}}),
        ({"response_format": {"type": "text"}}, {}),
        ({"reasoning_effort": "none"}, {"think": False}),
        ({"reasoning_effort": "minimal"}, {"think": "low"}),
        ({"reasoning_effort": "xhigh"}, {"think": "max"}),
        ({"tools": [TOOL], "tool_choice": "none"}, {}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tools": [TOOL]}),
        ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ],
)  # fmt: skip
def test_openai_options_are_converted(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    assert schema.body(asked, {}, model="m") == {"model": "m", "options": {}, **sent}


def test_required_tool_choice_raises_bad_request() -> None:
    with pytest.raises(errors.BadRequest, match="cannot be forced to call a tool"):
        schema.body({"tool_choice": "required"}, {})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("192.168.3.106", "http://192.168.3.106:11434"),
        ("localhost:8080", "http://localhost:8080"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:11434", "http://127.0.0.1:11434"),
        ("http://[::1]:11434/", "http://[::1]:11434"),
        ("https://ollama.com/api", "https://ollama.com"),
    ],
)
def test_base_url_accepts_ollama_host_values(host: str, url: str) -> None:
    assert schema.base_url(host) == url
