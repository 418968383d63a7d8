"""curl: what other programs send and get."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from given import CALL, CHATS, EMBEDDINGS, KEY, NO_MODEL, URL, WRONG_KEY, Place

FUNCTION = {"name": "weather", "parameters": Place.model_json_schema()}


def curl(path: str, body: dict[str, Any], key: str = KEY) -> str:
    words = ["curl", "-sS", "-N", "-w", "\n%{http_code}", f"{URL}{path}", "-H", f"Authorization: Bearer {key}"]
    return subprocess.run(
        [*words, "--json", "@-"], input=json.dumps(body), capture_output=True, text=True, check=True
    ).stdout


def got(path: str, body: dict[str, Any], key: str = KEY) -> tuple[int, Any]:
    text, _, status = curl(path, body, key).rpartition("\n")
    return int(status), json.loads(text)


def chat(model: str, text: str = "hello big world", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize("model", CHATS)
def test_answers(model: str) -> None:
    status, answer = got("/v1/chat/completions", chat(model))
    assert status == 200
    assert answer["choices"][0]["message"] == {
        "role": "assistant", "content": "Echo: hello big world", "refusal": None,
    }  # fmt: skip
    assert answer["usage"]["total_tokens"] > 0
    status, answer = got("/v1/messages", chat(model, max_tokens=50))
    assert (status, answer["content"]) == (200, [{"type": "text", "text": "Echo: hello big world"}])


@pytest.mark.parametrize("model", CHATS)
def test_streams(model: str) -> None:
    *lines, done, status = [
        line for line in curl("/v1/chat/completions", chat(model, stream=True)).splitlines() if line
    ]
    assert (done, status) == ("data: [DONE]", "200")
    deltas = [json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content") or "" for line in lines]
    assert sum(map(bool, deltas)) > 1
    assert "".join(deltas) == "Echo: hello big world"


@pytest.mark.parametrize("model", CHATS)
def test_calls_tools(model: str) -> None:
    tools = [{"type": "function", "function": FUNCTION}]
    _, answer = got("/v1/chat/completions", chat(model, CALL, tools=tools))
    message = answer["choices"][0]["message"]
    [call] = message["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    turns = [*chat(model, CALL)["messages"], message, {"role": "tool", "tool_call_id": call["id"], "content": "18"}]
    assert (
        "18"
        in got("/v1/chat/completions", {**chat(model, tools=tools), "messages": turns})[1]["choices"][0]["message"][
            "content"
        ]
    )


@pytest.mark.parametrize("model", CHATS)
def test_schema(model: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "Place", "schema": Place.model_json_schema()}}
    _, answer = got("/v1/chat/completions", chat(model, "Where?", response_format=form))
    assert Place.model_validate_json(answer["choices"][0]["message"]["content"])


def test_embeds() -> None:
    status, found = got("/v1/embeddings", {"model": EMBEDDINGS, "input": ["one", "other"]})
    assert status == 200
    assert len(found["data"][0]["embedding"]) == len(found["data"][1]["embedding"]) > 1


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_errors(path: str) -> None:
    status, body = got(path, {**chat(NO_MODEL, max_tokens=50), "input": "hi"})
    assert status == 404
    assert "gpt" in body["error"]["message"]
    status, body = got(path, {**chat("gpt", max_tokens=50), "input": "hi"}, WRONG_KEY)
    assert status == 401
