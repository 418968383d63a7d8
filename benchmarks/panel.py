"""What following deployments costs, as the live panel does: `make bench-panel`, or

    python benchmarks/panel.py [--seconds 60] [--json FILE]

A private Ray has deployments of a provider of our own, which get a few requests a second. The CPU that the pools and
this process take is read while a client follows them and while none does, in turns; the difference is what following
costs. What painting the panel costs is another matter: `painting.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from ways import Ways, private_ray, provider, request, say

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager

CASES = ((1, 1), (1, 100), (50, 1))
"""Deployments, and workers of each."""
REQUESTS_PER_SECOND = 5
ROUNDS = 3
GOAL = 0.02


def of_pools(pids: list[int]) -> float:
    """Return the CPU seconds that the pools have used so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def own() -> float:
    """Return the CPU seconds that this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def background(*works: object) -> Iterator[None]:
    """Run coroutines on the background loop meanwhile."""
    from byzer_magic.runtime.loop import LOOP

    tasks = [asyncio.run_coroutine_threadsafe(work, LOOP.start()) for work in works]  # type: ignore[arg-type]  # coroutines
    yield
    for task in tasks:
        task.cancel()


async def traffic(manager: Manager, aliases: list[str]) -> None:
    """Ask one model after the other."""
    number = 0
    while True:
        async for _ in manager.ask(aliases[number % len(aliases)], request("hello")):
            pass
        number += 1
        await asyncio.sleep(1 / REQUESTS_PER_SECOND)


async def follow(manager: Manager, updates: list[int]) -> None:
    """Follow all deployments, and count the updates."""
    async for _ in manager.follow():
        updates[0] += 1


def used(manager: Manager, aliases: list[str], pids: list[int], seconds: float, *, watch: bool) -> list[float]:
    """Return the shares of a core that the pools and this process take, and the updates a second."""
    updates = [0]
    works = [traffic(manager, aliases), *([follow(manager, updates)] if watch else [])]
    with background(*works):
        time.sleep(2)  # until all are followed
        before, started = (of_pools(pids), own(), updates[0]), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - started
        after = (of_pools(pids), own(), updates[0])
        return [(late - early) / took for early, late in zip(before, after, strict=True)]


def measured(ways: Ways, deployments: int, workers: int, seconds: float) -> dict[str, float]:
    """Return what following costs in one case."""
    aliases = [f"m{number}" for number in range(deployments)]
    pids = [ways.deploy(alias, workers, 0.0001)[1] for alias in aliases]
    each = seconds / ROUNDS / 2
    manager = ways.manager
    rounds = [[used(manager, aliases, pids, each, watch=watch) for watch in (False, True)] for _ in range(ROUNDS)]
    for alias in aliases:
        ways.undeploy(alias)
    pools, client = (statistics.median(on[end] - off[end] for off, on in rounds) for end in (0, 1))
    return {
        "deployments": deployments,
        "workers of each": workers,
        "pools": pools,
        "client": client,
        "both": pools + client,
        "updates a second": statistics.median(on[2] for _, on in rounds),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for each case")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    given = parser.parse_args()
    rows = []
    with provider() as url, private_ray() as manager:
        ways = Ways(manager, url)
        for deployments, workers in CASES:
            say(f"{deployments} deployments of {workers} workers ...")
            rows.append(measured(ways, deployments, workers, given.seconds))
    print(f"CPU seconds for each second of following; the goal is under {GOAL:.0%}:")
    print(f"{'deployments':>12} {'workers':>8} {'pools':>8} {'client':>8} {'both':>8} {'updates/s':>11}")
    for row in rows:
        met = "met" if row["both"] < GOAL else "not met"
        shares = " ".join(f"{row[name]:8.2%}" for name in ("pools", "client", "both"))
        each = f"{row['deployments']:12} {row['workers of each']:8}"
        print(f"{each} {shares} {row['updates a second']:11.1f}   {met}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
