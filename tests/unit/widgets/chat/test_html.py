"""A conversation as HTML and text."""

from __future__ import annotations

from byzer_magic import media
from byzer_magic.client.messages import to_messages
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import using
from byzer_magic.results import ChatResult
from byzer_magic.types import Media, Message
from byzer_magic.widgets.chat import html as chat_html
from byzer_magic.widgets.chat.turns import Turn

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


def answered(prompt: str, text: str) -> Turn:
    turn = Turn(Message("user", prompt), "m")
    turn.take(ChatResult(text=text, model="m"))
    return turn


def test_transcript_reads_without_a_kernel() -> None:
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


def test_of_turn_says_why_a_session_does_not_keep_it() -> None:
    found = Turn(Message("user", "Hi"), "m")
    found.take(ChatResult(text="No, ", model="m", finish="content_filter"))
    assert "The session does not keep this turn: the provider's filter" in chat_html.of_turn(found).footer


def test_transcript_of_no_messages() -> None:
    with using("zh"):
        found = chat_html.transcript([], "", "m")
    assert "还没有消息" in found["text/html"]
    assert "还没有消息" in found["text/plain"]


def test_prompt_html_names_remote_attachments() -> None:
    page = chat_html.prompt_html(Message("user", [Media("image", url="https://e.org/x.png?<")]))
    assert "https://e.org/x.png?&lt;" in page
    assert "<img" not in page
