"""The command that replays a deployment's last minutes with other workers."""

from __future__ import annotations

import json

from byzer_magic.actions.context import Context
from byzer_magic.client import predicting
from byzer_magic.commands.spec import WhatIfSpec
from byzer_magic.rendering import tables
from byzer_magic.rendering.deployments import figure

MARGIN_SECONDS = 5.0
"""What is shown beside the time in which there were requests."""


def show(context: Context, item: WhatIfSpec) -> None:
    """Show what was measured, the replay as it is, and the prediction: a figure, a table, and what it assumes.

    Raises:
        NotDeployed: nothing is deployed as this alias.
        CommandError: it is a route.
    """
    from byzer_magic.rendering.deployments import what_if

    context.manager.reach(item.model, item.ray_address)
    observed = context.manager.run(predicting.observe(context.manager, item.model))
    found, stat = predicting.predict(observed, item), observed.stat
    if found is None:
        context.output.say(figure.without_requests(item.model, item.minutes))
        return
    if item.json:
        context.output.text(json.dumps(what_if.plain(found), indent=4))
        return
    seconds = observed.at - observed.wall(found.since) + MARGIN_SECONDS
    shown = figure.window(seconds / 60, observed.at)
    within = [sample for sample in observed.samples if sample.at > shown.start]
    title, summary = figure.headline(item.model, within, shown, "" if stat.cost is None else stat.currency)
    made, rows = what_if.plots(found, shown, observed.wall), what_if.rows(found, stat.currency)
    page = figure.page(title, summary, [*figure.plots(within, shown, stat.currency), *made], shown)
    context.output.bundle({
        "text/html": page + tables.to_html(rows, ""),
        "text/plain": f"{figure.text(title, summary, made)}\n\n{tables.to_text(rows, '')}",
    })  # fmt: skip
    for note in what_if.notes(found, stat):
        context.output.say(note)
