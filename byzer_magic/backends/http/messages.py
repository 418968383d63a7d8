"""Parts of a conversation that every provider with an API of its own must convert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic.backends.http.tool_calls import as_text
from byzer_magic.errors import BadRequest
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import image
from byzer_magic.types import ChatChunk, Media, Message


def text_of(turn: Message) -> str:
    """Return the text of a turn, without its images.

    Example:
        >>> text_of(Message("user", [{"type": "text", "text": "What is this?"}, Media("image/png", b"...")]))
        'What is this?'
    """
    if not isinstance(turn.content, list):
        return turn.content or ""
    return "\n".join(str(part.get("text", "")) for part in turn.content if isinstance(part, dict))


def sendable(turns: Sequence[Message]) -> list[Message]:
    r"""Return a conversation without its blank texts, and without the model's turns that have nothing else.

    Most APIs refuse them: https://platform.claude.com/docs/en/api/errors, for example. The user's turns that then
    follow each other become one, since roles must alternate. The last turn stays as it is.

    Example:
        >>> turns = [Message("user", "Hi"), Message("assistant", " "), Message("user", "Are you there?")]
        >>> [turn.content for turn in sendable(turns)]
        ['Hi\n\nAre you there?']
    """
    found: list[Message] = []
    dropped = False
    for position, turn in enumerate(turns):
        lean = turn if position == len(turns) - 1 or turn.role == "tool" else _without_blanks(turn)
        if not (lean.content or lean.tool_calls) and lean.role == "assistant" and lean is not turn:
            dropped = True
            continue
        if dropped and found and found[-1].role == lean.role == "user":
            lean = msgspec.structs.replace(lean, content=_joined(found.pop().content, lean.content))
        found.append(lean)
        dropped = False
    return found


def _without_blanks(turn: Message) -> Message:
    content = turn.content
    if isinstance(content, list):
        content = [part for part in content if not is_blank(part)]
    elif content is not None and not content.strip():
        content = None
    return turn if content == turn.content and content else msgspec.structs.replace(turn, content=content or None)


def is_blank(part: Any) -> bool:
    """Return whether a part of a message is a text of white space only."""
    text = part.get("text") if isinstance(part, Mapping) and part.get("type", "text") == "text" else None
    return isinstance(text, str) and not text.strip()


def _joined(first: Any, second: Any) -> Any:
    if not (first and second):
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    parts = [
        content if isinstance(content, list) else [{"type": "text", "text": content}] for content in (first, second)
    ]
    return [*parts[0], *parts[1]]


def media_of(part: dict[str, Any] | Media) -> Media | None:
    """Return a part that is an image or audio, in our form or in OpenAI's, as Media; None for any other.

    Raises:
        BadRequest: an `image_url` is not a URL. Paths are not accepted: a request must not have files read here.

    Example:
        >>> media_of({"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}).url
        'https://example.com/cat.png'
        >>> media_of({"type": "text", "text": "What is this?"}) is None
        True
    """
    if isinstance(part, Media):
        return part
    if part.get("type") != "image_url":
        return None
    url = part["image_url"]
    url = url["url"] if isinstance(url, Mapping) else url
    if not str(url).lower().startswith(("data:", "http://", "https://")):
        raise BadRequest(
            _("An image_url in the request is not a URL."),
            _("Use a URL that starts with https:, http: or data:, or pass the file as Media."),
        )
    return image(url)


def with_request_id(chunk: ChatChunk, request_id: str | None) -> ChatChunk:
    """Return a chunk with the provider's ID of the request, which its support asks for.

    Example:
        >>> with_request_id(ChatChunk(finish="stop"), "req_1").extra
        {'request_id': 'req_1'}
    """
    if not request_id:
        return chunk
    return msgspec.structs.replace(chunk, extra={**(chunk.extra or {}), "request_id": request_id})


def tool_call(index: int, name: str, call_id: str, arguments: Any = None) -> dict[str, Any]:
    """Return a tool call as the first delta of OpenAI's stream; with `arguments`, the complete call.

    Example:
        >>> tool_call(0, "weather", "call_1", {"city": "Paris"})["function"]
        {'name': 'weather', 'arguments': '{"city": "Paris"}'}
    """
    function = {"name": name, "arguments": as_text(arguments)}
    return {"index": index, "id": call_id, "type": "function", "function": function}
