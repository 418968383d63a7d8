"""From samples to figures, and from figures to a table, in English or Chinese."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from loads import IN_FLIGHT, RATE, TOKENS, WAIT_MS, quantile

from comparison.measures import Sample

Figures = dict[str, float]
"""By name. What was not measured is not in it."""


def figures_of(samples: Iterable[Sample]) -> dict[str, Figures]:
    """Return the medians over the rounds, by way and name; of p99, too, that of each round."""
    found: dict[str, dict[str, list[float]]] = {}
    for sample in samples:
        columns = found.setdefault(sample.way, {})
        for name, value in ({} if sample.failed else _figures(sample)).items():
            columns.setdefault(name, []).append(value)
    return {
        way: {name: statistics.median(values) for name, values in columns.items()} for way, columns in found.items()
    }


def _figures(sample: Sample) -> Figures:
    """Return what one sample says, by the names that COLUMNS uses."""
    got = sample.figures
    if sample.measure == "rest":
        return {"rest p50": quantile(got["ms"], 0.5), "rest p99": quantile(got["ms"], 0.99)}
    if sample.measure == "streams":
        each = 1e6 / got["tokens"]
        delays = {"token p50": got["p50"], "token p99": got["p99"]}
        return {"wall": got["seconds"], **delays, "serving": sample.serving * each, "client": got["cpu"] * each}
    found = {f"{sample.measure} rate": got["requests"] / got["seconds"]}
    if sample.serving:
        found[f"{sample.measure} per core"] = got["requests"] / sample.serving
    return found


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        show: from the figures of a way and of the floor to a text.
        needs: the figures without which its cell is empty.
        compared: the floor must have them, too.
    """

    title: str
    chinese: str
    needs: tuple[str, ...]
    show: Callable[[Figures, Figures], str]
    compared: bool = False


def _share(name: str) -> Callable[[Figures, Figures], str]:
    return lambda own, floor: f"{own[name]:,.0f} ({own[name] / floor[name]:.2f})"


LINES = (
    Line(
        "At rest, p50 / p99 ms",
        "单个请求，p50 / p99 毫秒",
        ("rest p50", "rest p99"),
        lambda own, _: f"{own['rest p50']:.2f} / {own['rest p99']:.1f}",
    ),
    Line(
        "Added over raw, p50 / p99 ms",
        "比 raw 增加，p50 / p99 毫秒",
        ("rest p50", "rest p99"),
        lambda own, floor: f"{own['rest p50'] - floor['rest p50']:+.2f} / {own['rest p99'] - floor['rest p99']:+.1f}",
        compared=True,
    ),
    Line(
        f"{IN_FLIGHT} in flight, {WAIT_MS} ms provider: requests/s (share of raw)",
        f"并发 {IN_FLIGHT}，服务商 {WAIT_MS} 毫秒：请求/秒（与 raw 之比）",
        ("load50 rate",),
        _share("load50 rate"),
        compared=True,
    ),
    Line(
        f"{IN_FLIGHT} in flight, 0 ms provider: requests/s (share of raw)",
        f"并发 {IN_FLIGHT}，服务商 0 毫秒：请求/秒（与 raw 之比）",
        ("load0 rate",),
        _share("load0 rate"),
        compared=True,
    ),
    Line(
        "Requests/s per core of the serving side",
        "服务端每核请求/秒",
        ("load0 per core",),
        lambda own, _: f"{own['load0 per core']:,.0f}",
    ),
    Line(
        f"{IN_FLIGHT} streams of {RATE} tokens/s: wall s (over raw)",
        f"{IN_FLIGHT} 路流式输出，每路 {RATE} token/秒：总秒数（与 raw 之比）",
        ("wall",),
        lambda own, floor: f"{own['wall']:.2f} ({own['wall'] / floor['wall']:.2f})",
        compared=True,
    ),
    Line(
        "Added token delay, p50 / p99 ms",
        "token 增加的延迟，p50 / p99 毫秒",
        ("token p50", "token p99"),
        lambda own, floor: (
            f"{own['token p50'] - floor['token p50']:,.1f} / {own['token p99'] - floor['token p99']:,.1f}"
        ),
        compared=True,
    ),
    Line(
        "CPU per token, serving / client µs",
        "每 token 的 CPU，服务端 / 客户端微秒",
        ("serving", "client"),
        lambda own, _: f"{own['serving']:,.0f} / {own['client']:,.0f}",
    ),
    Line(
        "Processes of the serving side, MB (PSS)",
        "服务端进程数，内存 MB（PSS）",
        ("processes", "megabytes"),
        lambda own, _: f"{own['processes']:.0f}, {own['megabytes']:.0f}" if own["processes"] else "-",
    ),
)
IDEAL = f"{IN_FLIGHT * 1000 / WAIT_MS:,.0f} requests/s, {TOKENS / RATE:.1f} s"
"""What a way that adds nothing would come to."""


def cells(figures: Mapping[str, Figures], titles: Mapping[str, str], *, chinese: bool = False) -> list[list[str]]:
    """Return the table: a column per way, with `-` where nothing was measured.

    Args:
        figures: by way; `raw`, the floor, is needed for what is compared with it.
        titles: of the columns, by way.
        chinese: the language of the lines.
    """
    floor = figures.get("raw", {})
    found = [["", *titles.values()]]
    for line in LINES:
        own = [figures.get(way, {}) for way in titles]
        texts = [line.show(each, floor) if _has(line, each, floor) else "-" for each in own]
        found.append([line.chinese if chinese else line.title, *texts])
    return found


def _has(line: Line, own: Figures, floor: Figures) -> bool:
    needed = set(line.needs)
    return own.keys() >= needed and (not line.compared or floor.keys() >= needed)
