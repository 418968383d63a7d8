"""Turn a prompt into the request that fits a model's capability.

Users write text. byzer-llm's notebooks also put JSON into the last user message; these forms, and no others, are
understood:

    speak       {"input": "hello", "voice": "alloy", "response_format": "mp3"}
    image       {"input": "a cat", "size": "1024x1024", "quality": "standard"}
    transcribe  {"audio": "data:audio/mp3;base64,..."}
    embed       ["one text", "another text"]
    rerank      {"query": "...", "documents": ["...", "..."]}
    vision      [{"image": "data:image/png;base64,..."}, {"text": "what is in this image?"}]

Media in JSON is a data: or http(s) URL, never a path: a prompt that was pasted must not read files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.capabilities import TABLE, Capability, resolve
from byzer_magic.client import arguments
from byzer_magic.client.messages import to_messages
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
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


def request_for(
    capability: Capability,
    messages: Sequence[Message],
    options: Options,
    *,
    stream: bool = True,
    timeout: float | None = None,
) -> Request:
    """Return a conversation as a request for a capability.

    Args:
        capability: what to ask for.
        messages: the conversation; capabilities other than chat take the last message only.
        options: OpenAI's request fields.
        stream: whether a chat's response arrives in deltas.
        timeout: deadline for the complete response, in seconds.

    Raises:
        CommandError: the prompt lacks what the capability needs, or has media that it does not accept.

    Example:
        >>> request_for(Capability.SPEAK, to_messages("hello"), {"voice": "nova"})
        SpeakRequest(text='hello', options={'voice': 'nova'}, timeout=None)
    """
    if capability == Capability.CHAT:
        if not messages:
            raise CommandError(_("The conversation has no messages."), _("Pass a string, or at least one message."))
        turns = [_with_vision(turn) for turn in messages]
        return ChatRequest(messages=turns, options=options, stream=stream, timeout=timeout)
    text, found = _content(messages)
    _refuse_surplus(capability, found)
    request: Request = resolve(TABLE[capability].prompt)(text, found, options, timeout)
    return request


# ---- one function per capability, named in its row of the table


def chat(text: str, found: list[Media], options: Options, timeout: float | None) -> ChatRequest:
    """Return a prompt as a request to chat."""
    return ChatRequest(messages=to_messages(text, None, found), options=options, timeout=timeout)


def speak(text: str, _found: list[Media], options: Options, timeout: float | None) -> SpeakRequest:
    """Return a prompt as a request for speech."""
    given = _object(text, input=str)
    return SpeakRequest(text=given.pop("input", text), options=given | options, timeout=timeout)


def image(text: str, found: list[Media], options: Options, timeout: float | None) -> ImageRequest:
    """Return a prompt as a request to generate images, or to edit the attached ones."""
    given = _object(text, input=str)
    return ImageRequest(prompt=given.pop("input", text), images=found, options=given | options, timeout=timeout)


def transcribe(text: str, found: list[Media], options: Options, timeout: float | None) -> TranscribeRequest:
    """Return audio as a request to transcribe it; the text becomes the option `prompt`.

    Raises:
        CommandError: the prompt has no audio, or more than one audio file.
    """
    given = _object(text, audio=str)
    in_json = _is_url(given.get("audio"))
    given = given if in_json else {}
    audio = [*found, *([media.audio(given.pop("audio"))] if in_json else [])]
    if not audio:
        raise CommandError(
            _("This model transcribes audio, but the request has no audio."),
            _("Add --audio FILE_OR_VARIABLE, or call model(alias).transcribe(path)."),
        )
    if len(audio) > 1:
        raise CommandError(
            _("This model transcribes one audio file at a time, but the request has {count}.", count=len(audio)),
            _("Send one request for each."),
        )
    if text.strip() and not in_json:
        options = {"prompt": text.strip()} | options
    return TranscribeRequest(audio=audio[0], options=given | options, timeout=timeout)


def embed(text: str, _found: list[Media], options: Options, timeout: float | None) -> EmbedRequest:
    """Return a prompt, or a JSON list of texts, as a request to embed."""
    texts = _json(text, "[")
    several = isinstance(texts, list) and bool(texts) and all(isinstance(item, str) for item in texts)
    return EmbedRequest(texts=texts if several else [text], options=options, timeout=timeout)


def rerank(text: str, _found: list[Media], options: Options, timeout: float | None) -> RerankRequest:
    """Return the JSON of query and documents as a request to rank them.

    Raises:
        CommandError: the prompt is not JSON of this form.

    Example:
        >>> rerank('{"query": "sky", "documents": ["grass", "blue"]}', [], {"top_n": 1}, None).documents
        ['grass', 'blue']
    """
    given = _object(text, query=str, documents=list)
    if not given:
        raise CommandError(
            _("This model ranks documents against a query, but the prompt does not contain a query and documents."),
            _('Write {"query": "...", "documents": ["...", "..."]}, or call model(alias).rerank(query, documents).'),
        )
    query, documents = given.pop("query"), [str(item) for item in given.pop("documents")]
    return RerankRequest(query=query, documents=documents, options=given | options, timeout=timeout)


# ---- checking


def checked(request: Any) -> Request:
    """Return a request with values that can be sent.

    Args:
        request: of any capability, made by hand or by `request_for`.

    Raises:
        CommandError: it is not a request, or a value cannot be sent; the field is named.

    Example:
        >>> checked(EmbedRequest(texts=("one", "two"), timeout="30"))
        EmbedRequest(texts=['one', 'two'], options={}, timeout=30.0)
    """
    if not isinstance(request, Request):
        raise CommandError(
            _(
                "The request is {value}, which is not a request type of byzer_magic.types.",
                value=arguments.shown(request),
            ),
            _("Pass a ChatRequest, EmbedRequest, ...; for a prompt, call chat() instead."),
        )
    given = msgspec.structs.asdict(request)
    fields = {name: _CHECKS[name](value, name) for name, value in given.items()}
    return msgspec.structs.replace(request, **fields)


def _conversation(value: Any, _name: str) -> list[Message]:
    return to_messages(value)


def _images(value: Any, name: str) -> list[Media]:
    return [item if isinstance(item, Media) else media.image(item) for item in arguments.several(value, name)]


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "messages": _conversation,
    "options": lambda value, _name: arguments.options(value),
    "stream": lambda value, _name: bool(value),
    "timeout": arguments.seconds,
    "texts": arguments.texts,
    "query": arguments.text,
    "documents": arguments.texts,
    "audio": lambda value, _name: value if isinstance(value, Media) else media.audio(value),
    "text": arguments.text,
    "prompt": arguments.text,
    "images": _images,
}
"""How each field of a request is checked."""


# ---- reading prompts


def _with_vision(turn: Message) -> Message:
    """Return a user's turn that is byzer-llm's JSON for vision as one with images in it; others as they are."""
    parts = _json(turn.content, "[") if turn.role == "user" else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) and _is_vision(part) for part in parts):
        return turn
    if not any("image" in part for part in parts):
        return turn
    content: list[Any] = []
    for part in parts:
        content += [media.image(part["image"])] if "image" in part else []
        content += [{"type": "text", "text": part["text"]}] if "text" in part else []
    return msgspec.structs.replace(turn, content=content)


def _is_vision(part: Options) -> bool:
    """Return whether this is a part of byzer-llm's JSON for vision: a text, an image, or both."""
    return (
        bool(part)
        and part.keys() <= {"image", "text"}
        and ("image" not in part or _is_url(part["image"]))
        and isinstance(part.get("text", ""), str)
    )


