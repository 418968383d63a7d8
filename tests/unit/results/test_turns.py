"""What a session keeps; which of it providers accept is tested in tests/providers/test_conversations.py."""

from __future__ import annotations

from byzer_magic.results import ChatResult, SpeakResult, turns
from byzer_magic.types import Message

PROMPT = [Message("user", "hi")]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_kept_has_the_text_as_it_came() -> None:
    part = ChatResult(model="m", text=" One, ", tool_calls=[CALL], interrupted=True)
    assert turns.kept(PROMPT, part) == [*PROMPT, Message("assistant", " One, ")]
    assert turns.why_not(part) == ""


def test_kept_is_none_for_what_cannot_be_sent_again() -> None:
    reasons = {
        "has no text": ChatResult(model="m", text="\n\n", reasoning="Hm."),
        "is a tool call": ChatResult(model="m", text="", tool_calls=[CALL]),
        "filter stopped": ChatResult(model="m", text="I ", finish="content_filter"),
    }
    for words, result in reasons.items():
        assert turns.kept(PROMPT, result) is None
        assert words in turns.why_not(result)


def test_kept_is_none_for_what_is_no_chat() -> None:
    spoken = SpeakResult(model="m", data=b"", mime="audio/wav", text="hi")
    assert turns.kept(PROMPT, spoken) is None
    assert turns.why_not(spoken) == ""
