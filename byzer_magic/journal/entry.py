"""An entry of the journal: one request, what answered it, and how that came about."""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.types import Item, Routed, Usage

COMPLETE = "complete"
INTERRUPTED = "interrupted"
FAILED = "failed"

Piece = tuple[float, Item | Routed]
"""Seconds since the request was sent, and what arrived then."""


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a request came from."""

    face: str = ""
    """``notebook``, ``shell``, ``endpoint`` or ``python``."""
    notebook: str = ""
    """The path of the notebook, where it is known."""
    cell: str = ""
    """The id of the cell."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer.

    Example:
        >>> Entry(key="", asked="", at=0.0, alias="gpt4o", method="chat", answer="Hello!").answer
        'Hello!'
    """

    id: int = 0
    """Its number in the journal; 0 before it is there."""
    key: str
    """What decides the answer (see `keys`), with the model by its identity."""
    asked: str
    """The same with the model by its alias, so that a recording can answer where the model is not deployed."""
    sample: int = 0
    at: float
    """When it was sent, in seconds since 1970."""
    alias: str
    provider: str = ""
    """The type of the deployment, such as ``saas/openai``."""
    title: str = ""
    """The provider's name of the model."""
    method: str
    """The capability."""
    request: str = ""
    """The request as JSON, with media by their SHA-256."""
    prompt: str = ""
    answer: str = ""
    """The text of the answer; empty for audio, images and embeddings."""
    pieces: list[Piece] = []
    usage: Usage | None = None
    ttft: float | None = None
    """Time to first token, in seconds."""
    total: float = 0.0
    """Seconds until the end of the answer."""
    queued: float = 0.0
    worker: int | None = None
    status: str = COMPLETE
    """``complete``, ``interrupted`` or ``failed``."""
    error: dict[str, Any] | None = None
    """As `errors.to_wire` encodes it."""
    origin: Origin = Origin()
    request_id: str = ""

    @property
    def cost(self) -> float | None:
        """Return what it cost, in `currency`; None where that is unknown."""
        return self.usage.cost if self.usage else None

    @property
    def currency(self) -> str:
        """Return `USD` or `CNY`; empty where the cost is unknown."""
        return self.usage.currency if self.usage else ""