def _is_url(value: Any) -> bool:
    """Return whether this is a URL and not a path."""
    return isinstance(value, str) and value.lower().startswith(("data:", "http://", "https://"))


def _content(messages: Sequence[Message]) -> tuple[str, list[Media]]:
    """Return the text of the last message, and the media in it."""
    content = messages[-1].content if messages else ""
    if not isinstance(content, list):
        return content or "", []
    texts = [str(part.get("text", "")) for part in content if isinstance(part, dict)]
    found = [part if isinstance(part, Media) else _remote_image(part) for part in content]
    return "\n".join(filter(None, texts)), [item for item in found if item is not None]


def _remote_image(part: Options) -> Media | None:
    """Return the image that one of OpenAI's parts gives the URL of, or None."""
    image_url = part.get("image_url")
    url = image_url.get("url") if isinstance(image_url, dict) else image_url
    return media.image(url) if _is_url(url) else None


def _refuse_surplus(capability: Capability, found: list[Media]) -> None:
    """Raise CommandError for media that the request would drop."""
    accepts = TABLE[capability].accepts
    if "image" not in accepts and any(item.is_image for item in found):
        raise CommandError(
            _("This model has the capability {capability}; it does not accept images.", capability=capability.value),
            _("Remove the image."),
        )
    if "audio" not in accepts and any(not item.is_image for item in found):
        raise CommandError(
            _("This model has the capability {capability}; it does not accept audio.", capability=capability.value),
            _("Remove the audio."),
        )


def _json(text: Any, opening: str) -> Any:
    """Return a text as JSON, or None where it is not JSON with this opening: then it is plain text."""
    if not isinstance(text, str) or not text.lstrip().startswith(opening):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the latter for a thousand brackets
        return None


def _object(text: str, **kinds: type) -> Options:
    """Return a text as a JSON object, when it has these names with values of these types; else an empty one."""
    found = _json(text, "{")
    fits = isinstance(found, dict) and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    return found if fits else {}
