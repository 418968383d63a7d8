"""Deployments, events and results as text and HTML: pure functions, no widget, no state."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from byzer_magic.results import ChatResult, RerankResult, Result, TranscribeResult
from byzer_magic.stat import ModelStat
from byzer_magic.types import Event, Failed, Loading, Placed, Ready

STYLE = (
    "border-collapse:collapse;font-size:var(--jp-ui-font-size1,13px);font-variant-numeric:tabular-nums",
    "text-align:left;padding:2px 10px;border-bottom:1px solid currentColor;font-weight:600",
    "text-align:left;padding:2px 10px",
)
"""Of the table, a heading and a cell; colours come from the page, so both themes are right."""


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
            "first token": seconds(stat.first_token_p50),
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
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def table_html(rows: Sequence[dict[str, Any]], empty: str) -> str:
    """Return rows as a plain table that reads well in a saved notebook and in both themes."""
    if not rows:
        return f"<p>{html.escape(empty)}</p>"
    table, heading, cell = STYLE
    head = "".join(f'<th scope="col" style="{heading}">{html.escape(name)}</th>' for name in rows[0])
    body = "".join(
        "<tr>" + "".join(f'<td style="{cell}">{html.escape(str(value))}</td>' for value in row.values()) + "</tr>"
        for row in rows
    )
    return f'<table style="{table}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def event_text(model: str, event: Event) -> str:
    """Return one line about a deploy's event."""
    match event:
        case Placed(pid=pid):
            return f"{model}: placed (process {pid})"
        case Loading(stage=stage, worker=worker, fraction=fraction, detail=detail):
            part = "" if fraction is None else f" {fraction:.0%}"
            return f"{model}: worker {worker}: {stage}{part}{f' ({detail})' if detail else ''}"
        case Ready(seconds=took, workers=workers, capabilities=abilities):
            return f"{model}: ready in {took:.1f} s - {workers} worker{'s'[: workers != 1]}, can {', '.join(abilities)}"
        case Failed():
            return f"{model}: failed"


def footer(result: Result) -> str:
    """Return the line under an answer: model, worker, time to first token, tokens, speed, total."""
    parts = [result.model]
    if result.worker is not None:
        parts.append(f"worker {result.worker}")
    if isinstance(result, ChatResult) and result.timings.first_token is not None:
        parts.append(f"first token {result.timings.first_token:.2f} s")
    if result.usage:
        parts.append(f"{result.usage.prompt_tokens} + {result.usage.completion_tokens} tokens")
    if isinstance(result, ChatResult) and result.tokens_per_second:
        parts.append(f"{result.tokens_per_second:.0f} tokens/s")
    if not isinstance(result, ChatResult | TranscribeResult | RerankResult):
        parts.append(" + ".join(str(result).split("\n")))
    parts.append(f"{result.timings.total:.2f} s")
    if isinstance(result, ChatResult) and result.finish not in (None, "stop"):
        parts.append(f"stopped: {result.finish}")
    if result.interrupted:
        parts.append("interrupted")
    return " · ".join(parts)
