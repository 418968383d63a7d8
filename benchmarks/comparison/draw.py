"""The growth of costs as pictures for the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loads import WAIT_MS

from comparison.growth import PER_NOTEBOOK, Point


@dataclass(frozen=True)
class Panel:
    """One diagram.

    Args:
        title: what is shown, with its unit.
        lines: by label, the name of the figure.
        ideal: the best possible value at 1 on the axis; the line grows in proportion. 0: no line.
        log: the figures have a logarithmic scale.
    """

    title: str
    lines: Mapping[str, str]
    ideal: float = 0.0
    log: bool = False


IDEAL = 1000 / WAIT_MS
BOTH = {"byzer-magic": "{}", "raw aiohttp": "raw {}"}
COLOURS = {"byzer-magic": "#1f6feb", "raw aiohttp": "#8b949e", "ideal": "#b8c0c8"}


def _one(name: str) -> dict[str, str]:
    return {"byzer-magic": name}


def _both(name: str) -> dict[str, str]:
    return {label: pattern.format(name) for label, pattern in BOTH.items()}


CPU = Panel("CPU of the pool, µs per request", _one("CPU us"))
FIGURES = {
    "workers": ("workers of a deployment", (Panel("deploy, s", _one("deploy s")), Panel("pool, MB", _one("MB")), CPU)),
    "in flight": (
        f"requests in flight, {WAIT_MS} ms provider",
        (Panel("requests/s", _both("rate"), IDEAL, log=True), Panel("p50, ms", _both("p50 ms")), CPU),
    ),
    "notebooks": (
        f"notebooks, each with {PER_NOTEBOOK} requests in flight, {WAIT_MS} ms provider",
        (Panel("requests/s", _both("rate"), IDEAL * PER_NOTEBOOK), Panel("p50, ms", _both("p50 ms")), CPU),
    ),
    "deployments": (
        "deployments",
        (
            Panel("all processes, MB", _one("MB")),
            Panel("byzerllm list, s", _one("list s")),
            Panel("idle, share of a core", _one("idle share")),
        ),
    ),
}
"""By axis of `growth`: its label, and what is drawn over it."""
LOGARITHMIC = {"workers", "in flight"}
"""Axes whose numbers are far apart."""


def file_name(axis: str) -> str:
    """Return the name of an axis's picture.

    Example:
        >>> file_name("in flight")
        'growth-in-flight.png'
    """
    return f"growth-{axis.replace(' ', '-')}.png"


def draw(growth: Mapping[str, Sequence[Point]], folder: Path) -> list[Path]:
    """Draw each axis that was measured into a file; return the files."""
    return [_draw(axis, growth[axis], folder / file_name(axis)) for axis in FIGURES if growth.get(axis)]


def _draw(axis: str, points: Sequence[Point], path: Path) -> Path:
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    label, panels = FIGURES[axis]
    with pyplot.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 2.6), layout="constrained")
        for panel, diagram in zip(panels, axes, strict=True):
            _fill(diagram, panel, points)
            diagram.set_xscale("log" if axis in LOGARITHMIC else "linear")
            diagram.set_xticks([point["x"] for point in points], [f"{point['x']:,.0f}" for point in points])
            diagram.minorticks_off()
        figure.supxlabel(label, fontsize=9)
        figure.savefig(path, dpi=100, facecolor="white", metadata={"Software": None})
        pyplot.close(figure)
    return path


def _fill(diagram: Any, panel: Panel, points: Sequence[Point]) -> None:
    numbers = [point["x"] for point in points]
    if panel.ideal:
        diagram.plot(numbers, [x * panel.ideal for x in numbers], "--", color=COLOURS["ideal"], label="ideal")
    for label, name in panel.lines.items():
        known = [(point["x"], point[name]) for point in points if name in point]
        diagram.plot(*zip(*known, strict=True), "o-", markersize=4, color=COLOURS[label], label=label)
    diagram.set_title(panel.title, fontsize=9, loc="left")
    diagram.margins(y=0.15)
    if panel.log:
        diagram.set_yscale("log")
    else:
        diagram.set_ylim(bottom=0)
    diagram.yaxis.set_major_formatter("{x:,g}")
    diagram.grid(axis="y", color="#eaeef2")
    if len(panel.lines) > 1:
        diagram.legend(frameon=False, fontsize=8)
