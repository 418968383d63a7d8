"""How much of its limits a deployment has used, in words."""

from __future__ import annotations

from byzer_magic.commands import durations
from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.amounts import dollars
from byzer_magic.stat import LimitStat, ModelStat


def text(stat: ModelStat) -> str:
    """Return how much of its limits a deployment has used; empty where it has none.

    Example:
        >>> text(ModelStat(model="m", kind="saas/openai", strategy="lru", capabilities=[], concurrency=2, workers=[],
        ...                limits=[LimitStat("rpm", 60, 60, "minute", 7), LimitStat("budget_usd", 0.5, 5, "day")]))
        '60 of 60 requests a minute (free in 7s) · $0.50 of $5.00 today (UTC)'
    """
    return " · ".join(map(_one, stat.limits))


def queue(stat: ModelStat) -> str:
    """Return the length of the queue and its limit, where one was set; else an empty text."""
    most = next((item.limit for item in stat.limits if item.name == "max_queue"), None)
    return "" if most is None else f"{stat.queued:,}/{most:,.0f}"


def _one(item: LimitStat) -> str:
    used, limit = f"{item.used:,.0f}", f"{item.limit:,.0f}"
    match item.name, item.per:
        case "rpm", _per:
            text = _("{used} of {limit} requests a minute", used=used, limit=limit)
        case "tpm", _per:
            text = _("{used} of {limit} tokens a minute", used=used, limit=limit)
        case "budget_usd", "day":
            text = _("{used} of {limit} today (UTC)", used=dollars(item.used), limit=dollars(item.limit))
        case "budget_usd", _per:
            text = _("{used} of {limit} spent", used=dollars(item.used), limit=dollars(item.limit))
        case _:
            text = _("{used} of {limit} places in the queue", used=used, limit=limit)
    if item.free_in == 0:
        return text
    free = _("used up") if item.free_in is None else _("free in {time}", time=durations.written(item.free_in))
    return _("{text} ({notes})", text=text, notes=free)
