"""What a deployment adds to a direct call, measured side by side: `make bench`, or

    python benchmarks/overhead.py [--quick] [--only rest,load,streams,deploy,kill] [--json FILE]

Our own provider (provider.py, a separate process) answers on loopback. The same prompts go to it *direct*
(the backend, opened in this process) and *deployed* (the same backend in a pool on a private Ray), in turns, so that
whatever else the machine does meets both. `typed SDK` is the SDK's ordinary typed client, for comparison.
Figures are medians over the rounds, also of each round's p99.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from loads import (
    IN_FLIGHT,
    RATE,
    ROUND_SECONDS,
    TOKENS,
    WAIT_MS,
    Streams,
    Way,
    in_flight,
    one_by_one,
    quantile,
    streams,
)
from processes import megabytes
from tables import machine, print_columns
from ways import ALIAS, Ways, private_ray, provider, say

PARTS = ("rest", "load", "streams", "deploy", "kill")
STREAMS = f"{IN_FLIGHT} streams at {RATE} tokens/s"


@dataclass
class Row:
    """One line of the table."""

    measure: str
    direct: str
    deployed: str
    compared: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass
class Bench:
    """What all measurements need."""

    setup: Ways
    quick: bool
    rows: list[Row] = field(default_factory=list)

    @cached_property
    def ways(self) -> dict[str, Way]:
        """The ways to the provider, opened and warm."""
        ways = self.setup.open()
        for way in ways.values():
            self.setup.manager.run(in_flight(way, seconds=0.2))
        return ways

    def in_turns(self, rounds: int, measure: Callable[[Way], Any]) -> dict[str, list[float]]:
        """Run a measurement of one or more figures on each way in turns; return the medians by way."""
        found: dict[str, list[Any]] = {name: [] for name in self.ways}
        for _ in range(3 if self.quick else rounds):
            for name, way in self.ways.items():
                found[name].append(self.setup.manager.run(measure(way)))
        return {name: [statistics.median(figure) for figure in zip(*all_, strict=True)] for name, all_ in found.items()}

    def compare(
        self, measure: str, direct: float, deployed: float, *, ratio: bool = False, goal: float | None = None
    ) -> None:
        """Add a line with the ratio (of speeds, or of times when the goal is above 1), or with what is added."""
        figure = deployed / direct if ratio else deployed - direct
        speed = ratio and direct > 100
        met = None if goal is None else figure >= goal if speed else figure <= goal
        shown = "" if goal is None else f">= {goal:.2f}" if speed else f"<= {goal:.2f}" if ratio else f"<= +{goal:.2f}"
        texts = [f"{value:,.0f}" if speed else f"{value:.2f}" for value in (direct, deployed)]
        self.rows.append(Row(measure, *texts, f"x {figure:.3f}" if ratio else f"{figure:+.2f}", shown, met))


def main() -> None:
    """Run what the command line asks for and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds: about a minute and a half")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that Ray goes away then, too
    started, before = time.time(), os.getloadavg()[0]
    with provider() as url, private_ray() as manager:
        bench = Bench(Ways(manager, url), options.quick)
        try:
            for part in PARTS:
                if part in options.only.split(","):
                    say(f"{part} ...")
                    MEASURES[part](bench)
        finally:  # an interrupted run shows what it has
            bench.setup.close()
            about = machine(before, time.time() - started)
            print_table(bench.rows, about)
            if options.json:
                options.json.write_text(json.dumps({"machine": about, "rows": [asdict(row) for row in bench.rows]}))


# ---- the measurements


def at_rest(bench: Bench) -> None:
    """One request in flight, answered at once: all take turns, 25 requests each."""
    import byzer_magic

    run, ways, figures = bench.setup.manager.run, bench.ways, []
    model = byzer_magic.model(ALIAS)
    with asyncio.Runner() as runner:  # achat is called from a loop of the caller's
        for _ in range(3 if bench.quick else 6):
            samples: dict[str, list[float]] = {}
            for _ in range(10 if bench.quick else 20):
                for name, way in ways.items():
                    samples.setdefault(name, []).extend(run(one_by_one(way)))
                samples.setdefault("achat", []).extend(runner.run(asked_async(model)))
                samples.setdefault("chat", []).extend(asked(model))
            figures.append({name: (quantile(found, 0.5), quantile(found, 0.99)) for name, found in samples.items()})
    labels = {"deployed": "Manager.ask", "achat": "model.achat", "chat": "model.chat", "typed SDK": "typed SDK"}
    for index, (title, goal) in enumerate((("p50", 0.35), ("p99", 1.5))):
        at = {name: statistics.median(entry[name][index] for entry in figures) for name in figures[0]}
        for name, label in labels.items():
            judged = goal if name == "deployed" else None
            bench.compare(f"one at rest, {title} ms: {label}", at["direct"], at[name], goal=judged)


