"""How a result came about: which worker made it, how long it took, of how many tokens, at what cost."""

from __future__ import annotations

import msgspec

from byzer_magic.errors import ByzerError
from byzer_magic.types import Usage


class Timings(msgspec.Struct, frozen=True):
    """When things happened to one request, in seconds since it was sent."""

    first_token: float | None = None
    total: float = 0.0
    queued: float = 0.0
    """Time spent waiting for a free slot, measured in the pool."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What all results tell of how they came about."""

    model: str
    worker: int | None = None
    usage: Usage | None = None
    timings: Timings = Timings()
    interrupted: bool = False
    error: ByzerError | None = None
    """Why it ended early, in a list of several models' answers; alone, an error is raised instead."""

    @property
    def cost(self) -> float | None:
        """Return what it has cost, or None where the price is not known, or the end with its tokens did not come."""
        return self.usage.cost if self.usage else None

    @property
    def currency(self) -> str:
        """Return what `cost` is counted in, `USD` or `CNY`; nothing where the cost is not known."""
        return self.usage.currency if self.usage else ""
