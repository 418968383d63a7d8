"""What a request may cost before it is sent, and while its answer grows; `estimates` has rough sums of many."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from byzer_magic.catalog.prices import MILLION, Price
from byzer_magic.journal import keys
from byzer_magic.routing.tokens import LIMITS, UNLIMITED_ANSWER, TokenCount, answer_tokens
from byzer_magic.types import ChatRequest, Request, Usage

MEDIA_TOKENS = 2_000
"""What an image or audio of a prompt has at most, with most models; only the provider counts them."""
REMEMBERED = 100
"""Answers of a deployment that are remembered."""
REACH = 4_096
"""Tokens that are held for an answer without a limit; there is no model that refuses it as a limit."""
LEAST_REACH = 512
USUAL = 0.9
"""The part of the answers that are not longer than usual."""
KNOWN_AFTER = 20
"""With so many answers, it is known how long they are."""
FAR_LONGER = 4
"""An answer is not so many times as long as the longest of those before, as a rule."""
SHORTEST = 16
"""Tokens: OpenAI's reasoning models refuse a lower limit."""
PER_BYTE = 0.5
"""Tokens of a byte of text, where it is not known: twice as many as English has."""
LEAST_PER_BYTE = 0.25
DENSER = 1.5
"""How many times as many tokens other text may have: Chinese, or code, after English."""
MEASURED_BYTES = 64
"""Shorter texts do not show how many tokens a byte has."""
GROWTH = 1.5
"""By how much more is held than an answer needs now."""
AHEAD_SECONDS = 1.0
"""What comes in this time is held ahead: the pool may gather it, and a provider is not told at once to stop."""
SPEED_SECONDS = 0.5
"""Over a shorter time, no speed is measured."""
AHEAD = 64
"""Tokens that are held ahead in any case."""


