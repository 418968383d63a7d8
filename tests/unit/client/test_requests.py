"""What a prompt means to a model, by what the model is for."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from byzer_magic.capabilities import Capability, needed_by, purpose
from byzer_magic.client.messages import to_messages
from byzer_magic.client.requests import request_for
from byzer_magic.errors import CommandError
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    Message,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

WAV = Media("audio/wav", b"RIFF\0\0\0\0WAVE")
PNG = Media("image/png", b"\x89PNG")
URL = f"data:audio/wav;base64,{base64.b64encode(WAV.data).decode()}"


def asked(capability: str, prompt: Any, media: Any = (), **options: Any) -> Request:
    return request_for(Capability(capability), to_messages(prompt, None, media), options)


def test_request_for_takes_plain_text_for_every_capability() -> None:
    assert asked("chat", "hi") == ChatRequest(messages=[Message("user", "hi")])
    assert asked("speak", "hi", voice="nova") == SpeakRequest(text="hi", options={"voice": "nova"})
    assert asked("image", "a cat") == ImageRequest(prompt="a cat")
    assert asked("embed", "a text") == EmbedRequest(texts=["a text"])
    assert asked("transcribe", "", [WAV]) == TranscribeRequest(audio=WAV)
    assert asked("transcribe", "names: Ann", [WAV]) == TranscribeRequest(audio=WAV, options={"prompt": "names: Ann"})


def test_request_for_reads_the_json_of_byzer_llm() -> None:
    speech = json.dumps({"input": "hello", "voice": "alloy", "response_format": "mp3"})
    assert asked("speak", speech) == SpeakRequest(text="hello", options={"voice": "alloy", "response_format": "mp3"})
    assert asked("speak", speech, voice="nova").options["voice"] == "nova", "what is given beside it wins"
    generated = json.dumps({"input": "a cat", "size": "1024x1024", "quality": "standard"})
    assert asked("image", generated) == ImageRequest(
        prompt="a cat", options={"size": "1024x1024", "quality": "standard"}
    )
    assert asked("transcribe", json.dumps({"audio": URL})) == TranscribeRequest(audio=WAV)
    assert asked("embed", '["a", "b"]') == EmbedRequest(texts=["a", "b"])
    ranked = json.dumps({"query": "q", "documents": ["a", "b"], "top_n": 1})
    assert asked("rerank", ranked) == RerankRequest(query="q", documents=["a", "b"], options={"top_n": 1})


def test_request_for_reads_a_list_of_images_and_texts_as_vision() -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG.data).decode()}"
    request = asked("chat", json.dumps([{"image": url}, {"text": "what is in this image?"}]))
    assert isinstance(request, ChatRequest)
    assert request.messages[-1].content == [PNG, {"type": "text", "text": "what is in this image?"}]
    assert needed_by(request) == {Capability.CHAT, Capability.VISION}


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[1,2]",
        '{"a": 1}',
        "[]",
        '[{"text": "x"}]',
        '{"input": ',
        "true",
        "[broken",
        '[{"image": "nginx:latest", "text": "x"}]',
        '[{"image": "/etc/a.png"}]',
        '{"input": 5}',
        pytest.param("[" * 100_000, id="brackets"),
        '[{"image": "https://h/a.png", "price": 3}]',
        '[{"image": "https://h/a.png", "text": 3}]',
        "[{}]",
    ],
)
def test_request_for_leaves_other_json_as_text(text: str) -> None:
    assert asked("chat", text) == ChatRequest(messages=[Message("user", text)])
    assert asked("speak", text) == SpeakRequest(text=text)
    assert asked("image", text) == ImageRequest(prompt=text)
    assert asked("embed", text) == EmbedRequest(texts=[text])


def test_request_for_image_takes_an_image_to_change() -> None:
    assert asked("image", "add a hat", [PNG]) == ImageRequest(prompt="add a hat", images=[PNG])


def test_request_for_names_what_the_prompt_lacks() -> None:
    with pytest.raises(CommandError, match="has no audio"):
        asked("transcribe", "hello")
    with pytest.raises(CommandError, match="ranks documents against a query"):
        asked("rerank", "hello")


def test_purpose_prefers_chat() -> None:
    assert purpose(frozenset(Capability)) == Capability.CHAT
    assert purpose(frozenset({Capability.EMBED, Capability.RERANK})) == Capability.EMBED


def test_to_messages_takes_openai_parts_and_bare_objects() -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG.data).decode()}"
    parts = ["look", {"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "x"}, PNG.data]
    [turn] = to_messages([{"role": "user", "content": parts}])
    assert turn.content == [{"type": "text", "text": "look"}, PNG, {"type": "text", "text": "x"}, PNG]


def test_to_messages_decodes_base64_parts() -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG.data).decode()}"
    clip = {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV.data).decode(), "format": "wav"}}
    look = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    far = {"type": "image_url", "image_url": {"url": "https://host/a.png", "detail": "low"}}
    [turn] = to_messages([{"role": "user", "content": [look, clip, far]}])
    assert turn.content == [Media("image/png", PNG.data, detail="low"), WAV, far]


def test_request_for_vision_keeps_image_and_text_of_one_part() -> None:
    request = asked("chat", json.dumps([{"image": "https://host/a.png", "text": "what is it?"}]))
    assert isinstance(request, ChatRequest)
    assert request.messages[-1].content == [
        Media("image", url="https://host/a.png"),
        {"type": "text", "text": "what is it?"},
    ]


def test_request_for_chat_reads_earlier_turns_as_vision_and_leaves_tool_answers() -> None:
    seen = json.dumps([{"image": "https://host/a.png"}])
    turns = [Message("user", seen), Message("assistant", seen), Message("tool", seen, tool_call_id="1")]
    request = request_for(Capability.CHAT, turns, {})
    assert isinstance(request, ChatRequest)
    assert request.messages == [Message("user", [Media("image", url="https://host/a.png")]), *turns[1:]]


def test_request_for_image_takes_the_url_of_an_image() -> None:
    parts = [{"type": "text", "text": "a hat"}, {"type": "image_url", "image_url": {"url": "https://host/a.png"}}]
    assert asked("image", [{"role": "user", "content": parts}]) == ImageRequest(
        prompt="a hat", images=[Media("image", url="https://host/a.png")]
    )


@pytest.mark.parametrize(
    ("capability", "prompt", "found", "words"),
    [
        ("speak", "hi", [PNG], "does not accept images"),
        ("embed", "hi", [WAV], "does not accept audio"),
        ("rerank", "hi", [PNG], "does not accept images"),
        ("transcribe", "", [PNG], "does not accept images"),
        ("image", "a cat", [WAV], "does not accept audio"),
        ("transcribe", "", [WAV, WAV], "has 2"),
        ("transcribe", json.dumps({"audio": URL}), [WAV], "has 2"),
        ("transcribe", '{"audio": "/etc/talk.wav"}', [], "has no audio"),
        ("transcribe", '{"audio": 5}', [], "has no audio"),
        ("rerank", '{"query": "q", "documents": "abc"}', [], "ranks documents"),
    ],
)
def test_request_for_refuses_what_it_would_leave_out(
    capability: str, prompt: str, found: list[Media], words: str
) -> None:
    with pytest.raises(CommandError, match=words):
        asked(capability, prompt, found)


@pytest.mark.parametrize(
    ("capabilities", "first"),
    [("speak embed image", "speak"), ("image transcribe", "image"), ("embed transcribe", "transcribe"), ("", "chat")],
)
def test_purpose_follows_the_order_of_the_table(capabilities: str, first: str) -> None:
    assert purpose(frozenset(map(Capability, capabilities.split()))) == first


def test_to_messages_attaches_media_and_keeps_the_rest_of_the_turn() -> None:
    [turn] = to_messages([Message("tool", "see", tool_call_id="1")], None, [PNG])
    assert turn == Message("tool", [{"type": "text", "text": "see"}, PNG], tool_call_id="1")


def test_request_for_reads_no_file_for_a_path_in_json() -> None:
    part = {"type": "image_url", "image_url": {"url": "/etc/hostname"}}
    request = asked("image", [{"role": "user", "content": [{"type": "text", "text": "a hat"}, part]}])
    assert request == ImageRequest(prompt="a hat")
