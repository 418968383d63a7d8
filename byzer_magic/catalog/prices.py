"""What models cost by the token, as their providers publish it: the rows of prices.toml."""

from __future__ import annotations

import functools
import ipaddress
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from urllib.parse import urlsplit

import msgspec

from byzer_magic.types import Usage

MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One row of prices.toml."""

    match: str
    """Shell patterns for the provider's names of the model, with spaces."""
    kinds: str
    """The types of deployment that reach this provider by themselves, with spaces."""
    at: str
    """The provider's hosts, with spaces."""
    currency: str
    """`USD` or `CNY`."""
    input: float
    """Of a million tokens of the prompt, without a cache."""
    output: float
    """Of a million tokens of the answer."""
    source: str
    checked: str
    """The day on which the source said so."""
    up_to: int = 0
    """Longer prompts, in tokens, have other prices; 0: none have."""

    def on(self, usage: Usage) -> Usage:
        """Return the tokens of one answer with what they cost, where this price holds."""
        cost = self.of(usage)
        return usage if cost is None else msgspec.structs.replace(usage, cost=cost, currency=self.currency)

    def of(self, usage: Usage) -> float | None:
        """Return what one answer has cost, or None where this price does not hold."""
        if self.up_to and usage.prompt_tokens > self.up_to:
            return None
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / MILLION


@functools.cache
def load() -> tuple[Price, ...]:
    """Return the rows in the order of the file: the first that fits counts."""
    text = resources.files("byzer_magic.catalog").joinpath("prices.toml").read_text(encoding="utf-8")
    return tuple(Price(**row) for row in tomllib.loads(text)["price"])


def find(kind: str, model: str, base_url: str = "") -> Price | None:
    """Return the price of a provider's model, or None where none is known.

    The address is to be the provider's own, or one of somebody's own network, where a proxy leads to the provider. What
    runs under the same name at other public addresses may cost anything.
    """
    host = urlsplit(base_url).hostname or ""
    name = model.lower().rpartition("/")[2]
    is_default = not base_url or _is_near(host)
    for row in load():
        is_there = host in row.at.split() or (is_default and kind in row.kinds.split())
        if is_there and any(fnmatchcase(name, pattern) for pattern in row.match.split()):
            return row
    return None


def _is_near(host: str) -> bool:
    """Tell whether a host is of this machine or of a private network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".lan"))
