"""What a run would take: rows, tokens and cost, before anything is asked."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from byzer_magic.catalog.prices import Price
from byzer_magic.data.asking import Asker
from byzer_magic.data.rows import Row, Rows
from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.amounts import money
from byzer_magic.routing.tokens import TokenCount, answer_tokens
from byzer_magic.types import Request, Usage

AT_ONCE = 2048
"""Rows that are looked up in the journal together."""

Known = Callable[[Sequence[Request]], Sequence[bool]]
"""Returns for each request whether the journal has its answer."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run would take; tokens and cost are rough, since only the provider has the model's tokenizer.

    Example:
        >>> print(Estimate(rows=4, known=1, equal=1, to_ask=2, prompt_tokens=20, answer_tokens=1_000, cost=0.01,
        ...                currency="USD"))
        4 rows: 1 in the journal, 1 equal to others, 2 to ask
        about 20 + 1,000 tokens, $0.0100
    """

    rows: int
    known: int = 0
    """Rows whose answers are in the journal."""
    equal: int = 0
    """Rows that are equal to others, and are asked about once with them."""
    not_askable: int = 0
    """Rows with a missing cell, which are not asked about."""
    to_ask: int
    prompt_tokens: int
    answer_tokens: int
    """At most as many as ``max_tokens`` allows; where nothing limits an answer, 500 each."""
    cost: float | None = None
    """In `currency`; None where the price is unknown."""
    currency: str = ""

    def __str__(self) -> str:
        parts = [
            (self.known, _("{count} in the journal", count=f"{self.known:,}")),
            (self.equal, _("{count} equal to others", count=f"{self.equal:,}")),
            (self.not_askable, _("{count} with a missing cell", count=f"{self.not_askable:,}")),
        ]
        rows = [text for count, text in parts if count] + [_("{count} to ask", count=f"{self.to_ask:,}")]
        first = _("{count} rows: {parts}", count=f"{self.rows:,}", parts=", ".join(rows))
        tokens = _("about {into} + {out} tokens", into=f"{self.prompt_tokens:,}", out=f"{self.answer_tokens:,}")
        cost = money(self.cost, self.currency) or _("price unknown")
        return f"{first}\n{tokens}, {cost}"

    def __repr__(self) -> str:
        return str(self)


def estimated(rows: Rows, asker: Asker, price: Price | None, known: Known, *, once: bool) -> Estimate:
    """Return what a run would take; rows are read in pieces, and nothing of them is kept but a digest.

    Args:
        rows: what would be asked about.
        asker: what would ask.
        price: of the model, where it is known.
        known: whether the journal has the answers to requests.
        once: whether equal rows are asked about once.
    """
    seen: set[bytes] = set()
    counts = dict.fromkeys(("known", "equal", "not_askable", "to_ask"), 0)
    prompt = answer = 0.0
    items = iter(rows)
    while piece := list(islice(items, AT_ONCE)):
        requests = [request for row in piece if (request := _request(asker, row)) is not None]
        counts["not_askable"] += len(piece) - len(requests)
        for request, is_known in zip(requests, known(requests), strict=True):
            digest = hashlib.blake2b(msgspec.msgpack.encode(request), digest_size=16).digest() if once else b""
            what = "known" if is_known else "equal" if digest in seen else "to_ask"
            counts[what] += 1
            if once:
                seen.add(digest)
            if what == "to_ask":
                prompt += TokenCount(request).prompt
                answer += answer_tokens(request)
    tokens = Usage(math.ceil(prompt), math.ceil(answer))
    return Estimate(
        rows=len(rows), **counts, prompt_tokens=tokens.prompt_tokens, answer_tokens=tokens.completion_tokens,
        cost=price.at_any_length(tokens) if price else None, currency=price.currency if price else "",
    )  # fmt: skip


def _request(asker: Asker, row: Row) -> Request | None:
    try:
        return asker.request(row)
    except Exception:  # noqa: BLE001 - the row will have the error, whatever it is
        return None
