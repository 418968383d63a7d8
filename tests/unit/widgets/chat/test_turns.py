"""A chat window's conversation: what a session has of it, and back."""

from __future__ import annotations

from byzer_magic import media
from byzer_magic.client.requests import to_messages
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import using
from byzer_magic.results import ChatResult, SpeakResult
from byzer_magic.types import Media, Message
from byzer_magic.widgets.chat import html as chat_html, turns as chat_turns
from byzer_magic.widgets.chat.turns import Conversation, Turn

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def said(*texts: str) -> list[Message]:
    return [Message("assistant" if number % 2 else "user", text) for number, text in enumerate(texts)]


def answered(prompt: str, text: str) -> Turn:
    turn = Turn(Message("user", prompt), "m")
    turn.take(ChatResult(text=text, model="m"))
    return turn


def test_a_session_and_back() -> None:
    messages = [Message("system", "be brief"), *said("a", "b", "c", "d")]
    talk = Conversation(messages)
    assert (talk.system, [turn.text for turn in talk.turns]) == ("be brief", ["b", "d"])
    assert talk.messages() == messages


def test_what_was_not_answered_is_not_sent_again() -> None:
    talk = Conversation()
    failed = Turn(Message("user", "bad"), "m", error=BadRequest("no"))
    spoken = Turn(Message("user", "speak"), "voice")
    spoken.take(SpeakResult(model="voice", data=b"RIFF", mime="audio/wav", text="speak"))
    talk.turns = [failed, answered("a", "b"), spoken]
    assert talk.asking(Message("user", "c")) == [*said("a", "b"), Message("user", "c")]


def test_another_cell_goes_on_and_what_is_known_stays() -> None:
    talk = Conversation()
    first = answered("a", "b")
    talk.turns = [Turn(Message("user", "bad"), "m", error=BadRequest("no")), first]
    talk.read(said("a", "b", "c", "d"))
    assert [turn.text for turn in talk.turns] == ["", "b", "d"]
    assert talk.turns[1] is first
    talk.read([])
    assert [turn.prompt.content for turn in talk.turns] == ["bad"]


def test_cutting_drops_all_that_followed() -> None:
    talk = Conversation(said("a", "b", "c", "d"))
    cut = talk.truncate(talk.turns[0].number)
    assert cut is not None
    assert talk.turns == []
    assert talk.truncate(10**9) is None


def test_an_answer_without_a_prompt_and_a_tool_are_kept() -> None:
    messages = [Message("assistant", "hello"), *said("a", "b"), Message("tool", "42"), Message("assistant", "c")]
    talk = Conversation(messages)
    assert [turn.text for turn in talk.turns] == ["hello", "b\n\n42\n\nc"]
    assert talk.messages()[1:] == messages


def test_cells_ask_the_same_again() -> None:
    turns = [answered("first {{x}}", "b"), answered("second", "d")]
    cells = chat_turns.as_cells(turns, "be brief", "m", "my talk")
    assert cells[0] == "%%chat m --session 'my talk' --reset --system 'be brief'\nfirst \\{{x}}"
    assert cells[1] == "%%chat m --session 'my talk'\nsecond"


def test_markdown_keeps_the_answer_as_it_was() -> None:
    text = chat_turns.as_markdown([answered("a", "**b**")], "", "m")
    assert text == "**You**\n\na\n\n---\n\n**m**\n\n**b**"


def test_the_transcript_reads_without_a_kernel() -> None:
    (prompt,) = to_messages("look <b>", None, [media.image(PNG)])
    turn = Turn(prompt, "m", error=BadRequest("It is refused.", "Ask another way."))
    found = chat_html.transcript([answered("a", "**b** <script>"), turn], "sys", "m")
    assert "<strong>b</strong> &lt;script&gt;" in found["text/html"]
    assert "look &lt;b&gt;" in found["text/html"]
    assert 'src="data:image/png;base64,' in found["text/html"]
    assert "Ask another way." in found["text/html"]
    assert "You: [image/png] look <b>" in found["text/plain"]
    assert "m: **b** <script>" in found["text/plain"]
    assert "It is refused.\nAsk another way." in found["text/plain"]


def test_an_empty_transcript_says_so() -> None:
    with using("zh"):
        found = chat_html.transcript([], "", "m")
    assert "还没有消息" in found["text/html"]
    assert "还没有消息" in found["text/plain"]


def test_what_is_attached_is_named_when_it_is_elsewhere() -> None:
    page = chat_html.prompt_html(Message("user", [Media("image", url="https://e.org/x.png?<")]))
    assert "https://e.org/x.png?&lt;" in page
    assert "<img" not in page