async def asked_async(model: Any, count: int = 25) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        await model.achat("hi")
        found.append((time.perf_counter() - started) * 1000)
    return found


def asked(model: Any, count: int = 25) -> list[float]:
    found = []
    for _ in range(count):
        started = time.perf_counter()
        model.chat("hi")
        found.append((time.perf_counter() - started) * 1000)
    return found


def under_load(bench: Bench) -> None:
    """64 requests in flight, each answered after 50 ms."""
    at = bench.in_turns(9, rate)
    title = f"{IN_FLIGHT} in flight, {WAIT_MS} ms, requests/s"
    bench.compare(f"{title}: deployed", at["direct"][0], at["deployed"][0], ratio=True, goal=0.9)
    bench.compare(f"{title}: typed SDK", at["direct"][0], at["typed SDK"][0], ratio=True)


async def rate(way: Way) -> tuple[float]:
    """Return requests per second, 64 in flight at all times."""
    load = await in_flight(way)
    return (load.requests / load.seconds,)


def in_streams(bench: Bench) -> None:
    """64 streams at once, 50 tokens a second each: how much longer they take, how much later tokens come."""
    at = bench.in_turns(7, late)
    for name in ("deployed", "typed SDK"):
        wall, *goals = (1.08, None, 2.0, None) if name == "deployed" else (None, None, None, None)
        title = f"{STREAMS}, wall s (ideal {TOKENS / RATE:.2f}): {name}"
        bench.compare(title, at["direct"][0], at[name][0], ratio=True, goal=wall)
        labels = ("token delay p50 ms", "token delay p99 ms", "same, with the burst of starts")
        for index, (label, goal) in enumerate(zip(labels, goals, strict=True), 1):
            bench.compare(f"{STREAMS}, {label}: {name}", at["direct"][index], at[name][index], goal=goal)


async def late(way: Way) -> tuple[float, ...]:
    """Return how long 64 streams took together, and how late (ms) tokens came."""
    found: Streams = await streams(way)
    return found.seconds, found.p50, found.p99, found.p99_all


def deploying(bench: Bench) -> None:
    """How long 1 and 1,000 workers take, and what memory they need."""
    kinds = [(1, 0.001), (1000, 0.001), (1000, 0.0)]
    found: dict[tuple[int, float], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(2 if bench.quick else 5):
        for kind in random.sample(kinds, len(kinds)):
            seconds, pid = bench.setup.deploy("bench-deploy", *kind)
            found[kind].append((seconds, megabytes(pid)))
            bench.setup.undeploy("bench-deploy")
    for workers, cpus in kinds:
        seconds = [entry[0] for entry in found[workers, cpus]]
        shown = f"{statistics.median(seconds):.2f} ({max(seconds):.2f})"
        bench.rows.append(Row(f"deploy {workers:,} workers, {cpus:g} CPU each, s (worst)", "", shown))
    small, large = (statistics.median(entry[1] for entry in found[kind]) for kind in kinds[:2])
    each = f"{(large - small) * 1024 / 999:+.1f} KB each"
    bench.rows.append(Row("pool with 1 / 1,000 workers, MB (PSS)", "", f"{small:.0f} / {large:.0f}", each))


def killing(bench: Bench) -> None:
    """`kill -9` the pool: how long until the alias answers again, asked by someone who just tries again."""
    import byzer_magic
    from byzer_magic.errors import RequestError
    from byzer_magic.runtime.cluster import discovery

    assert bench.ways
    model, found = byzer_magic.model(ALIAS), []
    for _ in range(2 if bench.quick else 5):
        pool = discovery.announced(ALIAS)
        assert pool
        os.kill(pool.pid, signal.SIGKILL)
        started, answered = time.perf_counter(), False
        while not answered and time.perf_counter() - started < ROUND_SECONDS:
            with contextlib.suppress(RequestError):
                answered = bool(model.chat("hi", timeout=10).text)
            time.sleep(0.01)
        found.append(time.perf_counter() - started)
    shown = f"{statistics.median(found):.2f} ({max(found):.2f})"
    met = statistics.median(found) <= 3
    bench.rows.append(Row("kill -9 of the pool to the next answer, s (worst)", "", shown, "", "<= 3.00", met))


MEASURES = {"rest": at_rest, "load": under_load, "streams": in_streams, "deploy": deploying, "kill": killing}

# ---- the table


def print_table(rows: list[Row], about: str) -> None:
    met = {True: "yes", False: "NO", None: ""}
    cells = [["measure", "direct", "deployed", "compared", "goal", "met"]]
    cells += [[row.measure, row.direct, row.deployed, row.compared, row.goal, met[row.met]] for row in rows]
    print_columns(cells)
    print(f"\n{about}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
