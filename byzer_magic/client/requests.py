"""What a prompt means to a model: the request that fits what the model is for.

People write text. byzer-llm's notebooks also put JSON into the last user message, where a model speaks, draws, listens
or sees; these shapes, and no others, are understood:

    speak       {"input": "hello", "voice": "alloy", "response_format": "mp3"}
    image       {"input": "a cat", "size": "1024x1024", "quality": "standard"}
    transcribe  {"audio": "data:audio/mp3;base64,..."}
    embed       ["one text", "another text"]
    rerank      {"query": "...", "documents": ["...", "..."]}
    vision      [{"image": "data:image/png;base64,..."}, {"text": "what is in this image?"}]

A picture or sound in JSON is a data: or http(s) address, never a path: a prompt that was pasted must read no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.capabilities import Capability
from byzer_magic.errors import CommandError
from byzer_magic.types import (
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    Message,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

Options = dict[str, Any]


def to_messages(
    prompt: str | Sequence[Mapping[str, Any] | Message], system: str | None = None, attached: Sequence[Media] = ()
) -> list[Message]:
    """Return a prompt, or messages in OpenAI form, as messages; `attached` become parts of the last one.

    Raises:
        CommandError: a message has no role.
    """
    if isinstance(prompt, str):
        turns = [Message("user", prompt)]
    else:
        turns = [item if isinstance(item, Message) else _message(item) for item in prompt]
    if attached and turns:
        turns[-1] = _with_media(turns[-1], attached)
    return [Message("system", system), *turns] if system else turns


def _with_media(turn: Message, attached: Sequence[Media]) -> Message:
    text = [{"type": "text", "text": turn.content}] if isinstance(turn.content, str) and turn.content else []
    parts = turn.content if isinstance(turn.content, list) else text
    return msgspec.structs.replace(turn, content=[*parts, *attached])


def _message(item: Mapping[str, Any]) -> Message:
    if "role" not in item:
        raise CommandError(f"A message has no role: {str(item)[:80]}.", 'Use {"role": "user", "content": "..."}.')
    known = {name: item[name] for name in Message.__struct_fields__ if item.get(name) is not None}
    if isinstance(known.get("content"), list):
        known["content"] = [_part(part) for part in known["content"]]
    return Message(**known)


def _part(part: Any) -> Any:
    """Return a part of a message; pictures and sounds in base64 as their bytes, and bare objects as what they are."""
    if isinstance(part, str):
        return {"type": "text", "text": part}
    if not isinstance(part, Mapping):
        return part if isinstance(part, Media) else media.image(part)
    picture, sound = part.get("image_url"), part.get("input_audio")
    if isinstance(sound, Mapping) and "data" in sound:
        return media.audio(f"data:audio/{sound.get('format', 'wav')};base64,{sound['data']}")
    url = picture.get("url") if isinstance(picture, Mapping) else picture
    if not (isinstance(url, str) and url.startswith("data:")):
        return dict(part)
    detail = picture.get("detail", "") if isinstance(picture, Mapping) else ""
    return msgspec.structs.replace(media.image(url), detail=detail)


def purpose(capabilities: frozenset[Capability]) -> Capability:
    """Return what a model that can do these is asked for by a plain prompt."""
    order = ("chat", "speak", "image", "transcribe", "embed", "rerank")
    return next((Capability(name) for name in order if name in capabilities), Capability.CHAT)


def request_for(
    capability: Capability,
    messages: Sequence[Message],
    options: Options,
    *,
    stream: bool = True,
    timeout: float | None = None,
) -> Request:
    """Return a conversation as a request for a capability.

    Raises:
        CommandError: what the capability needs is not in it (audio to transcribe, documents to rank).

    Example:
        >>> request_for(Capability.SPEAK, to_messages("hello"), {"voice": "nova"})
        SpeakRequest(text='hello', options={'voice': 'nova'}, timeout=None)
    """
    if capability == Capability.CHAT:
        turns = [seeing(turn) for turn in messages]
        return ChatRequest(messages=turns, options=options, stream=stream, timeout=timeout)
    text, found = _content(messages)
    _refuse_surplus(capability, found)
    return _REQUESTS[capability](text, found, options, timeout)


def seeing(turn: Message) -> Message:
    """Return a user's turn that is byzer-llm's JSON for vision as one with pictures in it; others as they are."""
    parts = _json(turn.content, "[") if turn.role == "user" else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) and _sees(part) for part in parts):
        return turn
    if not any("image" in part for part in parts):
        return turn
    content: list[Any] = []
    for part in parts:
        content += [media.image(part["image"])] if "image" in part else []
        content += [{"type": "text", "text": part["text"]}] if "text" in part else []
    return msgspec.structs.replace(turn, content=content)


def _sees(part: Options) -> bool:
    """Return whether this is a part of byzer-llm's JSON for vision: a text, a picture, or both."""
    return (
        bool(part)
        and part.keys() <= {"image", "text"}
        and ("image" not in part or _is_address(part["image"]))
        and isinstance(part.get("text", ""), str)
    )


