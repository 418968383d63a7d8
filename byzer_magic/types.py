"""Requests, chunks and events: the values that travel between client, pool and backend.

All are frozen msgspec structs: typed, cheap to build, and encoded as msgpack without a second description.
"""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.i18n import lazy_ngettext, unpack
from byzer_magic.i18n.fields import Localizable as Localizable, unpack_texts as unpack_texts
from byzer_magic.usage.tokens import PromptTruncation as PromptTruncation, Usage as Usage


class Media(msgspec.Struct, array_like=True, tag="media"):
    """An image or audio, as bytes or as a URL. Never base64: a backend encodes where its provider's API needs that."""

    mime: str
    """``image/png``, ``audio/wav``, ...; ``image`` or ``audio`` alone where only a URL is known."""
    data: bytes = b""
    url: str = ""
    digest: str = ""
    """SHA-256 of the bytes, set while they travel as an attachment of the request."""
    detail: str = ""
    """The resolution at which a provider reads an image, where its API has that: low, high, auto."""
    name: str = ""
    """The audio file's name, shown to the user; it is not sent to the provider."""

    @property
    def is_image(self) -> bool:
        """Return whether this is an image."""
        return self.mime.startswith("image")

    def __repr__(self) -> str:
        return f"Media({self.mime}, {self.url if self.url else f'{len(self.data)} bytes'})"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, in the OpenAI format; images and audio among its parts are `Media`."""

    role: str
    content: str | list[dict[str, Any] | Media] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation to complete; `options` are OpenAI's request fields (temperature, max_tokens, ...)."""

    messages: list[Message]
    options: dict[str, Any] = {}
    stream: bool = True
    """Whether each delta is sent as it comes; else several together. Backends stream in any case."""
    timeout: float | None = None
    """Seconds within which the response must be complete; None leaves that to the backend's own timeouts."""


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Texts to embed; `options` are OpenAI's fields (dimensions, ...)."""

    texts: list[str]
    options: dict[str, Any] = {}
    timeout: float | None = None


class RerankRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Documents to rank by their relevance to a query."""

    query: str
    documents: list[str]
    options: dict[str, Any] = {}
    timeout: float | None = None


class TranscribeRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Audio to transcribe; `options` are OpenAI's fields (language, prompt, response_format, ...)."""

    audio: Media
    options: dict[str, Any] = {}
    timeout: float | None = None


class SpeakRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Text to synthesize; `options` are OpenAI's fields (voice, response_format, speed, instructions)."""

    text: str
    options: dict[str, Any] = {}
    timeout: float | None = None


class ImageRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An image to generate, or `images` to edit; `options` are OpenAI's fields (size, quality, n, ...)."""

    prompt: str
    images: list[Media] = []
    options: dict[str, Any] = {}
    timeout: float | None = None


Request = ChatRequest | EmbedRequest | RerankRequest | TranscribeRequest | SpeakRequest | ImageRequest
"""What can be sent to a model: one request type per capability."""


class ChatChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="chunk"):
    """A chunk of a chat response: always a delta, never the text so far."""

    text: str = ""
    reasoning: str = ""
    finish: str | None = None
    """Why the model stopped ("stop", "length", "tool_calls", ...); set on the last chunk that has text or tools."""
    usage: Usage | None = None
    tool_calls: list[dict[str, Any]] | None = None
    extra: dict[str, Any] | None = None
    """Further fields of the provider's response (logprobs, model, id)."""


STOPPED_AT = "stop_sequence"
"""What `extra` of a chunk has under this name is the stop sequence at which the answer ended, where a provider tells
it; empty where it only tells that there was one."""
ENDLESS = {"endless": "no chat template and no limit"}
"""What `extra` of a chunk has when a base model may go on until its context is full."""


class Truncation(msgspec.Struct, frozen=True, array_like=True):
    """Texts that were longer than the model's limit, so that only their beginning was used.

    Example:
        >>> print(Truncation([0, 4], 8192))
        2 texts were truncated at 8,192 tokens
    """

    texts: list[int]
    """Their indexes in the request."""
    limit: int
    """The tokens of each text that were used."""

    def __str__(self) -> str:
        return str(
            lazy_ngettext(
                "{count} text was truncated at {limit} tokens",
                "{count} texts were truncated at {limit} tokens",
                count=len(self.texts),
                limit=f"{self.limit:,}",
            )
        )


class EmbeddingBatch(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="embeddings"):
    """Embeddings of consecutive texts of the request, the first of which has the index `start`."""

    start: int
    dimensions: int
    data: bytes
    """A row of `dimensions` little-endian float32 for each text."""
    usage: Usage | None = None
    truncated: Truncation | None = None
    """Which of the texts were too long for the model."""

    @property
    def rows(self) -> int:
        """Return the number of embeddings."""
        return len(self.data) // (4 * self.dimensions) if self.dimensions else 0

    def __repr__(self) -> str:
        return f"EmbeddingBatch({self.start}, {self.rows} x {self.dimensions})"


class Ranking(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="ranking"):
    """Documents by relevance, the most relevant first."""

    order: list[tuple[int, float]]
    """Index in the request, and score."""
    usage: Usage | None = None
    truncated: Truncation | None = None
    """Which of the documents were too long for the model, together with the query."""


class Segment(msgspec.Struct, frozen=True):
    """A segment of a transcript; `start` and `end` are seconds from the beginning of the audio."""

    start: float
    end: float
    text: str


class TranscriptChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="transcript"):
    """A chunk of a transcript: always a delta, never the text so far."""

    text: str = ""
    segments: list[Segment] | None = None
    language: str | None = None
    duration: float | None = None
    """Seconds of audio, in all."""
    usage: Usage | None = None
    extra: dict[str, Any] | None = None