class Lengths:
    """How long the latest answers of a deployment were, and how many tokens their text had.

    Args:
        known: tokens and bytes of answers of earlier processes, the newest first.

    Example:
        >>> lengths = Lengths()
        >>> lengths.add(1_400, 1_000)  # it has thought before it wrote
        >>> lengths.longest, lengths.per_byte, lengths.unseen
        (1400, 1.0, 400)
    """

    def __init__(self, known: Sequence[tuple[int, int]] = ()) -> None:
        self._known: deque[tuple[int, int]] = deque(reversed(known[:REMEMBERED]), maxlen=REMEMBERED)
        self._whole = False
        self._look()

    def add(self, tokens: int, size: int, *, whole: bool = False) -> None:
        """Note an answer.

        Args:
            tokens: its tokens, as the provider has reported.
            size: bytes of its text.
            whole: whether it came in one piece.
        """
        if tokens >= SHORTEST:
            self._whole = whole
        if tokens > 0:
            self._known.append((tokens, size))
            self._look()

    def _look(self) -> None:
        """Find out once what many requests need to know."""
        ordered = sorted(tokens for tokens, _size in self._known)
        rates = [tokens / size for tokens, size in self._known if size >= MEASURED_BYTES]
        self.longest = ordered[-1] if ordered else 0
        """Tokens of the longest answer; 0 without one."""
        self.usual = ordered[math.ceil(USUAL * len(ordered)) - 1] if ordered else 0
        """Tokens that no more than one answer in ten exceeds; 0 without one."""
        self.per_byte = min(1.0, max(LEAST_PER_BYTE, *rates)) if rates else PER_BYTE
        """Tokens of a byte of text, as in the answer that had most."""
        self.most_per_byte = min(1.0, DENSER * self.per_byte) if rates else PER_BYTE
        """Tokens that a byte of the next answer may have."""
        self.unseen = max((0, *(tokens - size for tokens, size in self._known)))
        """How many tokens an answer may have beside its text: what some models think is not shown."""

    @property
    def reach(self) -> int:
        """Return the tokens to hold for an answer that nothing limits."""
        if len(self._known) < KNOWN_AFTER or self._whole:  # what comes in one piece cannot be ended
            return max(REACH, self.longest)
        return max(self.longest, min(REACH, max(LEAST_REACH, FAR_LONGER * self.longest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBound:
    """The tokens of one request, and what they cost."""

    price: Price
    prompt: int
    """At most as many as it has bytes: no tokenizer makes more of them."""
    likely_prompt: int
    answer: int
    """As `max_tokens` says; without it, as many as are held before it is sent."""
    usual: int
    """As `max_tokens` says; without it, as nine of ten answers so far."""
    fixed: bool = True
    """Whether the request itself limits its answer, or there is none."""
    limited: bool = True
    """Whether the answer cannot be longer than `answer`."""
    choices: int = 1

    @property
    def most(self) -> float:
        """Return what is held for the request: what it costs at most, unless its answer is not limited."""
        return self.price.at_any_length(Usage(self.prompt, self.answer))

    @property
    def least(self) -> float:
        """Return with how much the request would do, as most of them."""
        return self.price.at_any_length(Usage(self.prompt, self.usual))

    @property
    def likely(self) -> float:
        """Return what the request may cost by a rough count of its prompt."""
        return self.price.at_any_length(Usage(self.likely_prompt, self.usual))

    def of(self, answer: int) -> float:
        """Return what the request costs at most with an answer of so many tokens."""
        return self.price.at_any_length(Usage(self.prompt, answer))

    def paid_by(self, amount: float) -> float:
        """Return how many tokens of the answer an amount pays for, after the prompt."""
        if not self.price.output:
            return math.inf
        return max(0.0, (amount - self.of(0)) * MILLION / self.price.output)


def cost_bound(request: Request, price: Price, lengths: Lengths | None = None, limit: int | None = None) -> CostBound:
    """Return what a request may cost.

    Args:
        request: what is to be asked.
        price: of the model.
        lengths: of earlier answers of this deployment.
        limit: tokens of an answer, where the deployment sets it.

    Example:
        >>> from byzer_magic.catalog.prices import find
        >>> from byzer_magic.types import Message
        >>> request = ChatRequest(messages=[Message("user", "Why?")], options={"max_tokens": 10})
        >>> found = cost_bound(request, find("saas/openai", "gpt-4o"))
        >>> (found.answer, found.limited, found.prompt > found.likely_prompt)
        (10, True, True)
    """
    media = len(keys.media_of(request)) * MEDIA_TOKENS
    prompt, likely = len(keys.canonical(request)) + media, math.ceil(TokenCount(request).prompt) + media
    if isinstance(request, ChatRequest):
        given = {**(request.options.get("extra_body") or {}), **request.options}
        request = msgspec.structs.replace(request, options=given)
    answer = math.ceil(answer_tokens(request))
    bound = CostBound(price=price, prompt=prompt, likely_prompt=likely, answer=answer, usual=answer)
    if not isinstance(request, ChatRequest) or any(request.options.get(name) is not None for name in LIMITS):
        return bound
    lengths = lengths or Lengths()
    choices = answer // UNLIMITED_ANSWER
    held = choices * min(lengths.reach, limit or lengths.reach)
    usual = min(held, choices * max(SHORTEST, lengths.usual or UNLIMITED_ANSWER))
    limited = limit is not None and limit <= lengths.reach
    return replace(bound, answer=held, usual=usual, fixed=False, limited=limited, choices=choices)


class Watch:
    """How much is needed for an answer that nothing limits, while it comes.

    Args:
        bound: of the request.
        lengths: of earlier answers of this deployment.
        room: the tokens for which money is held.

    Example:
        >>> from byzer_magic.catalog.prices import find
        >>> request = ChatRequest(messages=[])
        >>> watch = Watch(cost_bound(request, find("saas/openai", "gpt-4o")), Lengths(), room=1_000)
        >>> watch.add(200, 0, now=0.0)
        >>> watch.is_short  # 100 tokens have come; at the most 200 will before one can look again
        False
        >>> watch.add(2_000, 0, now=1.0)
        >>> watch.is_short, watch.wanted
        (True, 3000)
    """

    def __init__(self, bound: CostBound, lengths: Lengths, room: float) -> None:
        self.room = room
        self._limited = bound.limited
        self._rates = lengths.per_byte, lengths.most_per_byte
        self._unseen = lengths.unseen
        self.counted = 0
        """Tokens so far: at least as many as the provider counts, if it counts as it did before."""
        self._began: float | None = None
        self._needed = 0.0

    @property
    def is_short(self) -> bool:
        """Return whether more is needed than is held."""
        return not self._limited and self._needed > self.room

    @property
    def wanted(self) -> int:
        """Return for how many tokens money is to be held now."""
        return math.ceil(GROWTH * self._needed)

    def add(self, size: int, reported: int, now: float) -> None:
        """Take note of how long the answer is.

        Args:
            size: bytes of its text so far.
            reported: its tokens, as far as the provider has told.
            now: the time, in seconds.
        """
        if not size:
            return
        if self._began is None:
            self._began = now
        known, most = (math.ceil(size * rate) for rate in self._rates)
        self.counted = max(reported, known + self._unseen)
        ahead = AHEAD_SECONDS * most / max(SPEED_SECONDS, now - self._began)
        self._needed = max(reported, most + self._unseen) + max(AHEAD, ahead)