def _is_address(value: Any) -> bool:
    """Return whether this is an address, and no path."""
    return isinstance(value, str) and value.lower().startswith(("data:", "http://", "https://"))


def _content(messages: Sequence[Message]) -> tuple[str, list[Media]]:
    """Return the text of the last message, and the pictures and sounds in it."""
    content = messages[-1].content if messages else ""
    if not isinstance(content, list):
        return content or "", []
    texts = [str(part.get("text", "")) for part in content if isinstance(part, dict)]
    found = [part if isinstance(part, Media) else _far_picture(part) for part in content]
    return "\n".join(filter(None, texts)), [item for item in found if item is not None]


def _far_picture(part: Options) -> Media | None:
    """Return the picture that one of OpenAI's parts gives the address of, or None."""
    picture = part.get("image_url")
    url = picture.get("url") if isinstance(picture, dict) else picture
    return media.image(url) if _is_address(url) else None


def _refuse_surplus(what: Capability, found: list[Media]) -> None:
    """Raise CommandError for media that the request would leave out."""
    pictures = sum(item.is_image for item in found)
    sounds = len(found) - pictures
    if pictures and what != Capability.IMAGE:
        raise CommandError(f"This model can {what}; it takes no pictures.", "Leave the picture out.")
    if sounds and what != Capability.TRANSCRIBE:
        raise CommandError(f"This model can {what}; it takes no sounds.", "Leave the sound out.")


def _json(text: Any, opening: str) -> Any:
    """Return what `text` says as JSON, or None where it is no JSON of that kind: then it is text like any other."""
    if not isinstance(text, str) or not text.lstrip().startswith(opening):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for a thousand brackets
        return None


def _object(text: str, **kinds: type) -> Options:
    """Return the JSON object that a text is, when it has these names with such values; else nothing."""
    found = _json(text, "{")
    fits = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    return found if fits else {}


def _speak(text: str, _: list[Media], options: Options, timeout: float | None) -> Request:
    asked = _object(text, input=str)
    return SpeakRequest(text=asked.pop("input", text), options=asked | options, timeout=timeout)


def _image(text: str, found: list[Media], options: Options, timeout: float | None) -> Request:
    asked = _object(text, input=str)
    return ImageRequest(prompt=asked.pop("input", text), images=found, options=asked | options, timeout=timeout)


def _transcribe(text: str, found: list[Media], options: Options, timeout: float | None) -> Request:
    asked = _object(text, audio=str)
    spoken = _is_address(asked.get("audio"))
    asked = asked if spoken else {}
    sounds = [*found, *([media.audio(asked.pop("audio"))] if spoken else [])]
    if not sounds:
        raise CommandError(
            "This model writes down speech, and there is no sound.",
            "Add --audio FILE_OR_VARIABLE, or call model(alias).transcribe(path).",
        )
    if len(sounds) > 1:
        raise CommandError(f"There are {len(sounds)} sounds; the model takes one.", "Send one request for each.")
    if text.strip() and not spoken:
        options = {"prompt": text.strip()} | options
    return TranscribeRequest(audio=sounds[0], options=asked | options, timeout=timeout)


def _embed(text: str, _: list[Media], options: Options, timeout: float | None) -> Request:
    texts = _json(text, "[")
    several = isinstance(texts, list) and bool(texts) and all(isinstance(item, str) for item in texts)
    return EmbedRequest(texts=texts if several else [text], options=options, timeout=timeout)


def _rerank(text: str, _: list[Media], options: Options, timeout: float | None) -> Request:
    asked = _object(text, query=str, documents=list)
    if not asked:
        raise CommandError(
            "This model orders documents by a query, and the prompt has none.",
            'Write {"query": "...", "documents": ["...", "..."]}, or call model(alias).rerank(query, documents).',
        )
    query, documents = asked.pop("query"), [str(item) for item in asked.pop("documents")]
    return RerankRequest(query=query, documents=documents, options=asked | options, timeout=timeout)


_REQUESTS: dict[Capability, Callable[[str, list[Media], Options, float | None], Request]] = {
    Capability.SPEAK: _speak,
    Capability.IMAGE: _image,
    Capability.TRANSCRIBE: _transcribe,
    Capability.EMBED: _embed,
    Capability.RERANK: _rerank,
}
