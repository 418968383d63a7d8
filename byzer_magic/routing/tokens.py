"""How many tokens a request has: as reported, and as estimated until then."""

from __future__ import annotations

import math
from typing import Any

from byzer_magic.routing.token_counts import BYTES_PER_TOKEN, text_bytes
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Request, Usage

UNLIMITED_ANSWER = 500
"""What an answer without a limit is expected to have, while others run."""

LIMITS = ("max_completion_tokens", "max_tokens")
"""The options that limit an answer; the first one that is given counts."""


class TokenCount:
    """Counts the tokens of one request to a deployment.

    What has arrived counts also when its client leaves before the provider reports the tokens; nothing does where no
    deployment was asked, or where it failed before it answered.

    Args:
        request: what is asked.

    Example:
        >>> count = TokenCount(ChatRequest(messages=[]))
        >>> count.add(Dispatched(0, 0.0))
        >>> count.add(ChatChunk("Hello, world"))
        >>> count.tokens
        3
    """

    def __init__(self, request: Request) -> None:
        self.usage: Usage | None = None
        """As reported so far."""
        self._sums = not isinstance(request, ChatRequest)
        self._request = request
        self._estimate: float | None = None
        self.size = 0
        """Bytes of the answer's text so far."""
        self._asked = self._complete = self._failed = False

    @property
    def prompt(self) -> float:
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
        if type(item) is ChatChunk and item.text and not (item.reasoning or item.tool_calls or item.extra):  # most are
            self.size += text_bytes(item.text)
            return
        self.size += sum(text_bytes(getattr(item, name, None)) for name in ("text", "reasoning", "tool_calls"))
        for choice in (getattr(item, "extra", None) or {}).get("choices") or ():  # those after the first
            self.size += text_bytes({name: value for name, value in choice.items() if name != "logprobs"})

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
        if not reported and self._failed and not self.size:
            return None
        found = reported or Usage()
        return Usage(
            found.prompt_tokens or int(self.prompt),
            max(found.completion_tokens, self.size // BYTES_PER_TOKEN),
            found.cost,
            found.currency,
        )


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
    given = (request.options.get(name) for name in LIMITS)
    limits = [limit for limit in given if isinstance(limit, int | float) and 0 <= limit < math.inf]
    count = request.options.get("n")
    return (limits[0] if limits else UNLIMITED_ANSWER) * (count if isinstance(count, int) else 1)
