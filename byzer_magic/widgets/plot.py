"""Latency, throughput and cost of a deployment over its last minutes, as a figure that is saved in the notebook."""

from __future__ import annotations

import time

from byzer_magic.commands.spec import PlotSpec
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
        context.output.say(figure.without_requests(item.model, minutes))
        return
    made = figure.plots(within, shown, stat.currency)
    title, summary = figure.headline(item.model, within, shown, "" if stat.cost is None else stat.currency)
    context.output.bundle({
        "text/html": figure.page(title, summary, made, shown), "text/plain": figure.text(title, summary, made),
    })  # fmt: skip
