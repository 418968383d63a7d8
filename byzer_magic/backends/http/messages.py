"""Parts of a conversation that every provider with a wire of its own must put into other words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from byzer_magic.errors import BadRequest
from byzer_magic.media import image
from byzer_magic.types import Media, Message


def text_of(turn: Message) -> str:
    """Return the text of a turn, without its pictures."""
    if not isinstance(turn.content, list):
        return turn.content or ""
    return "\n".join(str(part.get("text", "")) for part in turn.content if isinstance(part, dict))


def media_of(part: dict[str, Any] | Media) -> Media | None:
    """Return the picture or sound that a part is, in our form or in OpenAI's; None for anything else.

    Raises:
        BadRequest: it gives no address; a path is none, for whoever wrote the request must not have files read here.
    """
    if isinstance(part, Media):
        return part
    if part.get("type") != "image_url":
        return None
    address = part["image_url"]
    url = address["url"] if isinstance(address, Mapping) else address
    if not str(url).lower().startswith(("data:", "http://", "https://")):
        raise BadRequest("An image_url is no address.", "It begins with https:, http: or data:; give files as Media.")
    return image(url)


def tool_call(index: int, name: str, call_id: str, arguments: Any = None) -> dict[str, Any]:
    """Return a call of a tool as OpenAI's stream begins it; with `arguments`, the whole of it."""
    text = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": text}}
