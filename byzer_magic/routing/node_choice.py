"""Which node each worker of an engine is placed on: pure, the nodes and what is free there are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

SPREAD, PACK = "spread", "pack"
PLACEMENTS = (SPREAD, PACK)
"""The values of `--placement`."""
EPSILON = 1e-9
"""Ray's resources are floats: sums differ from what was requested by rounding errors."""


class Free(NamedTuple):
    """What is free on a node."""

    node: str
    """The node's id."""
    address: str
    cpus: float
    gpus: float

    def holds(self, cpus: float, gpus: float) -> int:
        """Return how many workers fit; where they reserve nothing, a million."""
        parts = ((self.cpus, cpus), (self.gpus, gpus))
        return min((int((free + EPSILON) / needed) for free, needed in parts if needed > 0), default=10**6)

    def after(self, cpus: float, gpus: float) -> Free:
        """Return what is free once a worker has been placed there."""
        return self._replace(cpus=self.cpus - cpus, gpus=self.gpus - gpus)


def choose(
    placement: str, nodes: Sequence[Free], count: int, cpus: float, gpus: float, taken: Mapping[str, int] | None = None
) -> list[str]:
    """Return the node of each worker, by its id; fewer than `count` where not all fit.

    Args:
        placement: `spread` over as many nodes as there are, or `pack` onto as few as will do.
        nodes: what is free on each.
        count: how many workers to place.
        cpus: what each reserves.
        gpus: what each reserves.
        taken: how many workers of the deployment each node has already, by its id.

    Example:
        >>> nodes = [Free("a", "10.0.0.1", 2, 0), Free("b", "10.0.0.2", 4, 0)]
        >>> choose("spread", nodes, 3, 1, 0), choose("pack", nodes, 3, 1, 0), choose("pack", nodes, 7, 1, 0)
        (['b', 'a', 'b'], ['b', 'b', 'b'], ['b', 'b', 'b', 'b', 'a', 'a'])
    """
    free = {each.node: each for each in nodes}
    workers = {node: (taken or {}).get(node, 0) for node in free}
    chosen: list[str] = []
    while len(chosen) < count:
        room = {node: each.holds(cpus, gpus) for node, each in free.items()}
        fitting = [node for node in sorted(free) if room[node]]
        if not fitting:
            break
        # The one with more room first: for `pack`, it takes the most of the rest.
        few = -1 if placement == PACK else 1
        best = min(fitting, key=lambda node: (few * workers[node], -room[node]))
        chosen.append(best)
        workers[best] += 1
        free[best] = free[best].after(cpus, gpus)
    return chosen
