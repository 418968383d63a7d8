"""Counting the tokens of requests against the limits of their keys: as reported, and as estimated until then."""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec

from byzer_magic.gateway.access import Client
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request, Usage

UNLIMITED_ANSWER = 500
"""What an answer without a limit is expected to have, while others run."""
BYTES_PER_TOKEN = 4
"""What a token of text takes in UTF-8, roughly: four letters, or one and a third Chinese characters."""


class Meter:
    """Counts the tokens of one request to a deployment.

    What has arrived counts also when its client leaves before the provider reports the tokens; nothing does where no
    deployment was asked, or where it failed before it answered.

    Args:
        client: whose limits they count against.
        request: what is asked.
        answers: how many the call asks for; 0 where it was let in, for its further requests are, too.

    Raises:
        Problem: a limit is reached.

    Example:
        >>> meter = Meter(Client("a"), ChatRequest(messages=[]))
        >>> meter.add(Dispatched(0, 0.0))
        >>> meter.tokens
        0
    """

    def __init__(self, client: Client, request: Request, *, answers: int = 1) -> None:
        self.usage: Usage | None = None
        """As reported so far."""
        self._client = client
        self._sums = not isinstance(request, ChatRequest)
        self._request = request
        self._estimate: float | None = None
        self._bytes = 0
        self._asked = self._complete = self._failed = False
        self._reserved = 0.0
        if client.tokens.limit:
            self._reserved = client.reserve(self._prompt, answer_tokens(request), time.monotonic(), answers=answers)

    @property
    def _prompt(self) -> float:
        """Return how many tokens the prompt has, roughly; where it is reported, nobody asks."""
        if self._estimate is None:
            self._estimate = text_bytes(self._request) / BYTES_PER_TOKEN
        return self._estimate

    def add(self, item: Any) -> None:
        """Take an item of the response."""
        if isinstance(item, Dispatched):
            self._asked = True
            return
        if (usage := getattr(item, "usage", None)) is not None:
            # Chats report the total so far, all else what each part has taken.
            self.usage = self.usage + usage if self._sums and self.usage is not None else usage
        if type(item) is ChatChunk and item.text and not (item.reasoning or item.tool_calls):  # most are
            self._bytes += text_bytes(item.text)
        else:
            self._bytes += sum(text_bytes(getattr(item, name, None)) for name in ("text", "reasoning", "tool_calls"))

    def completed(self) -> None:
        """Note that the whole response has arrived."""
        self._complete = True

    def failed(self) -> None:
        """Note that the deployment could not answer."""
        self._failed = True

    @property
    def tokens(self) -> int:
        """Return the tokens so far."""
        counted = self.counted
        return counted.total_tokens if counted else 0

    @property
    def counted(self) -> Usage | None:
        """Return the tokens so far: as reported, or estimated where nothing was; None where nothing was asked."""
        if not self._asked:
            return None
        reported = self.usage if self.usage and self.usage.total_tokens else None
        if reported and self._complete:
            return reported
        if not reported and self._failed and not self._bytes:
            return None
        found = reported or Usage()
        return Usage(
            found.prompt_tokens or int(self._prompt),
            max(found.completion_tokens, self._bytes // BYTES_PER_TOKEN),
            found.cost,
            found.currency,
        )

    def settle(self) -> None:
        """Count the tokens in place of what was reserved for them; the request has ended."""
        self._client.settle(self._reserved, self.tokens)


def answer_tokens(request: Request) -> float:
    """Return how many tokens the answers to a request may have, as far as it says so.

    Example:
        >>> answer_tokens(ChatRequest(messages=[], options={"max_tokens": 100, "n": 3}))
        300
        >>> answer_tokens(ChatRequest(messages=[])) == UNLIMITED_ANSWER
        True
    """
    if not isinstance(request, ChatRequest):
        return 0
    given = (request.options.get(name) for name in ("max_completion_tokens", "max_tokens"))
    limits = [limit for limit in given if isinstance(limit, int | float) and 0 <= limit < math.inf]
    count = request.options.get("n")
    return (limits[0] if limits else UNLIMITED_ANSWER) * (count if isinstance(count, int) else 1)


def text_bytes(value: Any) -> int:
    """Return how much text there is in a value, in bytes of UTF-8; images and audio are none.

    Example:
        >>> text_bytes({"role": "user", "content": [{"text": "Hi"}, {"url": "data:image/png;base64,iVBORw0KGgo="}]})
        6
    """
    if isinstance(value, str):
        if value.startswith("data:"):
            return 0
        return len(value) if value.isascii() else len(value.encode(errors="replace"))
    if isinstance(value, dict):
        return sum(text_bytes(item) for name, item in value.items() if name != "data")
    if isinstance(value, list):
        return sum(map(text_bytes, value))
    if isinstance(value, msgspec.Struct):
        return sum(text_bytes(getattr(value, name)) for name in value.__struct_fields__)
    return 0


def total(counts: list[Usage | None]) -> Usage | None:
    """Return the sum of token counts; None where none is known.

    Example:
        >>> total([Usage(1, 2), None, Usage(3, 4)]).total_tokens
        10
        >>> total([None]) is None
        True
    """
    known = [usage for usage in counts if usage is not None]
    return sum(known[1:], known[0]) if known else None
