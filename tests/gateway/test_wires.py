"""The other endpoints, with the SDKs of OpenAI and Anthropic, and Ollama's wire by its own documentation."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai as sdk
import pytest

from tests.servers.audio_files import wav
from tests.servers.process import Process
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.ray, pytest.mark.engine]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOL = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FUNCTION = {"type": "function", "name": "weather", "parameters": TOOL["input_schema"]}


def post(endpoint: Process, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        endpoint.url + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        return response.read()


# ---- Anthropic's messages


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_messages_answer_at_once(anthropic: Any, model: str) -> None:
    answer = anthropic.messages.create(
        model=model, max_tokens=50, messages=[{"role": "user", "content": "hello world"}], stop_sequences=["END"]
    )
    assert [block.text for block in answer.content] == ["Echo: hello world"]
    assert answer.stop_reason == "end_turn"
    assert answer.usage.input_tokens > 0


@pytest.mark.parametrize("model", ["gpt", "claude", "llama"])
def test_messages_stream_events(anthropic: Any, model: str) -> None:
    with anthropic.messages.stream(
        model=model, max_tokens=8, system="Be brief.", messages=[{"role": "user", "content": "hello big world"}]
    ) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1
    assert answer.content[0].text
    assert answer.usage.output_tokens > 1


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_messages_show_thoughts(anthropic: Any, model: str) -> None:
    asked = [{"role": "user", "content": "think:hm, well"}]
    more = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if model == "claude" else {}
    with anthropic.messages.stream(model=model, max_tokens=2000, messages=asked, **more) as stream:
        answer = stream.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "hm, well"
    assert answer.content[0].signature == ("sig" if model == "claude" else "")
    turns = [*asked, {"role": "assistant", "content": answer.content}, {"role": "user", "content": "go on"}]
    again = anthropic.messages.create(model=model, max_tokens=2000, messages=turns, **more)
    assert again.content[-1].text == "Echo: go on"


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("streamed", [False, True])
def test_messages_call_tools_and_take_their_results(anthropic: Any, model: str, streamed: bool) -> None:
    asked = {
        "model": model, "max_tokens": 100, "tools": [TOOL], "tool_choice": {"type": "auto"},
        "messages": [{"role": "user", "content": "tool:weather"}],
    }  # fmt: skip
    if streamed:
        with anthropic.messages.stream(**asked) as stream:
            answer = stream.get_final_message()
    else:
        answer = anthropic.messages.create(**asked)
    [use] = answer.content
    assert (use.type, use.name, use.input, answer.stop_reason) == ("tool_use", "weather", {"city": "Paris"}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "18 degrees"}]}
    turns = [
        *asked["messages"],
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    again = anthropic.messages.create(**{**asked, "messages": turns})
    assert "18 degrees" in again.content[0].text


def test_local_model_calls_a_tool_over_anthropics_wire(anthropic: Any) -> None:
    answer = anthropic.messages.create(
        model="llama", max_tokens=60, tools=[TOOL], tool_choice={"type": "tool", "name": "weather"},
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
    )  # fmt: skip
    assert answer.stop_reason == "tool_use"
    assert answer.content[-1].name == "weather"
    assert isinstance(answer.content[-1].input["city"], str)


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_messages_see_images(anthropic: Any, model: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "what is this"}]
    answer = anthropic.messages.create(model=model, max_tokens=50, messages=[{"role": "user", "content": parts}])
    assert "image" in answer.content[0].text


def test_messages_have_anthropics_errors(anthropic: Any) -> None:
    import anthropic as claude  # here, since each worker imports all files

    asked = {"max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(claude.NotFoundError, match="Did you mean claude"):
        anthropic.messages.create(model="claud", **asked)
    with pytest.raises(claude.RateLimitError):
        anthropic.messages.create(model="gpt", max_tokens=10, messages=[{"role": "user", "content": "fault:429"}])
    with pytest.raises(claude.BadRequestError, match="document"):
        parts = [{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]
        anthropic.messages.create(model="gpt", max_tokens=10, messages=[{"role": "user", "content": parts}])


def test_tokens_are_estimated(anthropic: Any) -> None:
    short, long = (
        anthropic.messages.count_tokens(model="llama", messages=[{"role": "user", "content": "word " * count}])
        for count in (10, 1000)
    )
    assert 800 < long.input_tokens < 2000
    assert short.input_tokens < 50


# ---- OpenAI's responses


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_responses_answer_and_go_on(openai: Any, model: str) -> None:
    first = openai.responses.create(model=model, input="hello world", instructions="Be brief.", max_output_tokens=50)
    assert first.output_text.startswith("Echo: hello world")
    assert first.status == "completed"
    then = openai.responses.create(model=model, input="say:again", previous_response_id=first.id)
    assert then.output_text == "again"
    assert openai.responses.retrieve(then.id).output_text == "again"
    openai.responses.delete(then.id)
    with pytest.raises(sdk.NotFoundError):
        openai.responses.create(model=model, input="x", previous_response_id=then.id)


@pytest.mark.parametrize("model", ["gpt", "claude", "llama"])
def test_responses_stream_events(openai: Any, model: str) -> None:
    with openai.responses.stream(model=model, input="hello big world", max_output_tokens=16) as stream:
        events = list(stream)
    answer = events[-1].response
    assert answer.status in ("completed", "incomplete")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == answer.output_text != ""


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_responses_call_tools(openai: Any, model: str) -> None:
    with openai.responses.stream(model=model, input="tool:weather", tools=[FUNCTION]) as stream:
        answer = stream.get_final_response()
    [call] = answer.output
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "weather", {"city": "Paris"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
    again = openai.responses.create(model=model, input=[result], tools=[FUNCTION], previous_response_id=answer.id)
    assert "18 degrees" in again.output_text


# ---- the other endpoints of OpenAI


def test_completions_continue_several_prompts(openai: Any) -> None:
    answer = openai.completions.create(model="gpt", prompt=["one", "two"], echo=True, max_tokens=20)
    assert [choice.text for choice in answer.choices] == ["oneEcho: one", "twoEcho: two"]
    stream = openai.completions.create(model="gpt", prompt="one two", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "Echo: one two"


def test_speech_is_audio(openai: Any) -> None:
    sound = openai.audio.speech.create(model="tts", voice="nova", input="hello").read()
    assert sound[:3] in (b"ID3", b"\xff\xfb\x90") or sound[:2] == b"\xff\xf3"
    assert (
        openai.audio.speech.create(model="tts", voice="nova", input="hello", response_format="wav").read()[:4]
        == b"RIFF"
    )
    with pytest.raises(sdk.BadRequestError, match="nobody"):
        openai.audio.speech.create(model="tts", voice="nobody", input="hello")


def test_transcripts_have_every_format(openai: Any) -> None:
    sound = ("talk.wav", wav("hello world", 16000))
    plain = openai.audio.transcriptions.create(model="stt", file=sound)
    assert plain.text
    long = openai.audio.transcriptions.create(model="stt", file=sound, response_format="verbose_json")
    assert long.text == plain.text
    assert long.segments
    assert (
        openai.audio.transcriptions.create(model="stt", file=sound, response_format="text").strip()
        == plain.text.strip()
    )
    assert " --> " in openai.audio.transcriptions.create(model="stt", file=sound, response_format="srt")
    events = list(openai.audio.transcriptions.create(model="stt", file=sound, stream=True))
    assert events[-1].text == plain.text


def test_images_are_made(openai: Any) -> None:
    made = openai.images.generate(model="paint", prompt="a cat", size="1024x1024")
    assert base64.b64decode(made.data[0].b64_json)[:4] == b"\x89PNG"


def test_rerank_orders_documents(endpoint: Process) -> None:
    body = {
        "model": "rank",
        "query": "sky",
        "documents": ["grass is green", "the sky is blue"],
        "return_documents": True,
    }
    found = json.loads(post(endpoint, "/v1/rerank", body))
    assert found["results"][0]["document"]["text"] == "the sky is blue"
    assert len(found["results"]) == 2


def test_model_that_cannot_is_named(openai: Any) -> None:
    with pytest.raises(sdk.BadRequestError, match="emb does not support chat"):
        openai.chat.completions.create(model="emb", messages=[{"role": "user", "content": "hi"}])


# ---- Ollama's wire


def lines(data: bytes) -> Iterator[Any]:
    return map(json.loads, data.splitlines())


@pytest.mark.parametrize("model", ["gpt", "claude:latest"])
def test_ollama_chat_streams_lines(endpoint: Process, model: str) -> None:
    asked = {
        "model": model,
        "messages": [{"role": "user", "content": "hello big world"}],
        "options": {"num_predict": 50},
    }
    *pieces, last = lines(post(endpoint, "/api/chat", asked))
    assert "".join(piece["message"]["content"] for piece in pieces) == "Echo: hello big world"
    assert last["done"]
    assert last["done_reason"] == "stop"
    whole = json.loads(post(endpoint, "/api/chat", {**asked, "stream": False}))
    assert whole["message"]["content"] == "Echo: hello big world"


def test_ollama_chat_calls_tools(endpoint: Process) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": TOOL["input_schema"]}}
    asked = {"model": "gpt", "messages": [{"role": "user", "content": "tool:weather"}], "tools": [tool]}
    call, _last = lines(post(endpoint, "/api/chat", asked))
    [made] = call["message"]["tool_calls"]
    assert made["function"] == {"name": "weather", "arguments": {"city": "Paris"}}
    answered = [
        {"role": "assistant", "content": "", "tool_calls": [made]},
        {"role": "tool", "content": "18 degrees", "tool_name": "weather"},
    ]
    for message in answered:
        message.pop("id", None)
    for each in answered[0]["tool_calls"]:  # type: ignore[union-attr]
        each.pop("id", None)
    again = {**asked, "messages": [*asked["messages"], *answered], "stream": False}
    assert "18 degrees" in json.loads(post(endpoint, "/api/chat", again))["message"]["content"]


def test_ollama_lists_models_and_embeds(endpoint: Process) -> None:
    with urllib.request.urlopen(f"{endpoint.url}/api/tags", timeout=PATIENCE) as response:
        names = [model["name"] for model in json.load(response)["models"]]
    assert {"gpt", "llama"} <= {*names}
    found = json.loads(post(endpoint, "/api/embed", {"model": "emb", "input": ["a", "b"]}))
    assert len(found["embeddings"]) == 2
