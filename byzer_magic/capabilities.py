"""What a model can do, and how a backend says so: by having the method of that name."""

from __future__ import annotations

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


METHODS: dict[Capability, tuple[type[types.Request], Any]] = {
    Capability.CHAT: (types.ChatRequest, types.ChatChunk),
    Capability.EMBED: (types.EmbedRequest, types.EmbeddingBatch),
    Capability.RERANK: (types.RerankRequest, types.Ranking),
    Capability.TRANSCRIBE: (types.TranscribeRequest, types.TranscriptChunk),
    Capability.SPEAK: (types.SpeakRequest, types.AudioChunk),
    Capability.IMAGE: (types.ImageRequest, types.ImageItem),
}
"""The capabilities that are methods, with what the method takes and what it yields.

A backend that can embed has ``def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]``, and so on:
each is an async generator, and closing it stops the work and frees what it holds.
"""


def methods_of(backend: object) -> frozenset[Capability]:
    """Return the capabilities that `backend` has methods for."""
    return frozenset(capability for capability in METHODS if hasattr(backend, capability.value))


def method_for(request: types.Request) -> Capability:
    """Return the capability that answers `request`."""
    return next(capability for capability, (kind, _) in METHODS.items() if isinstance(request, kind))


def needed_by(request: types.Request) -> frozenset[Capability]:
    """Return all capabilities that `request` asks for: a chat with a picture in it needs vision, too."""
    needed = {method_for(request)}
    if isinstance(request, types.ChatRequest):
        parts = (part for turn in request.messages if isinstance(turn.content, list) for part in turn.content)
        if any(_shows(part) for part in parts):
            needed.add(Capability.VISION)
    return frozenset(needed)


def _shows(part: Any) -> bool:
    return part.is_image if isinstance(part, types.Media) else part.get("type") == "image_url"
