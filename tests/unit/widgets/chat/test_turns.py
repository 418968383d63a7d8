"""A chat window's conversation: what a session has of it, and back."""

from __future__ import annotations

from byzer_magic.errors import BadRequest
from byzer_magic.results import ChatResult, SpeakResult
from byzer_magic.types import Message
from byzer_magic.widgets.chat import turns as chat_turns
from byzer_magic.widgets.chat.turns import Conversation, Turn


def turns_of(*texts: str) -> list[Message]:
    return [Message("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]


def answered(prompt: str, text: str) -> Turn:
    turn = Turn(Message("user", prompt), "m")
    turn.take(ChatResult(text=text, model="m"))
    return turn


def test_conversation_restores_a_session() -> None:
    messages = [Message("system", "be brief"), *turns_of("a", "b", "c", "d")]
    talk = Conversation(messages)
    assert (talk.system, [turn.text for turn in talk.turns]) == ("be brief", ["b", "d"])
    assert talk.messages() == messages


def test_conversation_does_not_resend_unanswered_prompts() -> None:
    talk = Conversation()
    failed = Turn(Message("user", "bad"), "m", error=BadRequest("no"))
    speech = Turn(Message("user", "speak"), "voice")
    speech.take(SpeakResult(model="voice", data=b"RIFF", mime="audio/wav", text="speak"))
    talk.turns = [failed, answered("a", "b"), speech]
    assert talk.asking(Message("user", "c")) == [*turns_of("a", "b"), Message("user", "c")]


def test_conversation_does_not_resend_what_no_provider_accepts() -> None:
    talk = Conversation()
    talk.turns = [answered("a", "one"), answered("b", " \n"), answered("c", "three")]
    assert [part.content for part in talk.messages()] == ["a", "one", "c", "three"]


def test_conversation_read_keeps_known_turns() -> None:
    talk = Conversation()
    first = answered("a", "b")
    talk.turns = [Turn(Message("user", "bad"), "m", error=BadRequest("no")), first]
    talk.read(turns_of("a", "b", "c", "d"))
    assert [turn.text for turn in talk.turns] == ["", "b", "d"]
    assert talk.turns[1] is first
    talk.read([])
    assert [turn.prompt.content for turn in talk.turns] == ["bad"]


def test_conversation_truncate_drops_later_turns() -> None:
    talk = Conversation(turns_of("a", "b", "c", "d"))
    removed = talk.truncate(talk.turns[0].number)
    assert removed is not None
    assert talk.turns == []
    assert talk.truncate(10**9) is None


def test_conversation_keeps_answers_without_prompts() -> None:
    messages = [Message("assistant", "hello"), *turns_of("a", "b"), Message("tool", "42"), Message("assistant", "c")]
    talk = Conversation(messages)
    assert [turn.text for turn in talk.turns] == ["hello", "b\n\n42\n\nc"]
    assert talk.messages()[1:] == messages


def test_as_cells_repeats_the_conversation() -> None:
    turns = [answered("first {{x}}", "b"), answered("second", "d")]
    cells = chat_turns.as_cells(turns, "be brief", "m", "my talk")
    assert cells[0] == "%%chat m --session 'my talk' --reset --system 'be brief'\nfirst \\{{x}}"
    assert cells[1] == "%%chat m --session 'my talk'\nsecond"


def test_as_markdown_keeps_answers_as_written() -> None:
    text = chat_turns.as_markdown([answered("a", "**b**")], "", "m")
    assert text == "**You**\n\na\n\n---\n\n**m**\n\n**b**"