class AudioChunk(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="audio"):
    """A chunk of synthesized speech; the chunks of a response, concatenated, are one file of type `mime`."""

    data: bytes
    mime: str
    extra: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return f"AudioChunk({self.mime}, {len(self.data)} bytes)"


class ImageItem(msgspec.Struct, frozen=True, omit_defaults=True, array_like=True, tag="image"):
    """One generated image, as bytes or as a URL that the provider keeps for a limited time."""

    mime: str = ""
    data: bytes = b""
    url: str = ""
    caption: str = ""
    """The prompt as revised by the provider; empty where it was used as given."""
    usage: Usage | None = None

    def __repr__(self) -> str:
        return f"ImageItem({self.mime}, {self.url if self.url else f'{len(self.data)} bytes'})"


Item = ChatChunk | EmbeddingBatch | Ranking | TranscriptChunk | AudioChunk | ImageItem
"""The items of a response stream."""


class Progress(msgspec.Struct, frozen=True):
    """How much of a response has arrived: `done` of `total` units."""

    done: int
    total: int | None
    """None where it is not known before the end."""
    unit: str
    """``characters``, ``texts``, ``documents``, ``segments``, ``bytes``, ``images`` or ``rows``."""
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


class RowProgress(Progress, frozen=True):
    """How far a table is, row by row."""

    failed: int = 0
    """Rows with an error in place of a value."""
    known: int = 0
    """Responses that came from the journal."""
    replayed: bool = False
    """Whether these came from a tape that is replayed."""
    rate: float | None = None
    """Rows a second, lately."""
    seconds_left: float | None = None
    cost: float | None = None
    """So far, in `currency`; None where the price is unknown."""
    cost_left: float | None = None
    """What the other rows will cost, as those so far."""
    currency: str = ""


class Dispatched(msgspec.Struct, frozen=True, array_like=True, tag="dispatched"):
    """The request was dispatched to a worker, `queued` seconds after the pool received it."""

    worker: int
    queued: float
    request_id: str = ""
    """Its id in all logs; empty where it has none."""
    model: str = ""
    """The digest of the model that answers (see `ModelIdentity`); empty where nothing has asked for it before."""


class Waiting(msgspec.Struct, frozen=True, array_like=True, tag="waiting"):
    """The request waits for a slot; sent now and then, before `Dispatched`."""

    place: int
    """Its place in the queue, from 1."""
    stage: Localizable = ""
    """What the deployment does meanwhile, where it is not simply busy: it loads its model."""
    fraction: float | None = None
    """How much of that is done, 0 to 1, where it is known."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "stage")


class Routed(msgspec.Struct, frozen=True, array_like=True, tag="routed"):
    """Another deployment answers in the place of the one that was asked; sent before its items."""

    alias: str
    skipped: list[tuple[str, Localizable]] = []
    """Those that came before it, each with why it does not answer."""

    def __post_init__(self) -> None:
        """Unpack texts that have crossed a socket."""
        found = [(name, unpack(why)) for name, why in self.skipped]
        if not all(isinstance(why, str) for _name, why in found):
            raise ValueError("a reason is not a text")
        msgspec.structs.force_setattr(self, "skipped", found)


class FromJournal(msgspec.Struct, frozen=True, array_like=True, tag="journal"):
    """The answer comes from the journal: the model was not asked; comes before its items."""

    entry: int
    """Its number in the journal."""
    at: float
    """When it was asked, in seconds since 1970."""
    replayed: bool = False
    """Whether it comes from a recording that is being replayed, in place of the model."""
    total: float = 0.0
    """How long it took when it was asked, in seconds."""
    first_token: float | None = None
    """Its time to first token then."""
    last_token: float | None = None
    after_first: float | None = None
    """As in `Timings`."""


class Placed(msgspec.Struct, frozen=True, tag=True):
    """Ray has placed the deployment's pool: on `node`, as process `pid`."""

    node: str
    pid: int


class Loading(msgspec.Struct, frozen=True, tag=True):
    """A worker is loading its model, or the model is fetched before there are workers."""

    stage: Localizable
    """What it is doing."""
    worker: int | None = 0
    """None where it is no worker."""
    fraction: float | None = None
    """How much of the stage is done, 0 to 1, where the engine reports that."""
    detail: Localizable = ""
    """What changes within a stage, such as the megabytes that have been read."""

    def __post_init__(self) -> None:
        """Unpack texts that have crossed a socket."""
        unpack_texts(self, "stage", "detail")


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The deployment accepts requests."""

    seconds: float
    """Since the command was received."""
    workers: int
    capabilities: list[str]
    check: Localizable = ""
    """What the check of the deployment has shown; empty without one."""

    def __post_init__(self) -> None:
        """Unpack the text, which may have crossed a socket."""
        unpack_texts(self, "check")


class Fetched(msgspec.Struct, frozen=True, tag=True):
    """A model is complete in its hub's cache."""

    path: str
    """The file or folder to deploy."""
    size: int
    """Bytes of all its files."""
    fetched: int
    """Bytes of them that were not there before."""
    seconds: float
    """How long that took."""
    why: Localizable = ""
    """Why these files, where others were possible."""

    def __post_init__(self) -> None:
        """Unpack the text, which may have crossed a pipe."""
        unpack_texts(self, "why")


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The deployment failed; `error` is the error as `errors.to_wire` encodes it."""

    error: dict[str, Any]


Event = Placed | Loading | Ready | Failed | Fetched
"""What a deploy yields, in this order; the last one is Ready or Failed. That of fetching a model is Fetched."""
