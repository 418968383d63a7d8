"""What a model can do: one table with a row per capability.

Adding a capability is a row here, the functions that the row names, and a method of that name in the backends that
have it. Functions of higher layers are named as text, like entry points, and imported when they are first needed;
a test asserts that every row is complete.
"""

from __future__ import annotations

import functools
import pkgutil
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from byzer_magic import types


class Capability(StrEnum):
    """One capability of a model, named as `%byzer list` shows it."""

    CHAT = "chat"
    VISION = "vision"
    TOOLS = "tools"
    EMBED = "embed"
    RERANK = "rerank"
    TRANSCRIBE = "transcribe"
    SPEAK = "speak"
    IMAGE = "image"


class Trait(StrEnum):
    """A manner of a provider's API or of an engine that clients in front of it mind; a backend declares its own.

    Without any, a backend is asked for one answer at a time, and gets the fields that all APIs have.
    """

    OPENAI_FIELDS = "openai_fields"
    """It takes all fields of OpenAI's API, those of its platform (`store`, `user`, ...) among them."""
    ANTHROPIC_FIELDS = "anthropic_fields"
    """It has Anthropic's own API: its content blocks, tools, fields and headers."""
    SEVERAL = "several"
    """It gives as many answers to one request as the option `n` asks for."""
    JSON_MODE = "json_mode"
    """It takes `response_format` without a schema, for any JSON object."""
    IN_CLUSTER = "in_cluster"
    """The model runs in the user's network: a URL in a request is read from there. True of all local engines."""
    ENGINE = "engine"
    """It runs the model itself, on local weights. Set for all local engines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a capability consists of; names of functions are `package.module:name`."""

    request: type[types.Request]
    """What the backends' method takes."""
    chunk: type[types.Item]
    """What it yields."""
    result: str
    """The class of the complete result."""
    prompt: str
    """Builds the request from a prompt: (text, media, options, timeout) -> request."""
    collector: str
    """Collects the chunks into the result: a subclass of `client.collect.Collector`."""
    renderer: str
    """Returns the result as a MIME bundle."""
    probe: str
    """Yields the cheapest requests, to test a deployment before it is made; none where a test would cost too much."""
    accepts: frozenset[str] = frozenset()
    """The media that a prompt may have: ``image``, ``audio``."""
    returns: str = "text"
    """``text`` (which can be compared), ``data``, or ``file`` (which a shell must store)."""


def _row(name: str, collector: str, request: type[Any], chunk: type[Any], **more: Any) -> Row:
    return Row(
        request=request,
        chunk=chunk,
        prompt=f"byzer_magic.client.requests:{name}",
        collector=f"byzer_magic.client.collect:{collector}",
        renderer=f"byzer_magic.rendering.results:{name}",
        probe=f"byzer_magic.backends.probe:{name}",
        **more,
    )


TABLE: dict[Capability, Row] = {
    Capability.CHAT: _row(
        "chat",
        "ChatCollector",
        types.ChatRequest,
        types.ChatChunk,
        result="byzer_magic.results:ChatResult",
        accepts=frozenset({"image", "audio"}),
    ),
    Capability.SPEAK: _row(
        "speak",
        "AudioCollector",
        types.SpeakRequest,
        types.AudioChunk,
        result="byzer_magic.results:SpeakResult",
        returns="file",
    ),
    Capability.IMAGE: _row(
        "image",
        "ImageCollector",
        types.ImageRequest,
        types.ImageItem,
        result="byzer_magic.results:ImageResult",
        accepts=frozenset({"image"}),
        returns="file",
    ),
    Capability.TRANSCRIBE: _row(
        "transcribe",
        "TranscriptCollector",
        types.TranscribeRequest,
        types.TranscriptChunk,
        result="byzer_magic.results:TranscribeResult",
        accepts=frozenset({"audio"}),
    ),
    Capability.EMBED: _row(
        "embed",
        "EmbeddingCollector",
        types.EmbedRequest,
        types.EmbeddingBatch,
        result="byzer_magic.results:EmbedResult",
        returns="data",
    ),
    Capability.RERANK: _row(
        "rerank",
        "RankingCollector",
        types.RerankRequest,
        types.Ranking,
        result="byzer_magic.results:RerankResult",
        returns="data",
    ),
}
"""The capabilities that are methods, in the order in which a plain prompt asks for them; vision and tools refine chat.

A backend that can embed has ``def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]``, and so on:
each is an async generator, and closing it stops the work and frees what it holds.
"""

_OF_REQUEST = {row.request: capability for capability, row in TABLE.items()}


@functools.cache
def resolve(name: str) -> Any:
    """Return the function or class that a row names.

    Example:
        >>> resolve(TABLE[Capability.CHAT].result).__name__
        'ChatResult'
    """
    return pkgutil.resolve_name(name)


@functools.cache
def row_of_result(result: type[Any]) -> Row:
    """Return the row whose result has this class."""
    return next(row for row in TABLE.values() if resolve(row.result) is result)


def purpose(capabilities: frozenset[Capability]) -> Capability:
    """Return what a plain prompt asks a model with these capabilities for.

    Example:
        >>> purpose(frozenset({Capability.VISION, Capability.CHAT, Capability.EMBED}))
        <Capability.CHAT: 'chat'>
    """
    return next((capability for capability in TABLE if capability in capabilities), Capability.CHAT)


def methods_of(backend: object) -> frozenset[Capability]:
    """Return the capabilities that `backend` has methods for."""
    return frozenset(capability for capability in TABLE if hasattr(backend, capability.value))


def method_for(request: types.Request) -> Capability:
    """Return the capability that a request asks for."""
    return _OF_REQUEST[type(request)]


def needed_by(request: types.Request) -> frozenset[Capability]:
    """Return all capabilities that a request needs: a chat with an image in it needs vision, too.

    Example:
        >>> turn = types.Message("user", [types.Media("image/png")])
        >>> sorted(needed_by(types.ChatRequest(messages=[turn])))
        [<Capability.CHAT: 'chat'>, <Capability.VISION: 'vision'>]
    """
    needed = {method_for(request)}
    if isinstance(request, types.ChatRequest):
        parts = (part for turn in request.messages if isinstance(turn.content, list) for part in turn.content)
        if any(_is_image(part) for part in parts):
            needed.add(Capability.VISION)
    return frozenset(needed)


def _is_image(part: Any) -> bool:
    return part.is_image if isinstance(part, types.Media) else part.get("type") == "image_url"
