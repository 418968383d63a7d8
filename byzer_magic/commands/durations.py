"""Durations as users write them: `90`, `10m`, `1h30m`."""

from __future__ import annotations

import math
import re

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds_in(text: str) -> float:
    """Return a duration in seconds.

    Args:
        text: a number of seconds, or numbers with the units d, h, m and s, the longest first.

    Raises:
        ValueError: the text is not a duration.

    Example:
        >>> seconds_in("90"), seconds_in("1h30m")
        (90.0, 5400.0)
    """
    plain = text.strip().lower()
    found = _PARTS.fullmatch(plain)
    if plain and found:
        return sum(
            float(number) * _SECONDS[unit] for unit, number in zip(_SECONDS, found.groups(), strict=True) if number
        )
    number = float(plain)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def written(seconds: float) -> str:
    """Return a duration as `seconds_in` reads it.

    Example:
        >>> written(5400), written(0.5)
        ('1h30m', '0.5')
    """
    if seconds != int(seconds):
        return repr(seconds)
    rest, parts = int(seconds), []
    for unit, size in _SECONDS.items():
        count, rest = divmod(rest, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"
