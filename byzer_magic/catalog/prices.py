"""List prices of models per token: the rows of prices.toml."""

from __future__ import annotations

import functools
import ipaddress
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources

import msgspec

from byzer_magic.safety import urls
from byzer_magic.types import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One row of prices.toml."""

    match: str
    """Shell patterns for the provider's names of the model, separated by spaces."""
    kinds: str
    """The types of deployment whose own URL is this provider's, separated by spaces."""
    at: str
    """The provider's hosts, separated by spaces."""
    currency: str
    """`USD` or `CNY`."""
    input: float
    """Price of a million prompt tokens that are not cached."""
    output: float
    """Price of a million completion tokens."""
    source: str
    checked: str
    """When it was looked up, as an ISO date or month."""
    up_to: int = 0
    """Prompts of more tokens have other prices; 0: the price holds for all."""

    def on(self, usage: Usage) -> Usage:
        """Return the usage of a response with its cost, where this price holds."""
        cost = self.of(usage)
        return usage if cost is None else msgspec.structs.replace(usage, cost=cost, currency=self.currency)

    def of(self, usage: Usage) -> float | None:
        """Return the cost of a response, or None where this price does not hold.

        Example:
            >>> find("saas/openai", "gpt-4o").of(Usage(prompt_tokens=1_000_000, completion_tokens=0))
            2.5
        """
        if self.up_to and usage.prompt_tokens > self.up_to:
            return None
        return self.at_any_length(usage)

    def at_any_length(self, usage: Usage) -> float:
        """Return what tokens cost at this price, also where longer prompts have a higher one."""
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / MILLION


@functools.cache
def load() -> tuple[Price, ...]:
    """Return the rows in the order of the file: the first that matches counts."""
    text = resources.files("byzer_magic.catalog").joinpath("prices.toml").read_text(encoding="utf-8")
    return tuple(Price(**row) for row in tomllib.loads(text)["price"])


def find(kind: str, model: str, base_url: str = "") -> Price | None:
    """Return the price of a provider's model, or None if it is unknown.

    Args:
        kind: the type of deployment, such as `saas/openai`.
        model: the provider's name of the model.
        base_url: the deployment's URL; empty: the type's own. It must be the provider's, or in a private network, where
            a proxy forwards to the provider. A model of the same name at another public URL may have any price.

    Example:
        >>> price = find("saas/openai", "gpt-4o")
        >>> (price.input, price.output, price.currency)
        (2.5, 10.0, 'USD')
        >>> find("saas/openai", "gpt-4o", "https://gateway.example.com/v1") is None
        True
    """
    host = urls.split(base_url).hostname or ""
    name = model.lower().rpartition("/")[2]
    is_default = not base_url or _is_near(host)
    for row in load():
        is_there = host in row.at.split() or (is_default and kind in row.kinds.split())
        if is_there and any(fnmatchcase(name, pattern) for pattern in row.match.split()):
            return row
    return None


def _is_near(host: str) -> bool:
    """Return whether a host is this machine or in a private network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))
