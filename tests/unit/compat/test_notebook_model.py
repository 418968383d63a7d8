"""The model that byzer-llm's notebooks are run with answers: it is made of the test provider, which changes."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import Process
from tests.waiting import PATIENCE

MODEL = Path(__file__).parents[2] / "compat" / "model.py"
TOOL = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def model() -> Iterator[Process]:
    """Its server."""
    with Process([sys.executable, str(MODEL), "--port", "{port}", "--models", "deepseek-reasoner"]) as server:
        yield server


@pytest.mark.parametrize("name", ["gpt-4o", "deepseek-reasoner"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("text", "tools", "answer"), [("Tell a story", None, "cat"), ("Which day is it?", [TOOL], "now")]
)
def test_notebook_model_answers(
    model: Process, name: str, stream: bool, text: str, tools: list[Any] | None, answer: str
) -> None:
    body = {"model": name, "stream": stream, "messages": [{"role": "user", "content": text}]} | (
        {"tools": tools} if tools else {}
    )
    request = urllib.request.Request(
        f"{model.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer sk-planted-5f0c9d1e7a"},
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        told = response.read().decode()
    assert answer in told
    assert told.rstrip().endswith("[DONE]") is stream
