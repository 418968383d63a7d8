"""What the tokens of deployments cost, as their pools say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from byzer_magic import errors
from byzer_magic.catalog.prices import Price

if TYPE_CHECKING:
    from byzer_magic.client.connection import Connection
    from byzer_magic.runtime.transport.messages import ModelPrice

PRICE_SECONDS = 5.0
"""How old a price may be: a deployment may be updated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """The price of a deployment's model."""

    price: Price | None = None
    """Of a route, that of its dearest model."""
    is_free: bool = False
    """Whether the model runs on machines of one's own."""
    limit: int | None = None
    """Tokens of an answer, where the deployment sets it for requests that do not."""


class Prices:
    """The prices that are known."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, tuple[Priced, float]] = WeakKeyDictionary()

    async def of(self, connection: Connection, alias: str) -> Priced:
        """Return the price of a deployment.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        link = await connection.link(alias)
        known = self._known.get(link)
        if known is None or time.monotonic() - known[1] > PRICE_SECONDS:
            known = self._known[link] = await self._asked(connection, link), time.monotonic()
        return known[0]

    async def _asked(self, connection: Connection, link: Any) -> Priced:
        try:
            found: ModelPrice = await link.call("price")
        except (errors.BadRequest, errors.MalformedResponse, errors.CommandError):  # of a pool that has no such method
            return Priced()
        if not found.members:
            return Priced(price=found.price, is_free=found.is_free, limit=found.limit)
        members = []
        for alias in found.members:
            with contextlib.suppress(errors.ByzerError):
                members.append(await self.of(connection, alias))
        return dearest(members)


def dearest(members: Sequence[Priced]) -> Priced:
    """Return the price of a route: that of the model whose tokens cost most.

    Example:
        >>> from byzer_magic.catalog.prices import find
        >>> small, large = (Priced(price=find("saas/openai", name)) for name in ("gpt-4o-mini", "gpt-4o"))
        >>> dearest([small, large, Priced(is_free=True)]).price.match.split()[0]
        'gpt-4o'
    """
    prices = [member.price for member in members if member.price is not None]
    price = max(prices, key=lambda found: (found.output, found.input), default=None)
    limits = [member.limit for member in members]
    limit = None if None in limits else max((limit for limit in limits if limit is not None), default=None)
    return Priced(price=price, is_free=bool(members) and all(member.is_free for member in members), limit=limit)


PRICES = Prices()
"""Of this process."""
