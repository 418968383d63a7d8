"""Parts of a conversation that every provider with an API of its own must convert."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

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
    text = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": text}}
