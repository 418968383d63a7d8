"""How benchmarks print: tables, and what machine they ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path


def processor() -> str:
    """Return how many cores of which processor this machine has, and its system."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    name = text.partition("model name\t: ")[2].partition("\n")[0] or platform.processor()
    return f"{os.cpu_count()} x {name}, {platform.system()}"


def load_average(before: float, seconds: float) -> str:
    """Return how busy this machine was before and after."""
    return f"load average {before:.1f} before, {os.getloadavg()[0]:.1f} after {seconds:.0f} s"


def machine(load_before: float, seconds: float) -> str:
    """Return one line on where and how this ran."""
    return f"{processor()}, Python {platform.python_version()}; {load_average(load_before, seconds)}"


def print_columns(cells: Sequence[Sequence[str]]) -> None:
    """Print lines of cells, of which the first has the titles, as a table."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in [cells[0], ["-" * width for width in widths], *cells[1:]]:
        rest = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        print("  ".join([line[0].ljust(widths[0]), *rest]).rstrip())


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return lines of cells, of which the first has the titles, as a table in Markdown.

    Example:
        >>> print(markdown([["", "ours"], ["p50 ms", "1.5"]]))
        | | ours |
        |---|---|
        | p50 ms | 1.5 |
    """
    head, *lines = (" ".join(["|", *(f"{cell} |" if cell else "|" for cell in line)]) for line in cells)
    return "\n".join([head, "|" + "---|" * len(cells[0]), *lines])
