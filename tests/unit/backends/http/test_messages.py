"""Converting parts of conversations."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.http.messages import media_of, sendable, tool_call
from byzer_magic.types import Media, Message


def test_media_of_reads_openai_parts_and_ours() -> None:
    url = "https://host/a.png"
    assert media_of({"type": "image_url", "image_url": {"url": url}}).url == url  # type: ignore[union-attr]
    assert media_of(Media("audio/wav", b"RIFF")) == Media("audio/wav", b"RIFF")
    assert media_of({"type": "text", "text": "hi"}) is None


@pytest.mark.parametrize("path", ["/etc/hostname", "file:///etc/hostname"])
def test_media_of_reads_no_files(path: str) -> None:
    for image in (path, {"url": path}):
        with pytest.raises(errors.BadRequest, match="not a URL"):
            media_of({"type": "image_url", "image_url": image})


def test_sendable_leaves_a_conversation_without_blanks_as_it_is() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        Message("system", "Be brief."),
        Message("user", [{"type": "text", "text": "a"}, Media("image/png", b"\x89PNG")]),
        Message("assistant", None, tool_calls=[call]),
        Message("tool", "", tool_call_id="1"),
        Message("assistant", "b "),
        Message("user", " "),
    ]
    assert sendable(turns) == turns


def test_sendable_joins_the_prompts_around_a_blank_response() -> None:
    image = Media("image/png", b"\x89PNG")
    turns = [
        Message("user", [{"type": "text", "text": "\n"}, image]),
        Message("assistant", [{"type": "text", "text": " "}]),
        Message("user", "what is it?"),
    ]
    assert sendable(turns) == [Message("user", [image, {"type": "text", "text": "what is it?"}])]
    assert sendable([Message("assistant", ""), Message("user", "a")]) == [Message("user", "a")]


@pytest.mark.parametrize("arguments", [{"city": "Bern"}, '{"city": "Bern"}'])
def test_tool_call_has_its_arguments_as_text_once(arguments: object) -> None:
    assert tool_call(0, "weather", "1", arguments)["function"]["arguments"] == '{"city": "Bern"}'
