"""Requests, results and events: the values that travel between notebook, pool and backend.

All are frozen msgspec structs: typed, cheap to build, and encoded as msgpack without a second description.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Media(msgspec.Struct, array_like=True, tag="media"):
    """A picture or a sound: its bytes, or the address where it lies. Base64 is a provider's business, never ours."""

    mime: str
    """``image/png``, ``audio/wav``, ...; ``image`` or ``audio`` alone where only an address is known."""
    data: bytes = b""
    url: str = ""
    digest: str = ""
    """Set by the wire where the bytes travel apart from the request that they belong to."""
    detail: str = ""
    """How closely to look at a picture, for providers that know that: low, high, auto."""
    name: str = ""
    """The file that a sound came from, for people; no provider is told."""

    @property
    def is_image(self) -> bool:
        """Return whether it is a picture."""
        return self.mime.startswith("image")

    def __repr__(self) -> str:
        return f"Media({self.mime}, {self.url if self.url else f'{len(self.data)} bytes'})"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, in OpenAI form; pictures and sounds among its parts are `Media`."""

    role: str
    content: str | list[dict[str, Any] | Media] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation to answer; `options` are OpenAI's request fields (temperature, max_tokens, ...)."""

    messages: list[Message]
    options: dict[str, Any] = {}
    stream: bool = True
    timeout: float | None = None
    """Seconds until the whole answer must be there; None waits as long as the backend does."""


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Texts to turn into vectors; `options` are OpenAI's fields (dimensions, ...)."""

    texts: list[str]
    options: dict[str, Any] = {}
    timeout: float | None = None


class RerankRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Documents to order by how well they answer a query."""

    query: str
    documents: list[str]
    options: dict[str, Any] = {}
    timeout: float | None = None


class TranscribeRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Speech to write down; `options` are OpenAI's fields (language, prompt, response_format, ...)."""

    audio: Media
    options: dict[str, Any] = {}
    timeout: float | None = None


class SpeakRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Text to speak; `options` are OpenAI's fields (voice, response_format, speed, instructions)."""

    text: str
    options: dict[str, Any] = {}
    timeout: float | None = None


class ImageRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A picture to make, or `images` to change; `options` are OpenAI's fields (size, quality, n, ...)."""

    prompt: str
    images: list[Media] = []
    options: dict[str, Any] = {}
    timeout: float | None = None


Request = ChatRequest | EmbedRequest | RerankRequest | TranscribeRequest | SpeakRequest | ImageRequest
"""What can be asked of a model."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens counted by whoever ran the model."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    """What they cost, where the pool knows the price of its model."""
    currency: str = ""
    """`USD` or `CNY`, where the cost is known."""

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, more: Usage) -> Usage:
        """Return the tokens of both; their cost is known where that of both is."""
        cost = None if self.cost is None or more.cost is None else self.cost + more.cost
        return Usage(
            self.prompt_tokens + more.prompt_tokens,
            self.completion_tokens + more.completion_tokens,
            cost,
            more.currency if cost is not None else "",
        )


class ChatChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="chunk"):
    """A piece of an answer: always a delta, never the text so far."""

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    """Why the model stopped ("stop", "length", "tool_calls", ...); set on the last chunk that has text or tools."""
    usage: Usage | None = None
    tool_calls: list[dict[str, Any]] | None = None
    extra: dict[str, Any] | None = None
    """What else the provider said and a user may want (logprobs, model, id)."""


class Truncation(msgspec.Struct, frozen=True, array_like=True):
    """Texts of which only the beginning was read."""

    texts: list[int]
    """Their indexes in the request."""
    limit: int
    """The tokens of each that were read."""

    def __str__(self) -> str:
        count = len(self.texts)
        return f"{count} text{'s were' if count != 1 else ' was'} cut at {self.limit:,} tokens"


class EmbeddingBatch(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="vectors"):
    """EmbeddingBatch of the texts from `start` on."""

    start: int
    dimensions: int
    data: bytes
    """Rows of `dimensions` little-endian float32."""
    usage: Usage | None = None
    truncated: Truncation | None = None
    """Which of the texts were too long for the model."""

    @property
    def rows(self) -> int:
        """Return how many vectors there are."""
        return len(self.data) // (4 * self.dimensions) if self.dimensions else 0

    def __repr__(self) -> str:
        return f"EmbeddingBatch({self.start}, {self.rows} x {self.dimensions})"


class Ranking(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="ranking"):
    """Documents by their index in the request, the best first, each with its score."""

    order: list[tuple[int, float]]
    usage: Usage | None = None
    truncated: Truncation | None = None
    """Which of the documents were too long for the model, together with the query."""


class Segment(msgspec.Struct, frozen=True):
    """A stretch of a transcript, in seconds from the beginning."""

    start: float
    end: float
    text: str


class TranscriptChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="heard"):
    """A piece of a transcript: always what is new, never the text so far."""

    text: str = ""
    segments: list[Segment] | None = None
    language: str | None = None
    duration: float | None = None
    """Seconds of the whole sound."""
    usage: Usage | None = None
    extra: dict[str, Any] | None = None


class AudioChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="sound"):
    """A piece of spoken text, in the order of its playing; together the pieces are one file of type `mime`."""

    data: bytes
    mime: str
    extra: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"AudioChunk({self.mime}, {len(self.data)} bytes)"


class ImageItem(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="picture"):
    """One picture that a model made: its bytes, or where the provider keeps it for a while."""

    mime: str = ""
    data: bytes = b""
    url: str = ""
    caption: str = ""
    """The prompt as the provider rewrote it, where it did."""
    usage: Usage | None = None

    def __repr__(self) -> str:
        return f"ImageItem({self.mime}, {self.url if self.url else f'{len(self.data)} bytes'})"


Item = ChatChunk | EmbeddingBatch | Ranking | TranscriptChunk | AudioChunk | ImageItem
"""What answers are made of."""


class Progress(msgspec.Struct, frozen=True):
    """How much of an answer has arrived: `done` of `total` units."""

    done: int
    total: int | None
    """None where it is not known before the end."""
    unit: str
    """``characters``, ``texts``, ``documents``, ``segments``, ``bytes`` or ``images``."""
    detail: str = ""
    """The last words of a transcript."""

    @property
    def fraction(self) -> float | None:
        """Return the part that is done, 0..1; None before anything is, and where the total is not known.

        Example:
            >>> Progress(1, 4, "texts").fraction
            0.25
        """
        return self.done / self.total if self.done and self.total else None


class Dispatched(msgspec.Struct, frozen=True, array_like=True, tag="sent"):
    """A request left the queue for a worker, `queued` seconds after the pool got it."""

    worker: int
    queued: float


class Placed(msgspec.Struct, frozen=True, tag=True):
    """Ray gave the deployment its place."""

    node: str
    pid: int


class Loading(msgspec.Struct, frozen=True, tag=True):
    """A worker is getting ready; `fraction` is 0..1 when the engine tells, `detail` is what changes within a stage."""

    stage: str
    worker: int = 0
    fraction: float | None = None
    detail: str = ""


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The alias answers requests."""

    seconds: float
    workers: int
    capabilities: list[str]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The deployment could not be made; `error` is an error in its wire form."""

    error: dict[str, Any]


Event = Placed | Loading | Ready | Failed
"""What a deploy reports, in this order; Ready or Failed is the last one."""
