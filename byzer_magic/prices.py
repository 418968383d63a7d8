"""What models cost by the token, as their providers publish it: the rows of prices.toml."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources

from byzer_magic.types import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One row of prices.toml."""

    match: str
    """Shell patterns for the provider's names of the model, with spaces."""
    currency: str
    """`USD` or `CNY`."""
    input: float
    """Of a million tokens of the prompt, without a cache."""
    output: float
    """Of a million tokens of the answer."""
    source: str
    checked: str
    """The day on which the source said so."""

    def of(self, usage: Usage) -> float:
        """Return what these tokens cost."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / MILLION


@functools.cache
def load() -> tuple[Price, ...]:
    """Return the rows in the order of the file: the first that fits counts."""
    text = resources.files("byzer_magic").joinpath("prices.toml").read_text(encoding="utf-8")
    return tuple(Price(**row) for row in tomllib.loads(text)["price"])


def find(kind: str, model: str) -> Price | None:
    """Return the price of a provider's model, or None where none is known.

    A model that runs here, or behind somebody's own address, has no list price: only what is called a provider's is.
    """
    if not kind.startswith("saas/"):
        return None
    name = model.lower().rpartition("/")[2]
    return next((row for row in load() if any(fnmatchcase(name, pattern) for pattern in row.match.split())), None)


def shown(cost: float | None, currency: str) -> str:
    """Return an amount as people read it, such as ``$0.0021`` or ``¥1.20``; nothing where it is unknown."""
    if cost is None:
        return ""
    sign = {"USD": "$", "CNY": "¥"}.get(currency, f"{currency} ")
    if 0 < cost < 0.0001:
        return f"<{sign}0.0001"
    return f"{sign}{cost:.4f}" if 0 < cost < 1 else f"{sign}{cost:.2f}"
