"""Deployments, events and results as text and HTML: pure functions, no widget, no state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Self

from markupsafe import Markup, escape

from byzer_magic.catalog import prices
from byzer_magic.i18n import gettext as _, ngettext, pad, width
from byzer_magic.rendering.markup import join, style, tag
from byzer_magic.results import ChatResult, EmbedResult, RerankResult, Result
from byzer_magic.stat import ModelStat
from byzer_magic.types import Truncation

NUMBER = re.compile(r"[-+]?[$¥]?[\d,.]+%?( ?(s|ms|min|h|/s|[kKMGT]i?B))?(/\d+)?|")
"""What a column of numbers has in its cells; it is aligned at the right."""
LONG = 48
"""Text that is longer may be broken into lines."""


class Cell(str):
    """A text with its own HTML: for a table that is both."""

    __slots__ = ("html", "number")
    html: Markup
    number: bool

    def __new__(cls, text: str, shown: str | Markup, *, number: bool = False) -> Self:
        """Make one; `shown` is escaped unless it is Markup. A number is aligned at the right of its column."""
        made = super().__new__(cls, text)
        made.html, made.number = escape(shown), number
        return made


def seconds(value: float | None) -> str:
    """Return a duration as people read it: ``0.21 s``, ``3 min``, or nothing for None."""
    if value is None:
        return ""
    if value < 10:
        return f"{value:.2f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.0f} h"


def stat_rows(stats: Iterable[ModelStat]) -> list[dict[str, Any]]:
    """Return one row per deployment, columns in display order."""
    return [
        {
            "model": stat.model,
            "type": stat.kind,
            "can": " ".join(stat.capabilities),
            "workers": f"{sum(worker.health == 'up' for worker in stat.workers)}/{len(stat.workers)} up",
            "busy": f"{sum(worker.limit - worker.free for worker in stat.workers)}/{stat.slots}",
            "queued": stat.queued,
            "requests": stat.requests,
            "errors": stat.errors,
            "first token": seconds(stat.ttft_p50),
            "tokens/s": f"{stat.tokens_per_second:.0f}" if stat.tokens_per_second else "",
            "last work": seconds(min((worker.idle_seconds for worker in stat.workers), default=None)),
        }
        for stat in stats
    ]


def table_text(rows: Sequence[dict[str, Any]], empty: str) -> str:
    """Return rows as aligned text."""
    if not rows:
        return empty
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(width(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(pad(cell, cells) for cell, cells in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def table_html(rows: Sequence[dict[str, Any]], empty: str) -> Markup:
    """Return rows as a plain table that reads well in a saved notebook and in both themes."""
    if not rows:
        return tag("p", empty)
    kinds = {name: _kind([row[name] for row in rows]) for name in rows[0]}
    head = tag("tr", *(tag("th", name, scope="col", class_=kinds[name]) for name in rows[0]))
    body = (tag("tr", *(_cell(row[name], kind) for name, kind in kinds.items())) for row in rows)
    return join([style("table.css"), tag("table", tag("thead", head), tag("tbody", *body), class_="bz-table")])


def tables(tables: Sequence[Sequence[dict[str, Any]]]) -> dict[str, str]:
    """Return several tables, one below the other, as Jupyter shows them."""
    return {
        "text/html": str(join(table_html(rows, "") for rows in tables if rows)),
        "text/plain": "\n\n".join(table_text(rows, "") for rows in tables if rows),
    }


def _kind(values: Sequence[Any]) -> str | None:
    """Return the class that aligns a column, from all its values."""
    texts = [str(value) for value in values]
    numbers = [value.number if isinstance(value, Cell) else NUMBER.fullmatch(str(value)) for value in values]
    if any(texts) and all(numbers):
        return "bz-number"
    return "bz-wrap" if max(map(len, texts)) > LONG else None


def _cell(value: Any, kind: str | None) -> Markup:
    return tag("td", value.html if isinstance(value, Cell) else str(value), class_=kind)


def footer(result: Result, *, by_error: bool = False) -> str:
    """Return the line under an answer: model, worker, and its figures; `by_error`: what ended it is shown beside it."""
    parts = [result.model]
    if result.worker is not None:
        parts.append(_("worker {index}", index=result.worker))
    parts += filter(None, [made(result)])  # sounds and pictures tell about themselves below them
    parts += figures(result)
    if result.interrupted:
        parts.append(_("interrupted by an error; the partial answer is in _chat") if by_error else _("interrupted"))
    return " · ".join(parts)


def figures(result: Result) -> list[str]:
    """Return what an answer took: time to its first token, tokens, speed, total, cost where known, an early end."""
    parts = []
    if isinstance(result, ChatResult) and result.timings.first_token is not None:
        parts.append(_("TTFT {time}", time=f"{result.timings.first_token:.2f} s"))
    if result.usage:
        parts.append(_("{into} + {out} tokens", into=result.usage.prompt_tokens, out=result.usage.completion_tokens))
    if isinstance(result, ChatResult) and result.tokens_per_second:
        parts.append(_("{speed} tokens/s", speed=f"{result.tokens_per_second:.0f}"))
    parts += [f"{result.timings.total:.2f} s", prices.shown(result.cost, result.currency)]
    if isinstance(result, ChatResult) and result.finish not in (None, "stop"):
        parts.append(_("finish reason: {why}", why=result.finish))
    return list(filter(None, parts))


def made(result: Result) -> str:
    """Return how many vectors there are, and how many texts were too long for a model that reads."""
    if not isinstance(result, EmbedResult | RerankResult):
        return ""
    parts = [_cut(result.truncated)] if result.truncated else []
    if isinstance(result, EmbedResult):
        rows, dimensions = result.vectors.shape
        embeddings = ngettext(
            "{count} embedding, {dimensions} dimensions", "{count} embeddings, {dimensions} dimensions",
            count=rows, dimensions=dimensions,
        )  # fmt: skip
        parts.insert(0, embeddings)
    return "; ".join(parts)


def _cut(cut: Truncation) -> str:
    return ngettext(
        "{count} text was truncated at {limit} tokens", "{count} texts were truncated at {limit} tokens",
        count=len(cut.texts), limit=f"{cut.limit:,}",
    )  # fmt: skip


def footer_bundle(text: str) -> dict[str, str]:
    """Return a footer as Jupyter shows it under what has no place for one: sounds, pictures, tables."""
    return {"text/html": str(style("footer.css") + tag("div", text, class_="bz-footer")), "text/plain": text}
