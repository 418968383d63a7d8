"""How costs grow: with workers, requests in flight, notebooks, and deployments."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import processes
from loads import IN_FLIGHT, WAIT_MS
from ways import ALIAS, say

from comparison.commands import Shell
from comparison.systems import ROUTES, Client, Route, Systems

Point = dict[str, float]
"""The number on the axis as `x`, and figures by name."""
AXES = {
    "workers": (1, 10, 100, 1000),
    "in flight": (1, 4, 16, 64, 256),
    "notebooks": (1, 2, 4, 8, 16),
    "deployments": (1, 10, 25, 50),
}
QUICK = 2
"""How many points of each axis a quick run measures."""
OURS, RAW = ROUTES["ours"], ROUTES["raw"]
JOINED = Route("another notebook", "ours", ("joined",), "ours", OURS.serving)
REPEATS, SECONDS, IDLE_SECONDS = 3, 1.5, 4.0
PER_NOTEBOOK = 4
"""Requests that each notebook has in flight."""


def measured(systems: Systems, *, quick: bool) -> dict[str, list[Point]]:
    """Return the points by axis.

    Raises:
        Missing: a process has ended, or did not answer.
    """
    growth = Growth(systems, quick=quick)
    measures: dict[str, Callable[[int], Point]] = {
        "workers": growth.workers,
        "in flight": growth.in_flight,
        "notebooks": growth.notebooks,
        "deployments": growth.deployments,
    }
    found: dict[str, list[Point]] = {}
    for axis, numbers in AXES.items():
        for number in numbers[: QUICK if quick else None]:
            say(f"{axis}: {number} ...")
            found.setdefault(axis, []).append({"x": number, **measures[axis](number)})
    return found


class Growth:
    """Measures single points. Numbers of notebooks and of deployments only grow."""

    def __init__(self, systems: Systems, *, quick: bool) -> None:
        self._systems = systems
        self._repeats = 1 if quick else REPEATS
        self._ours, self._raw = [systems.client(OURS)], [systems.client(RAW)]
        self._deployed = 1
        for client in (self._ours[0], self._raw[0]):
            client.do("load", wait_ms=0, seconds=0.5)

    def workers(self, number: int) -> Point:
        """Measure a deployment of so many workers."""
        pool = self._ours[0].do("deploy", alias="grown", workers=number, slots=IN_FLIGHT)
        self._ours[0].do("use", alias="grown")
        loads = [self._load(self._ours, 0, IN_FLIGHT) for _ in range(self._repeats)]
        rest = [statistics.median(self._ours[0].do("rest", count=25)) for _ in range(self._repeats)]
        size = processes.megabytes(int(pool["pid"]))
        self._ours[0].do("use", alias=ALIAS)
        self._ours[0].do("undeploy", alias="grown")
        return {"deploy s": pool["seconds"], "MB": size, "p50 ms": statistics.median(rest), **_cpu(loads)}

    def in_flight(self, number: int) -> Point:
        """Measure so many requests in flight at all times, with a provider that takes 50 ms."""
        if number == AXES["in flight"][0]:
            self._ours[0].do("deploy", alias="wide", workers=4, slots=IN_FLIGHT)
        self._ours[0].do("use", alias="wide")
        turns = [(self._load(self._ours, WAIT_MS, number), self._load(self._raw, WAIT_MS, number)) for _ in self._turns]
        ours, raw = zip(*turns, strict=True)
        self._ours[0].do("use", alias=ALIAS)
        medians = {"p50 ms": _median(ours, "p50"), "raw p50 ms": _median(raw, "p50"), **_cpu(ours)}
        return {"rate": _median(ours, "rate"), "raw rate": _median(raw, "rate"), **medians}

    def notebooks(self, number: int) -> Point:
        """Measure so many client processes, each with a few requests in flight."""
        self._ours += [self._systems.client(JOINED) for _ in range(number - len(self._ours))]
        self._raw += [self._systems.client(RAW) for _ in range(number - len(self._raw))]
        turns = [
            (self._load(self._ours, WAIT_MS, PER_NOTEBOOK), self._load(self._raw, WAIT_MS, PER_NOTEBOOK))
            for _ in self._turns
        ]
        ours, raw = zip(*turns, strict=True)
        size = statistics.median(processes.megabytes(client.pid) for client in self._ours)
        rates = {"rate": _median(ours, "rate"), "raw rate": _median(raw, "rate")}
        return {**rates, "p50 ms": _median(ours, "p50"), "raw p50 ms": _median(raw, "p50"), "MB": size, **_cpu(ours)}

    def deployments(self, number: int) -> Point:
        """Measure so many deployments, of which one is asked."""
        for client in self._ours[1:]:
            client.end()
        del self._ours[1:]
        aliases = [f"one{index:02}" for index in range(self._deployed, number)]
        took = [self._ours[0].do("deploy", alias=alias, workers=1, slots=16)["seconds"] for alias in aliases]
        self._deployed = max(number, self._deployed)
        time.sleep(SECONDS)
        rest = [statistics.median(self._ours[0].do("rest", count=25)) for _ in range(self._repeats)]
        idle = -self._systems.cpu(OURS.system)
        time.sleep(IDLE_SECONDS)
        idle += self._systems.cpu(OURS.system)
        size = sum(megabytes for _, megabytes in self._systems.memory(OURS.system))
        found = {"p50 ms": statistics.median(rest), "idle share": idle / IDLE_SECONDS, "MB": size}
        return found | {"list s": self._list_seconds()} | ({"deploy s": statistics.median(took)} if took else {})

    @property
    def _turns(self) -> range:
        return range(self._repeats)

    def _list_seconds(self) -> float:
        took: dict[str, list[float]] = {}
        shell = Shell(self._systems.environ(OURS.system), self._systems.url, took)
        for _ in self._turns:
            shell.run("list")
        return statistics.median(took["list"])

    def _load(self, clients: list[Client], wait_ms: int, flight: int) -> Point:
        """Put a load on all clients at once; return requests/s of all, p50 ms, and µs of the pools' CPU a request."""
        before = self._systems.serving(OURS)
        for client in clients:
            client.send("load", wait_ms=wait_ms, seconds=SECONDS, flight=flight)
        loads = [client.answer() for client in clients]
        cpu = self._systems.serving(OURS) - before
        requests = sum(load["requests"] for load in loads)
        rate = sum(load["requests"] / load["seconds"] for load in loads)
        return {"rate": rate, "p50": statistics.median(load["p50"] for load in loads), "cpu": cpu * 1e6 / requests}


def _median(points: tuple[Point, ...] | list[Point], name: str) -> float:
    return statistics.median(point[name] for point in points)


def _cpu(points: tuple[Point, ...] | list[Point]) -> Point:
    return {"CPU us": _median(points, "cpu")}
