"""What is measured of all ways, in turns: at rest, under load, and with streams."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import processes
from ways import say

from comparison.systems import ROUTES, Client, Missing, Systems

PARTS = ("rest", "load", "streams")
TURNS, REQUESTS = 8, 25
"""At rest, in a round: 25 requests of each way in turns."""
LOADS = {"load50": 50, "load0": 0}
"""By measure: after how many ms the provider answers."""
LOAD_SECONDS = 2.5
SETTLE_SECONDS = 2.0


@dataclass(frozen=True)
class Sample:
    """What one way came to in one round.

    Args:
        measure: `rest`, a key of LOADS, or `streams`.
        figures: as `loads` has them.
        serving: CPU seconds of the processes between client and provider.
        failed: why there are no figures.
    """

    measure: str
    way: str
    round: int
    figures: dict[str, Any]
    serving: float = 0.0
    failed: str = ""


class Comparison:
    """Some ways, each with a client of its own.

    Args:
        names: keys of ROUTES.
        quick: fewer and shorter measurements.
    """

    def __init__(self, systems: Systems, names: Iterable[str], *, quick: bool) -> None:
        self._systems, self._names, self._quick = systems, list(names), quick
        self._clients: dict[str, Client] = {}
        self.missing: dict[str, str] = {}
        """Why there are no figures of a way."""
        self.memory: dict[str, tuple[int, float]] = {}
        """By way: its system's processes and their MB (PSS)."""
        self.samples: list[Sample] = []

    def open(self) -> None:
        """Start the clients and what serves them, and put a little load on each."""
        firsts = [ROUTES[name].after for name in self._names if ROUTES[name].after]
        for name in dict.fromkeys([*firsts, *self._names]):
            self._open(name)
        self._names = [name for name in self._names if name in self._clients]
        time.sleep(SETTLE_SECONDS)
        for name in self._names:
            pids = self._systems.members(ROUTES[name])
            self.memory[name] = len(pids), sum(map(processes.megabytes, pids))

    def round(self, number: int, parts: Iterable[str]) -> None:
        """Measure these parts once, the ways in turns; each round begins with another one."""
        parts, first = set(parts), number % max(1, len(self._names))
        names = self._names[first:] + self._names[:first]
        if "rest" in parts and names:
            self._rest(number, names)
        for measure, wait_ms in LOADS.items() if "load" in parts else ():
            seconds = LOAD_SECONDS / 2 if self._quick else LOAD_SECONDS
            for name in names:
                self._measure(measure, name, number, "load", wait_ms=wait_ms, seconds=seconds)
        for name in names if "streams" in parts else ():
            self._measure("streams", name, number, "streams")

    def _open(self, name: str) -> None:
        route = ROUTES[name]
        say(f"starting {route.title} ...")
        try:
            if route.after in self.missing:
                raise Missing(self.missing[route.after])
            client = self._systems.client(route)
            client.do("rest", count=20)
            client.do("load", wait_ms=0, seconds=0.5)
            client.do("streams", tokens=5)
        except Missing as err:
            self.missing[name] = str(err)
            say(f"{route.title} is left out: {err}")
        else:
            self._clients[name] = client

    def _rest(self, number: int, names: list[str]) -> None:
        say(f"round {number + 1}, at rest ...")
        took: dict[str, list[float]] = {name: [] for name in names}
        failed: dict[str, str] = {}
        for turn in range(TURNS // 2 if self._quick else TURNS):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                try:
                    took[name] += self._clients[name].do("rest", count=REQUESTS)
                except Missing as err:
                    failed[name] = str(err)
        self.samples += [Sample("rest", name, number, {"ms": took[name]}, 0.0, failed.get(name, "")) for name in names]

    def _measure(self, measure: str, name: str, number: int, do: str, **arguments: Any) -> None:
        route, figures, failed = ROUTES[name], {}, ""
        before = self._systems.serving(route)
        try:
            figures = self._clients[name].do(do, **arguments)
        except Missing as err:
            failed = str(err)
        serving = self._systems.serving(route) - before
        self.samples.append(Sample(measure, name, number, figures, serving, failed))
        shown = failed or ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if isinstance(value, float))
        say(f"round {number + 1}, {measure}, {route.title}: {shown}")
