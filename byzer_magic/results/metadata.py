"""How a result came about: which worker made it, how long it took, how many tokens it used, what it cost."""

from __future__ import annotations

import msgspec

from byzer_magic.errors import ByzerError
from byzer_magic.types import FromJournal, Localizable, Usage


class Timings(msgspec.Struct, frozen=True):
    """When things happened to one request, in seconds since it was sent."""

    first_token: float | None = None
    """Time to first token (TTFT); None when the response came in one piece, or nothing arrived."""
    total: float = 0.0
    queued: float = 0.0
    """Time spent waiting for a free slot, measured in the pool."""
    last_token: float | None = None
    """Time until the last piece of the response; None as for `first_token`."""
    after_first: float | None = None
    """Part of the response that came after its first piece, 0..1; None where only a token is known to be in that."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that all results have."""

    model: str
    """The alias that was asked."""
    worker: int | None = None
    served_by: str = ""
    """The deployment that answered, where the alias is a route."""
    skipped: list[tuple[str, Localizable]] = []
    """Deployments of the route that did not answer, each with the reason."""
    usage: Usage | None = None
    """Tokens, where the provider or engine counts them."""
    timings: Timings = Timings()
    interrupted: bool = False
    """Whether the result is only what had arrived when the request was stopped or failed."""
    request_id: str = ""
    """The id of the request: logs have it, and the provider gets it where its API takes one."""
    error: ByzerError | None = None
    """Why it ended early, in a list of several models' results; of a single model the error is raised instead."""

    journal: FromJournal | None = None
    """Set where the answer comes from the journal: the model was not asked."""

    @property
    def cost(self) -> float | None:
        """Return the cost in `currency`; None where the price is unknown or the usage did not arrive.

        An answer from the journal costs nothing (see `saved`).
        """
        cost = self.usage.cost if self.usage else None
        return cost if cost is None or self.journal is None else 0.0

    @property
    def saved(self) -> float | None:
        """Return what the answer cost when it was asked, in `currency`; None for one that was asked just now."""
        return self.usage.cost if self.usage and self.journal else None

    @property
    def currency(self) -> str:
        """Return `USD` or `CNY`; empty where the cost is unknown."""
        return self.usage.currency if self.usage else ""
