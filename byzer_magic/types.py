"""Requests, results and events: the values that travel between notebook, pool and backend.

All are frozen msgspec structs: typed, cheap to build, and encoded as msgpack without a second description.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One turn of a conversation, in OpenAI form."""

    role: str
    content: str | list[dict[str, Any]] | None = None
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


class Usage(msgspec.Struct, frozen=True):
    """Tokens counted by whoever ran the model."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens


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


class Dispatched(msgspec.Struct, frozen=True, array_like=True, tag="sent"):
    """A request left the queue for a worker, `queued` seconds after the pool got it."""

    worker: int
    queued: float


class Timings(msgspec.Struct, frozen=True):
    """When things happened to one request, in seconds since it was sent."""

    first_token: float | None = None
    total: float = 0.0
    queued: float = 0.0
    """Time spent waiting for a free slot, measured in the pool."""


class ChatResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer (or, when `interrupted`, the part of it that arrived)."""

    text: str
    model: str
    worker: int | None = None
    reasoning: str = ""
    finish: str | None = None
    usage: Usage | None = None
    timings: Timings = Timings()
    tool_calls: list[dict[str, Any]] | None = None
    interrupted: bool = False
    raw: dict[str, Any] = {}

    @property
    def output(self) -> str:
        """Return the text, under the name that byzer-llm's notebooks use."""
        return self.text

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed after the first token, or None when it cannot be known."""
        if self.usage is None or self.timings.first_token is None:
            return None
        seconds = self.timings.total - self.timings.first_token
        tokens = self.usage.completion_tokens - 1
        return tokens / seconds if tokens > 0 and seconds > 0 else None

    def __str__(self) -> str:
        return self.text


class Placed(msgspec.Struct, frozen=True, tag=True):
    """Ray gave the deployment its place."""

    node: str
    pid: int


class Loading(msgspec.Struct, frozen=True, tag=True):
    """A worker is getting ready; `fraction` is 0..1 when the engine tells."""

    stage: str
    worker: int = 0
    fraction: float | None = None


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
