"""What deployments get of a request: the same conversation, whichever wire it came over and whatever answers it."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from byzer_magic.types import ChatChunk, ChatRequest, Media
from tests.endpoints import Running, Scripted, running
from tests.servers.audio_files import tone
from tests.waiting import PATIENCE

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
KINDS = {"gpt": "saas/openai", "claude": "saas/claude", "llama": "custom/auto (llama_cpp)", "qwen": "saas/qianwen"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(**KINDS)) as found:
        yield found


def post(endpoint: Running, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(
        endpoint.url + path, json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return json.loads(response.read())


def asked(endpoint: Running, path: str, headers: dict[str, str] | None = None, **body: Any) -> ChatRequest:
    """Return the request that a deployment has got."""
    post(endpoint, path, {"stream": False, **body}, headers)
    request = endpoint.scripted.asked[-1][1]
    assert isinstance(request, ChatRequest)
    return request


CLAUDE_CODE: dict[str, Any] = {
    "max_tokens": 32000,
    "temperature": 1,
    "system": [
        {"type": "text", "text": "You are Claude Code.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Use the tools."},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "weather?", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris"}},
                {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Rome"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "18"},
                {
                    "type": "tool_result", "tool_use_id": "toolu_2", "is_error": True,
                    "content": [
                        {"type": "text", "text": "no"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    ],
                },
                {"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}},
            ],
        },
    ],
    "tools": [
        {"name": "weather", "description": "d", "input_schema": SCHEMA, "cache_control": {"type": "ephemeral"}}
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "metadata": {"user_id": "u1"},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "context_management": {"edits": []},
    "cache_control": {"type": "ephemeral"},
}  # fmt: skip
"""A request as coding agents with Anthropic's API send it."""


@pytest.mark.parametrize("model", ["gpt", "llama", "qwen"])
def test_agents_request_reaches_other_models_without_what_they_do_not_know(endpoint: Running, model: str) -> None:
    request = asked(endpoint, "/v1/messages?beta=true", model=model, **CLAUDE_CODE)
    system, question, call, first, second, last = request.messages
    assert (system.role, system.content) == ("system", "You are Claude Code.\nUse the tools.")
    assert question.content == "weather?"
    assert call.content == "I look."
    assert [made["function"]["name"] for made in call.tool_calls or ()] == ["weather", "weather"]
    assert json.loads((call.tool_calls or [])[1]["function"]["arguments"]) == {"city": "Rome"}
    assert [(turn.role, turn.tool_call_id, turn.content) for turn in (first, second)] == [
        ("tool", "toolu_1", "18"), ("tool", "toolu_2", "Error:\nno"),
    ]  # fmt: skip
    assert isinstance(last.content, list)
    assert isinstance(last.content[0], Media)
    assert last.content[1] == {"type": "text", "text": "go on"}
    given = {name for name in request.options if name != "extra_headers"}
    assert given == {"max_tokens", "temperature", "tools", "tool_choice", "parallel_tool_calls"}
    assert request.options["tools"] == [
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
    ]


def test_agents_request_reaches_claude_with_all_that_it_has(endpoint: Running) -> None:
    request = asked(endpoint, "/v1/messages", model="claude", **CLAUDE_CODE)
    assert request.options["tools"] == CLAUDE_CODE["tools"]
    assert request.options["thinking"] == CLAUDE_CODE["thinking"]
    assert request.options["metadata"] == {"user_id": "u1"}
    assert request.options["tool_choice"] == CLAUDE_CODE["tool_choice"]
    assert request.options["cache_control"] == {"type": "ephemeral"}
    assert request.messages[0].content[0]["cache_control"] == {"type": "ephemeral"}  # type: ignore[index]
    assert request.messages[2].content[0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}  # type: ignore[index]


@pytest.mark.parametrize("model", [*KINDS])
def test_threads_that_nobody_keeps_are_refused_as_anthropics_sdk_expects(endpoint: Running, model: str) -> None:
    turn = {"model": model, "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    before = len(endpoint.scripted.asked)
    for thread in ({"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(endpoint, "/v1/messages", {**turn, "thread": thread})
        with caught.value as response:
            error = json.load(response)["error"]
        assert error["details"] == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
    assert len(endpoint.scripted.asked) == before, "a model that gets the last turn alone answers without the others"
    post(endpoint, "/v1/messages", {**turn, "thread": None})


def test_thoughts_without_a_signature_do_not_go_back_to_claude(endpoint: Running) -> None:
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": ""},
                                          {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
    ]  # fmt: skip
    request = asked(endpoint, "/v1/messages", model="claude", max_tokens=5, messages=turns)
    assert [turn.content for turn in request.messages] == ["a", "b", "c"]


PLATFORM = {
    "store": True, "metadata": {"a": "b"}, "user": "u", "service_tier": "auto", "n": 1, "logprobs": False,
    "frequency_penalty": 0, "presence_penalty": 0, "parallel_tool_calls": True, "prompt_cache_key": "k",
    "temperature": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(("model", "kept"), [("llama", {"temperature"}), ("claude", {"temperature"}),
                                             ("gpt", {"store", "metadata", "user", "service_tier", "prompt_cache_key",
                                                      "temperature"})])  # fmt: skip
def test_fields_of_openais_platform_go_to_openai_only(endpoint: Running, model: str, kept: set[str]) -> None:
    request = asked(
        endpoint, "/v1/chat/completions", model=model, messages=[{"role": "user", "content": "hi"}], **PLATFORM
    )
    assert {*request.options} - {"extra_headers"} == kept


def test_header_of_anthropics_betas_goes_to_claude_only(endpoint: Running) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    for model, goes in (("claude", True), ("gpt", False), ("llama", False)):
        headers = {"anthropic-beta": "context-1m-2025-08-07"}
        request = asked(endpoint, "/v1/messages", headers, model=model, **body)
        assert request.options.get("extra_headers") == (headers if goes else None)


def test_json_mode_is_an_instruction_where_there_is_none(endpoint: Running) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}}
    assert "response_format" in asked(endpoint, "/v1/chat/completions", model="llama", **body).options
    request = asked(endpoint, "/v1/chat/completions", model="claude", **body)
    assert "response_format" not in request.options
    assert "JSON" in str(request.messages[0].content)


def test_sound_reaches_the_model(endpoint: Running) -> None:
    sound = base64.b64encode(tone(0.1)).decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "wav"}}
    request = asked(endpoint, "/v1/chat/completions", model="gpt", messages=[{"role": "user", "content": [part]}])
    [heard] = request.messages[0].content or ()
    assert isinstance(heard, Media)
    assert heard.mime == "audio/wav"


