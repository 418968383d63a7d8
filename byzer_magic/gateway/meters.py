"""Counting the tokens of requests against the limits of their keys: as reported, and as estimated until then."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from byzer_magic.gateway.access import Client
from byzer_magic.types import ChatRequest, Dispatched, Request, Usage

BYTES_PER_TOKEN = 4
"""What a token of text takes in UTF-8, roughly: four letters, or one and a third Chinese characters."""


class Meter:
    """Counts the tokens of one request to a deployment.

    What has arrived counts also when its client leaves before the provider reports the tokens; nothing does where no
    deployment was asked, or where it failed before it answered.

    Args:
        client: whose limits they count against.
        request: what is asked.
        first: whether the call has asked nothing before: the further requests of a call that was let in are, too.

    Raises:
        Problem: a limit is reached.

    Example:
        >>> meter = Meter(Client("a"), ChatRequest(messages=[]))
        >>> meter.add(Dispatched(0, 0.0))
        >>> meter.tokens
        0
    """

    def __init__(self, client: Client, request: Request, *, first: bool = True) -> None:
        self.usage: Usage | None = None
        """As reported so far."""
        self._client = client
        self._sums = not isinstance(request, ChatRequest)
        self._estimates = client.tokens.limit > 0
        self._prompt = text_bytes(request) / BYTES_PER_TOKEN if self._estimates else 0.0
        self._bytes = 0
        self._asked = self._complete = self._failed = False
        self._reserved = client.reserve(self._prompt, time.monotonic(), wait=first)

    def add(self, item: Any) -> None:
        """Take an item of the response."""
        if isinstance(item, Dispatched):
            self._asked = True
            return
        if (usage := getattr(item, "usage", None)) is not None:
            # Chats report the total so far, all else what each part has taken.
            self.usage = self.usage + usage if self._sums and self.usage is not None else usage
        if self._estimates:
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
        if not self._asked:
            return 0
        if self.usage is None:
            return 0 if self._failed and not self._bytes else int(self._prompt + self._bytes / BYTES_PER_TOKEN)
        if self._complete:
            return self.usage.total_tokens
        prompt = self.usage.prompt_tokens or int(self._prompt)
        return prompt + max(self.usage.completion_tokens, self._bytes // BYTES_PER_TOKEN)

    def settle(self) -> None:
        """Count the tokens in place of what was reserved for them; the request has ended."""
        self._client.tokens.take(self.tokens - self._reserved)


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
