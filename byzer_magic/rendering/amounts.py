"""Money and durations in readable form."""

from __future__ import annotations

SIGNS = {"USD": "$", "CNY": "¥", "EUR": "€"}
"""Signs of currencies; others are shown by their code."""
SMALLEST = 0.0001
"""A smaller cost is shown as less than this."""


def money(value: float | None, currency: str) -> str:
    """Return a cost with the sign of its currency; empty where no price is known.

    Example:
        >>> money(0.00421, "USD"), money(12.345, "CNY"), money(None, "")
        ('$0.0042', '¥12.35', '')
    """
    if value is None or not currency:
        return ""
    sign = SIGNS.get(currency, f"{currency} ")
    if 0 < value < SMALLEST:
        return f"<{sign}{SMALLEST}"
    if value == 0 or value >= 100:
        return f"{sign}{value:,.0f}"
    return f"{sign}{value:.2f}" if value >= 1 else f"{sign}{value:.4f}"


def dollars(value: float) -> str:
    """Return a budget, or what is spent of it, to a millionth of a dollar: the two are compared.

    Example:
        >>> dollars(5), dollars(0.5), dollars(0.000125)
        ('$5.00', '$0.50', '$0.000125')
    """
    whole, _point, decimals = f"{value:,.6f}".partition(".")
    return f"${value:,.2f}" if value >= 1 else f"${whole}.{decimals.rstrip('0').ljust(2, '0')}"


def duration(value: float | None) -> str:
    """Return a duration in seconds in readable form; empty for None.

    Example:
        >>> duration(0.214), duration(200), duration(None)
        ('0.21 s', '3 min', '')
    """
    if value is None:
        return ""
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"
