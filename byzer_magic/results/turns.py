"""What a session keeps of a turn: only what every provider accepts as part of the next request.

Providers refuse a conversation with blank texts, with tool calls that have no results, and often with a turn that their
filter has stopped: kept, it would end the session. So a turn is kept with the text of its response, also of a part of
it, or not at all; the prompt is then not kept either, since roles must alternate.
"""

from __future__ import annotations

from collections.abc import Sequence

from byzer_magic.i18n import gettext as _
from byzer_magic.results.results import ChatResult, Result
from byzer_magic.types import Message

LAST_CHARACTERS = 60
"""Characters of a session's last message that are listed."""


def replies(result: Result) -> list[Message]:
    r"""Return what follows the prompt in a session; empty where the turn is not kept.

    Example:
        >>> [turn.content for turn in replies(ChatResult(model="m", text="Hello!"))]
        ['Hello!']
        >>> replies(ChatResult(model="m", text=" \n"))
        []
    """
    if not isinstance(result, ChatResult) or why_not(result):
        return []
    return [Message("assistant", result.text)]


def kept(messages: Sequence[Message], result: Result) -> list[Message] | None:
    """Return a session with a turn: its messages up to the prompt, and the response; None where it is not kept."""
    found = replies(result)
    return [*messages, *found] if found else None


def why_not(result: Result) -> str:
    """Return why a session does not keep a chat's turn, in one line; empty where it does, and for other results."""
    if not isinstance(result, ChatResult):
        return ""
    if result.finish == "content_filter":
        return _("The session does not keep this turn: the provider's filter stopped the response.")
    if result.text.strip():
        return ""
    if result.tool_calls:
        return _("The session does not keep this turn: the response is a tool call, and its result is missing.")
    return _("The session does not keep this turn: the response has no text.")


def last_words(messages: Sequence[Message]) -> str:
    """Return how the last message begins; empty where it has no text.

    Example:
        >>> last_words([Message("user", "Why?"), Message("assistant", "Because.")])
        'Because.'
    """
    return words_of(messages[-1]) if messages else ""


def words_of(message: Message, most: int = LAST_CHARACTERS) -> str:
    """Return how the text of a message begins, in one line.

    Args:
        message: of a conversation.
        most: characters.
    """
    content = message.content
    if isinstance(content, list):
        content = " ".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return " ".join((content or "")[: 4 * most].split())[:most]
