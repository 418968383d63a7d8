"""What requests would take, before they are sent: how many the journal knows, and roughly what the others cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from byzer_magic.client import journaling
from byzer_magic.client.adapters import with_adapter
from byzer_magic.client.manager import Manager
from byzer_magic.journal import keys
from byzer_magic.routing.tokens import TokenCount, answer_tokens
from byzer_magic.stat import ModelStat
from byzer_magic.types import Request, Usage

MOST_IN_FLIGHT = 1024
"""Requests to one deployment at once."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One request that could be sent."""

    alias: str
    request: Request
    sample: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What requests would take; tokens and costs are rough, since only a provider has its model's tokenizer."""

    requests: int
    known: int
    """Those that the journal answers: they cost nothing."""
    prompt_tokens: int
    answer_tokens: int
    """At most as many as `max_tokens` allows; where nothing limits an answer, 500 each."""
    costs: Mapping[str, float]
    """By currency."""
    unpriced: tuple[str, ...] = ()
    """The deployments whose price is unknown; they are not in `costs`."""

    @property
    def to_ask(self) -> int:
        """Return the number of requests that would be sent."""
        return self.requests - self.known


async def estimated(manager: Manager, wanted: Sequence[Wanted]) -> Estimate:
    """Return what requests would take; nothing is asked.

    Raises:
        NotDeployed: nothing is deployed as one of the aliases.
        JournalError: the journal cannot be read.
    """
    is_known = await known(manager, wanted)
    asked = [item for item, answered in zip(wanted, is_known, strict=True) if not answered]
    costs: dict[str, float] = {}
    unpriced = []
    tokens = [0, 0]
    for alias in dict.fromkeys(item.alias for item in asked):
        requests = [item.request for item in asked if item.alias == alias]
        usage = _usage(requests)
        tokens = [tokens[0] + usage.prompt_tokens, tokens[1] + usage.completion_tokens]
        price = (await manager.price(alias)).price
        if price is None:
            unpriced.append(alias)
        else:
            costs[price.currency] = costs.get(price.currency, 0.0) + price.at_any_length(usage)
    return Estimate(
        requests=len(wanted), known=len(wanted) - len(asked), prompt_tokens=tokens[0], answer_tokens=tokens[1],
        costs=costs, unpriced=tuple(unpriced),
    )  # fmt: skip


async def known(manager: Manager, wanted: Sequence[Wanted]) -> list[bool]:
    """Return for each request whether the journal of this task would answer it.

    Raises:
        NotDeployed: nothing is deployed as one of the aliases.
        JournalError: the journal cannot be read.
    """
    how, store = journaling.HOW.get(), journaling.store_for(manager)
    if store is None or how.fresh or not how.read:
        return [False] * len(wanted)
    found = [await _key(manager, item) for item in wanted]
    answered = await asyncio.to_thread(store.has, [key for key in found if key])
    return [key in answered for key in found]


async def _key(manager: Manager, item: Wanted) -> str:
    """Return the key of an answer in the journal; empty where the model cannot be told."""
    alias, adapter = await manager.named(item.alias)
    request = with_adapter(item.request, adapter) if adapter else item.request
    identity = await manager.identity(alias)
    return keys.key_of(identity.digest, keys.canonical(request), item.sample) if identity else ""


def in_flight(stat: ModelStat) -> int:
    """Return how many requests keep a deployment busy: as many as it has slots, or may have by scaling."""
    workers = max(len(stat.workers), stat.max_workers, 1)
    return min(MOST_IN_FLIGHT, workers * max(1, stat.concurrency))


def _usage(requests: Sequence[Request]) -> Usage:
    prompt = sum(TokenCount(request).prompt for request in requests)
    answer = sum(map(answer_tokens, requests))
    return Usage(math.ceil(prompt), math.ceil(answer))
