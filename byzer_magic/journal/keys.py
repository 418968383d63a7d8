"""What decides an answer, as one key: the model, the request, and which sample of it is meant."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from byzer_magic.types import ChatRequest, EmbedRequest, Media, Request, RerankRequest

_SIMPLE = frozenset({str, int, float, bool, type(None)})
"""Most values: to find out that they are not a mapping takes longer than all else."""
IGNORED = frozenset({"stream", "timeout"})
"""Fields of requests that do not change the answer."""
HASH = '"sha256":'
"""What is in the JSON of each request with media; nothing that a user writes is so there, since quotes are escaped."""


def plain(request: Request) -> dict[str, Any]:
    """Return a request as plain data: media by the hash of their bytes, without what does not change the answer.

    What has its default is left out, so that a field which a later version adds changes no request that does without.

    Example:
        >>> plain(EmbedRequest(texts=["one"], timeout=5.0))
        {'embed': ['one']}
    """
    usual = _defaults(type(request))
    given = msgspec.structs.asdict(request).items()
    found = {name: _plain(value) for name, value in given if name not in IGNORED and value != usual.get(name, _NONE)}
    if isinstance(request, EmbedRequest):
        found = {"embed": found.pop("texts"), **found}
    return found


_NONE = object()
"""The default of a field that has none."""


@functools.cache
def _defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the defaults of a request's fields."""
    fields = msgspec.structs.fields(kind)
    plain_ones = {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}
    made = {field.name: field.default_factory() for field in fields if field.default_factory is not msgspec.NODEFAULT}
    return plain_ones | made


def canonical(request: Request) -> bytes:
    """Return a request as JSON that is the same for equal requests.

    Example:
        >>> canonical(EmbedRequest(texts=["one"], options={"b": 1, "a": 2}))
        b'{"embed":["one"],"options":{"a":2,"b":1}}'
    """
    return msgspec.json.encode(plain(request), order="sorted")


def key_of(model: str, request: bytes, sample: int = 0) -> str:
    """Return the key of an answer, 64 hexadecimal digits.

    Args:
        model: identifies the model: its digest.
        request: as `canonical` returns it.
        sample: which of several answers to the same request.

    Example:
        >>> key_of("m", b"{}") == key_of("m", b"{}", 0) != key_of("m", b"{}", 1)
        True
    """
    return hashlib.sha256(msgspec.json.encode([model, sample]) + request).hexdigest()


def is_repeatable(request: Request) -> bool:
    """Return whether asking again is to give the same answer, so that there is one sample only.

    Example:
        >>> is_repeatable(ChatRequest(messages=[], options={"temperature": 0}))
        True
        >>> is_repeatable(ChatRequest(messages=[]))
        False
    """
    if isinstance(request, EmbedRequest | RerankRequest):
        return True
    temperature = request.options.get("temperature")
    return isinstance(temperature, int | float) and not temperature


def prompt_of(request: Request) -> str:
    """Return what the user asked, as text: of a conversation, its last turn.

    Example:
        >>> from byzer_magic.types import Message
        >>> prompt_of(ChatRequest(messages=[Message("system", "Be brief."), Message("user", "Why?")]))
        'Why?'
    """
    if isinstance(request, ChatRequest):
        content = request.messages[-1].content if request.messages else ""
        if isinstance(content, list):
            return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict)).strip()
        return content or ""
    if isinstance(request, EmbedRequest):
        return "\n".join(request.texts)
    if isinstance(request, RerankRequest):
        return "\n".join([request.query, *request.documents])
    return str(getattr(request, "text", "") or getattr(request, "prompt", "") or request.options.get("prompt", ""))


def media_of(request: Request) -> list[Media]:
    """Return the images and audio of a request."""
    return list(_media_in(msgspec.structs.asdict(request)))


def _media_in(value: Any) -> Iterator[Media]:
    if type(value) in _SIMPLE:
        return
    if isinstance(value, Media):
        yield value
    elif isinstance(value, msgspec.Struct):
        yield from _media_in(msgspec.structs.asdict(value))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _media_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _media_in(item)


def _plain(value: Any) -> Any:
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Media):
        return _media(value)
    if isinstance(value, msgspec.Struct):
        found = {name: _plain(item) for name, item in msgspec.structs.asdict(value).items()}
        return {name: item for name, item in found.items() if item is not None}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


def _media(value: Media) -> dict[str, Any]:
    """Return media without their bytes; their name decides nothing."""
    known = {"media": value.mime, "url": value.url, "detail": value.detail}
    found: dict[str, Any] = {name: text for name, text in known.items() if text}
    return found | ({"sha256": hashlib.sha256(value.data).hexdigest()} if value.data else {})