def test_responses_items_are_a_conversation(endpoint: Running) -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
        {"type": "reasoning", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Paris"}'},
        {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "18"},
        {"type": "function_call_output", "call_id": "c2", "output": "19"},
    ]
    request = asked(
        endpoint, "/v1/responses", model="llama", input=items, instructions="Be brief.", max_output_tokens=9,
        text={"format": {"type": "json_schema", "name": "s", "schema": SCHEMA}}, store=False,
    )  # fmt: skip
    assert [turn.role for turn in request.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["id"] for call in request.messages[2].tool_calls or ()] == ["c1", "c2"]
    assert request.options["max_tokens"] == 9
    assert request.options["response_format"]["json_schema"]["schema"] == SCHEMA


def test_ollamas_options_are_ours(endpoint: Running) -> None:
    request = asked(
        endpoint, "/api/chat", model="llama:latest", format=SCHEMA,
        messages=[{"role": "user", "content": "look", "images": [PNG]}],
        options={"temperature": 0, "num_predict": 7, "num_ctx": 4096, "mirostat": 1},
    )  # fmt: skip
    assert {**request.options, "response_format": None} == {"temperature": 0, "max_tokens": 7, "response_format": None}
    assert isinstance(request.messages[0].content[1], Media)  # type: ignore[index]


def test_several_answers_of_a_model_that_gives_one_are_several_requests(endpoint: Running) -> None:
    before = len(endpoint.scripted.asked)
    found = post(
        endpoint, "/v1/chat/completions", {"model": "llama", "n": 3, "messages": [{"role": "user", "content": "a b"}]}
    )
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    assert found["usage"]["completion_tokens"] == 6
    assert len(endpoint.scripted.asked) - before == 3


def test_failure_of_one_of_several_answers_is_the_error(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from byzer_magic import errors

    answers = iter([[ChatChunk("a", finish="stop")], [errors.ContextTooLong("too long")], [ChatChunk("c")]])
    monkeypatch.setattr(endpoint.scripted, "answer", lambda _alias, _request: next(answers))
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(
            endpoint, "/v1/chat/completions", {"model": "llama", "n": 3, "messages": [{"role": "user", "content": "a"}]}
        )
    with caught.value as response:
        assert json.load(response)["error"]["code"] == "context_length_exceeded"
    endpoint.until(lambda: endpoint.scripted.open == 0)


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_that_is_too_long_has_the_words_that_anthropics_clients_look_for(
    endpoint: Running, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    from byzer_magic import errors

    monkeypatch.setattr(endpoint.scripted, "answer", lambda _alias, _request: [errors.ContextTooLong("9001 > 8192.")])
    body = {"model": "llama", "max_tokens": 5, "messages": [{"role": "user", "content": "a"}], "stream": stream}
    with pytest.raises(urllib.error.HTTPError) as caught:
        post(endpoint, "/v1/messages", body)
    with caught.value as response:
        error = json.load(response)["error"]
    assert error == {"type": "invalid_request_error", "message": "prompt is too long: 9001 > 8192."}


def test_role_of_a_developer_is_one_that_the_model_knows(endpoint: Running) -> None:
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    for model, role in (("llama", "system"), ("claude", "system"), ("qwen", "system"), ("gpt", "developer")):
        assert asked(endpoint, "/v1/chat/completions", model=model, messages=messages).messages[0].role == role
        assert asked(endpoint, "/v1/responses", model=model, input=messages).messages[0].role == role


def test_beta_features_reach_claude_only(endpoint: Running) -> None:
    body = {"max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    for model, sent in (("claude", "context-1m"), ("gpt", None), ("llama", None)):
        request = urllib.request.Request(
            f"{endpoint.url}/v1/messages",
            json.dumps({"model": model, **body}).encode(),
            {"content-type": "application/json", "anthropic-beta": "context-1m"},
        )
        urllib.request.urlopen(request, timeout=PATIENCE).close()
        got = endpoint.scripted.asked[-1][1].options.get("extra_headers", {})
        assert got.get("anthropic-beta") == sent


def test_names_of_ollamas_clients_lose_their_tag_only(endpoint: Running) -> None:
    messages = [{"role": "user", "content": "hi"}]
    with running(Scripted(**KINDS), served={"gpt:latest": "gpt", "other": "llama"}) as served:
        for model, alias in (("gpt:latest", "gpt"), ("other", "llama"), ("other:latest", "llama")):
            asked(served, "/api/chat", model=model, messages=messages)
            assert served.scripted.asked[-1][0] == alias
    asked(endpoint, "/api/chat", model="llama:latest", messages=messages)
    assert endpoint.scripted.asked[-1][0] == "llama"
