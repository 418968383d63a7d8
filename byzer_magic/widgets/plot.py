"""Latency, throughput and cost of a deployment over its last minutes, as a figure that is saved in the notebook."""

from __future__ import annotations

import time

from byzer_magic.commands.spec import PlotSpec
from byzer_magic.i18n import gettext as _
from byzer_magic.rendering import amounts
from byzer_magic.rendering.deployments import figure
from byzer_magic.widgets.context import Context

MINUTES = 10.0
"""Minutes of history that a deployment keeps."""
SHORTEST = 0.5
"""Minutes that are shown of a younger deployment."""


def show(context: Context, item: PlotSpec) -> None:
    """Show it in the running cell.

    Raises:
        NotDeployed: nothing is deployed as this alias.
    """
    manager = context.manager
    manager.reach(item.model, item.ray_address)
    stat = manager.run(manager.stat(item.model))
    samples = manager.run(manager.history(item.model))
    minutes = min(item.minutes, MINUTES, max(stat.uptime_seconds / 60, SHORTEST))
    shown = figure.window(minutes, time.time())
    within = [sample for sample in samples if sample.at > shown.start]
    if not any(sample.requests or sample.tokens or sample.busy for sample in within):
        context.output.say(
            _(
                "{alias} has had no requests in the last {minutes} min.",
                alias=item.model,
                minutes=f"{max(minutes, 0.1):.1f}".removesuffix(".0"),
            )
        )
        return
    made = figure.plots(within, shown, stat.currency)
    start = f"{time.strftime('%Y-%m-%d')} {figure.clock(shown.start)}"
    title = _("{alias}, {start} to {end}", alias=item.model, start=start, end=figure.clock(shown.end))
    sums = {name: f"{sum(getattr(sample, name) for sample in within):,}" for name in ("requests", "errors", "tokens")}
    cost = amounts.money(sum(sample.cost or 0.0 for sample in within), stat.currency) if stat.cost is not None else ""
    counts = _("{requests} requests, {errors} errors, {tokens} tokens", **sums)
    summary = _("{counts}, {cost}", counts=counts, cost=cost) if cost else counts
    text = figure.text(title, summary, made)
    if not context.has_kernel:
        context.output.text(text)
        return
    from IPython.display import display

    display({"text/html": figure.page(title, summary, made, shown), "text/plain": text}, raw=True)
