"""What painting the live panel costs, of fleets that are only data: `python benchmarks/fleets.py`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).parent.parent))  # tests.fleets makes the data

from byzer_magic.rendering.deployments import table
from byzer_magic.rendering.deployments.history import History
from byzer_magic.stat import ModelStat
from tests.fleets import fleet, model, steady

PAINTS_PER_SECOND = 3.5
"""Following yields at most four fleets a second."""
CASES = ((1, 100, 1), (10, 10, 1), (50, 100, 0), (50, 100, 1))
"""Deployments, workers of each, and how many are opened."""


def painting(deployments: int, workers: int, opened: int, paints: int = 40) -> dict[str, float]:
    """Return what one painting takes when every worker has got a request since the last one."""
    stats = [model(f"model_{number:02}", workers) for number in range(deployments)]
    now = time.time()
    histories = {stat.model: History() for stat in stats}
    for past in histories.values():
        past.fill(steady(now))
    before, used, sent = None, 0.0, 0
    for paint in range(paints):
        at = now + 1 + paint / PAINTS_PER_SECOND
        stats = [_busier(stat) for stat in stats]
        found = fleet(*stats)
        started = time.process_time()
        for stat in stats:
            histories[stat.model].add(stat, at)
        shown = table.view(found, histories, list(histories)[:opened], (at, time.monotonic()))
        update = json.dumps(table.difference(before, shown))
        if before is not None:  # the first is the complete table
            used += time.process_time() - started
            sent += len(update)
        before = shown
    each = used / (paints - 1)
    return {"ms": each * 1000, "share of a core": each * PAINTS_PER_SECOND, "bytes": sent / (paints - 1)}


def _busier(stat: ModelStat) -> ModelStat:
    workers = [msgspec.structs.replace(each, requests=each.requests + 1) for each in stat.workers]
    return msgspec.structs.replace(stat, workers=workers)


if __name__ == "__main__":
    for case in CASES:
        row = painting(*case)
        print(
            f"{case[0]:3} deployments x {case[1]:3} workers, {case[2]} opened: {row['ms']:6.2f} ms,"
            f" {row['share of a core']:6.2%} of a core, {row['bytes'] / 1000:6.1f} kB a painting"
        )
