"""Which of several deployments answers under one name: the first that can, or each a share.

Pure: times are arguments, in seconds of any monotonic clock.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from byzer_magic.i18n import lazy_gettext as _

_SEPARATOR = re.compile("[>,，→]")
_WEIGHT = re.compile(r"\d+(?:\.\d*)?|\.\d+")


@dataclass(frozen=True, slots=True)
class Arm:
    """One of the deployments that answer."""

    alias: str
    weight: float | None = None
    """Its share of the requests, in a sum of 1; None where the first that can answers."""


def parse(text: str) -> list[Arm]:
    """Return the deployments that a text names.

    Args:
        text: `a>b>c` or `a,b,c` for the first that can; `a:0.9,b:0.1` for shares, of any sum.

    Raises:
        ValueError: the text has no alias, one twice, or shares for a part of them, or for none more than 0.

    Example:
        >>> [arm.alias for arm in parse("a > b")], [arm.weight for arm in parse("a:3,b:1")]
        (['a', 'b'], [0.75, 0.25])
    """
    words = [word.strip() for word in _SEPARATOR.split(text)]
    shares = [(alias.strip(), weight) for alias, _colon, weight in (word.rpartition(":") for word in words)]
    if ">" in text or not all(alias and _WEIGHT.fullmatch(weight) for alias, weight in shares):
        arms = [Arm(word) for word in words]
    else:
        total = sum(float(weight) for _alias, weight in shares)
        if not total:
            raise ValueError(_("the shares have a sum of 0"))
        arms = [Arm(alias, float(weight) / total) for alias, weight in shares]
    names = [arm.alias for arm in arms]
    if not all(names):
        raise ValueError(_("a name is missing"))
    if len({*names}) < len(names):
        raise ValueError(_("a deployment is named twice"))
    return arms


class Turns:
    """Gives each arm its share, as exactly as whole requests allow: no run of luck sends ten in a row to one.

    Example:
        >>> turns = Turns(parse("a:0.75,b:0.25"))
        >>> [turns.next() for _ in range(4)]
        ['a', 'a', 'b', 'a']
    """

    def __init__(self, arms: Collection[Arm]) -> None:
        self._credit = {arm.alias: 0.0 for arm in arms}
        self._weights = {arm.alias: arm.weight or 0.0 for arm in arms}

    def next(self, among: Collection[str] | None = None) -> str:
        """Return the arm that is next; with `among`, of these only.

        Raises:
            ValueError: there is none.
        """
        for alias, weight in self._weights.items():
            self._credit[alias] += weight
        chosen = max((alias for alias in self._credit if among is None or alias in among), key=self._credit.__getitem__)
        self._credit[chosen] -= 1.0
        return chosen
