"""A prompt as messages: a text, one message, or a conversation in OpenAI's form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.client import arguments
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import Media, Message

Prompt = str | Mapping[str, Any] | Message | Iterable[Mapping[str, Any] | Message]
"""A text, a message, or a conversation in OpenAI's form."""

_ASKING = ("user", "system", "developer")
"""Roles whose messages have a content; an assistant's may have tool calls instead."""
_HINT = _('Use {"role": "user", "content": "..."}.')


def to_messages(prompt: Prompt, system: str | None = None, attached: Sequence[Media] = ()) -> list[Message]:
    """Return a prompt as messages.

    Args:
        prompt: a text, a message, or messages in OpenAI's form.
        system: a system prompt, put before the conversation.
        attached: images and audio, which become parts of the last message.

    Raises:
        CommandError: the prompt is none of these; the message that is wrong is named by its index.

    Example:
        >>> [turn.role for turn in to_messages("hello", system="Be brief.")]
        ['system', 'user']
    """
    turns = _turns(prompt)
    if attached and turns:
        turns[-1] = _with_media(turns[-1], attached)
    before = "" if system is None else arguments.text(system, "system")
    return [Message("system", before), *turns] if before else turns


def _turns(prompt: Any) -> list[Message]:
    if isinstance(prompt, Mapping | Message) or _is_model(prompt):
        prompt = [prompt]
    if arguments.is_one_text(prompt) or not isinstance(prompt, Iterable):
        return [Message("user", arguments.text(prompt, "prompt"))]
    if getattr(prompt, "ndim", 1) != 1:
        raise CommandError(
            _("prompt is a {type} with several columns.", type=type(prompt).__name__),
            _('For a conversation, pass frame.to_dict("records"); for several prompts, make one call for each.'),
        )
    return [message(item, f"messages[{index}]") for index, item in enumerate(prompt)]


def message(item: Any, name: str) -> Message:
    """Return one turn of a conversation, checked.

    Args:
        item: a mapping with a role and a content, an object of an SDK, or a `Message`.
        name: its place, for errors.

    Raises:
        CommandError: it is not a message, or has a value that cannot be sent.

    Example:
        >>> message({"role": "user", "content": "hello"}, "messages[0]").content
        'hello'
    """
    if _is_model(item):
        item = item.model_dump(exclude_none=True)
    found = msgspec.structs.asdict(item) if isinstance(item, Message) else item
    if not isinstance(found, Mapping):
        raise CommandError(
            _("{name} is {value}, which is not a message.", name=name, value=arguments.shown(item)),
            _('Use {"role": "user", "content": "..."}; for several prompts, make one call for each.'),
        )
    if found.get("role") is None:
        raise CommandError(_("A message has no role: {message}.", message=str(dict(found))[:80]), _HINT)
    role = arguments.text(found["role"], f"{name}.role")
    if isinstance(item, Mapping) and role in _ASKING and found.get("content", "") is None:  # a missing cell
        arguments.text(None, f"{name}.content")
    known = [field for field in found if field in _FIELDS and not _is_absent(found, field, role)]
    return Message(**{field: _FIELDS[field](found[field], f"{name}.{field}") for field in known})


def _is_absent(found: Mapping[str, Any], field: str, role: str) -> bool:
    """Return whether a message has no such field; in a DataFrame of messages, every row has all, some as NaN."""
    value = found.get(field)
    if field == "content" and (role in _ASKING or arguments.is_missing(found.get("tool_calls"))):
        return value is None
    return arguments.is_missing(value)


def _is_model(item: Any) -> bool:
    """Return whether this is an object of pydantic's, such as an answer of OpenAI's SDK that is kept as a turn."""
    return callable(getattr(item, "model_dump", None)) and not isinstance(item, type)


def _content(value: Any, name: str) -> Any:
    if isinstance(value, Media):
        return [_part(value, name)]
    if arguments.is_one_text(value) or isinstance(value, Mapping):
        return arguments.text(value, name)
    if not isinstance(value, Iterable):
        return [_part(value, name)]
    return [_part(part, f"{name}[{index}]") for index, part in enumerate(value)]


def _part(part: Any, name: str) -> Any:
    """Return a part of a message: base64 media as bytes, other media objects as Media."""
    if isinstance(part, str) or arguments.is_missing(part):
        return {"type": "text", "text": arguments.text(part, name)}
    if not isinstance(part, Mapping):
        if isinstance(part, Media) and not part.data:
            return part
        return media.audio(part) if isinstance(part, Media) and not part.is_image else media.image(part)
    part = arguments.plain(part, name)
    if part.get("type") == "text":
        part["text"] = arguments.text(part.get("text"), f"{name}.text")
    image_url, input_audio = part.get("image_url"), part.get("input_audio")
    if isinstance(input_audio, Mapping) and "data" in input_audio:
        return media.audio(f"data:audio/{input_audio.get('format', 'wav')};base64,{input_audio['data']}")
    url = image_url.get("url") if isinstance(image_url, Mapping) else image_url
    if not (isinstance(url, str) and url.startswith("data:")):
        return part
    detail = image_url.get("detail", "") if isinstance(image_url, Mapping) else ""
    return msgspec.structs.replace(media.image(url), detail=detail)


def _tool_calls(value: Any, name: str) -> list[dict[str, Any]]:
    found = arguments.plain(value, name)
    if not isinstance(found, list) or not all(isinstance(call, dict) for call in found):
        raise CommandError(_("{name} is not a list of tool calls.", name=name), _("Pass result.tool_calls."))
    return found


_FIELDS: dict[str, Callable[[Any, str], Any]] = {
    "role": arguments.text,
    "content": _content,
    "name": arguments.text,
    "tool_calls": _tool_calls,
    "tool_call_id": arguments.text,
}


def _with_media(turn: Message, attached: Sequence[Media]) -> Message:
    text = [{"type": "text", "text": turn.content}] if isinstance(turn.content, str) and turn.content else []
    parts = turn.content if isinstance(turn.content, list) else text
    return msgspec.structs.replace(turn, content=[*parts, *attached])
