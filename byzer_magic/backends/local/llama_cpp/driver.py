"""The interface of the two drivers of llama.cpp.

Both block while they work, with the GIL released, so the backend runs them in threads; both emit the chunks of
OpenAI's chat completion stream as dicts.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.backends.engine.threads import Emit
from byzer_magic.errors import ContextTooLong
from byzer_magic.i18n import lazy_gettext as _

RANK = 4
"""llama.cpp's number of the pooling that scores a query with a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A model to load."""

    path: Path
    settings: Mapping[str, Any]
    """Constructor parameters by llama-cpp-python's names, only those that are set."""
    parallel: int
    longest: int | None = None
    """The model's context length, in tokens."""
    mmproj: Path | None = None
    """The file of the model for images."""
    tools: bool = False
    """Whether the model's chat template has a place for tools."""
    base: bool = False
    """Whether the model has no chat template, and none is given: it is a base model, which seldom ends a response."""


class Driver(ABC):
    """A loaded model.

    A request's body is OpenAI's, with `schema` (a JSON schema that the answer has to fit; {} for any JSON object)
    in the place of `response_format`.
    """

    parallel: int = 1
    """Requests that it can process at the same time."""
    finds_calls: bool = False
    """Whether it formats tools for the model, and parses tool calls."""
    shows_tools: bool = False
    """Whether tool calls in a conversation, and their results, are part of the model's prompt."""

    @abstractmethod
    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Emit the response to an OpenAI request body chunk by chunk; return soon after `stopped` is set.

        Raises:
            BadRequest: the request is invalid.
        """

    @abstractmethod
    def embeddings(self, texts: Sequence[str]) -> tuple[list[Any], int]:
        """Return the embedding of each text, not normalized, and the number of prompt tokens.

        Raises:
            ContextTooLong: a text has more tokens than the context.
        """

    def scores(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Return the score of each document for the query, and the number of prompt tokens.

        Raises:
            ContextTooLong: a document has, with the query, more tokens than the context.
        """
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Free the model's memory."""


def prompt_too_long(tokens: int, context: int) -> ContextTooLong:
    """Return the error for a prompt that has more tokens than the context."""
    return ContextTooLong(
        _("The prompt has {tokens} tokens, but the context length is {context}.", tokens=tokens, context=context),
        _("Shorten the conversation, or deploy with a larger n_ctx, up to the model's context length."),
        prompt_tokens=tokens,
        n_ctx=context,
    )


def text_too_long(tokens: int, context: int) -> ContextTooLong:
    """Return the error for a text, to embed or to rerank, that has more tokens than the context."""
    return ContextTooLong(
        _("A text has {tokens} tokens, but the context length is {context}.", tokens=tokens, context=context),
        _("Split it, or deploy with a larger n_ctx, up to the model's context length."),
        prompt_tokens=tokens,
        n_ctx=context,
    )
