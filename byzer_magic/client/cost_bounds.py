"""What a request may cost before it is sent: at most, and probably; `estimates` has rough sums of many."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from byzer_magic.catalog.prices import Price
from byzer_magic.journal import keys
from byzer_magic.routing.tokens import UNLIMITED_ANSWER, TokenCount, answer_tokens
from byzer_magic.types import ChatRequest, Request, Usage

MEDIA_TOKENS = 2_000
"""What an image or audio of a prompt has at most, with most models; only the provider counts them."""
REMEMBERED = 100
"""Answers of a deployment whose lengths are remembered."""
GROWTH = 1.5
"""By what a bound grows when an answer that nothing limits becomes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBound:
    """The tokens of one request, and what they cost."""

    price: Price
    prompt: int
    """At most as many as it has bytes: no tokenizer makes more of them."""
    answer: int
    """As `max_tokens` says; without it, as the longest answer so far."""
    likely_prompt: int
    limited: bool = True
    """Whether the answer cannot be longer."""

    @property
    def most(self) -> float:
        """Return what the request costs at most, unless its answer is not limited."""
        return self.price.at_any_length(Usage(self.prompt, self.answer))

    @property
    def likely(self) -> float:
        """Return what the request may cost by a rough count of its prompt."""
        return self.price.at_any_length(Usage(self.likely_prompt, self.answer))

    def grown(self, answer: int) -> CostBound:
        """Return the bound when an answer has so many tokens already."""
        return replace(self, answer=math.ceil(answer * GROWTH))


def cost_bound(request: Request, price: Price, lengths: Sequence[int] = ()) -> CostBound:
    """Return what a request may cost.

    Args:
        request: what is to be asked.
        price: of the model.
        lengths: tokens of earlier answers of this deployment.

    Example:
        >>> from byzer_magic.catalog.prices import find
        >>> from byzer_magic.types import Message
        >>> request = ChatRequest(messages=[Message("user", "Why?")], options={"max_tokens": 10})
        >>> found = cost_bound(request, find("saas/openai", "gpt-4o"))
        >>> (found.answer, found.limited, found.prompt > found.likely_prompt)
        (10, True, True)
    """
    media = len(keys.media_of(request)) * MEDIA_TOKENS
    answer, limited = answer_tokens(request), True
    if isinstance(request, ChatRequest):
        limited = any(request.options.get(name) is not None for name in ("max_completion_tokens", "max_tokens"))
        if not limited and lengths:
            answer *= max(lengths) / UNLIMITED_ANSWER
    return CostBound(
        price=price, prompt=len(keys.canonical(request)) + media, answer=math.ceil(answer),
        likely_prompt=math.ceil(TokenCount(request).prompt) + media, limited=limited,
    )  # fmt: skip


class Lengths:
    """How long the latest answers of a deployment were.

    Args:
        known: tokens of answers of earlier processes, the newest first.
    """

    def __init__(self, known: Sequence[int] = ()) -> None:
        self.tokens: deque[int] = deque(reversed(known[:REMEMBERED]), maxlen=REMEMBERED)

    def add(self, tokens: int) -> None:
        """Note the length of an answer."""
        if tokens > 0:
            self.tokens.append(tokens)
