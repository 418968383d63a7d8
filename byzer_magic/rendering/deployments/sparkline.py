"""Numbers over time as small inline SVG, in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from byzer_magic.rendering.markup import tag
from byzer_magic.stat import Sample

HEIGHT = 20
"""In the sparkline's own coordinates; CSS gives it its size."""

Series = list[float | None]


def rate(samples: Iterable[Sample], end: int, seconds: int, step: int, pick: Callable[[Sample], float]) -> Series:
    """Return the rate per second in each step before `end`.

    Args:
        samples: in any order.
        end: Unix time in seconds.
        seconds: length of the series.
        step: seconds per value.
        pick: what is counted of a sample.
    """
    sums = [0.0] * (seconds // step)
    for place, sample in _placed(samples, end, seconds, step):
        sums[place] += pick(sample)
    return [value / step for value in sums]


def mean(
    samples: Iterable[Sample], end: int, seconds: int, step: int, pick: Callable[[Sample], float | None]
) -> Series:
    """Return the mean in each step before `end`; None where there are no values. Arguments as in `rate`."""
    found: list[list[float]] = [[] for _ in range(seconds // step)]
    for place, sample in _placed(samples, end, seconds, step):
        if (value := pick(sample)) is not None:
            found[place].append(value)
    return [sum(values) / len(values) if values else None for values in found]


def _placed(samples: Iterable[Sample], end: int, seconds: int, step: int) -> Iterable[tuple[int, Sample]]:
    """Yield samples with their place; places begin at multiples of `step`, so that a line moves step by step."""
    last = -(-end // step) * step
    first = last - seconds
    for sample in samples:
        place = int((sample.at - first) // step)
        if 0 <= place < seconds // step:
            yield place, sample


def spark(values: Sequence[float | None], label: str) -> Markup:
    """Return a line over time with its area; the label is for screen readers and tooltips."""
    high = max((value for value in values if value is not None), default=0.0)
    width = max(len(values) - 1, 1)
    if high <= 0:
        paths = [tag("path", class_="bz-still", d=f"M0 {HEIGHT - 1}H{width}")]
    else:
        scale = (HEIGHT - 2) / high
        runs = [[(x, HEIGHT - 1 - value * scale) for x, value in run] for run in runs_of(values)]
        area = "".join(f"{_line(run)}V{HEIGHT}H{run[0][0]}Z" for run in runs)
        line = "".join(_line(run) for run in runs if len(run) > 1)
        dots = "".join(f"{_line(run)}h.01" for run in runs if len(run) == 1)
        paths = [tag("path", class_="bz-area", d=area), tag("path", class_="bz-line", d=line)]
        paths += [tag("path", class_="bz-dot", d=dots)] if dots else []
    return tag(
        "svg", tag("title", label), *paths, class_="bz-spark", viewBox=f"0 0 {width} {HEIGHT}",
        preserveAspectRatio="none", role="img", aria_label=label,
    )  # fmt: skip


def runs_of(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the runs without a gap, as places and values."""
    runs: list[list[tuple[int, float]]] = []
    open_run = False
    for place, value in enumerate(values):
        if value is None:
            open_run = False
        elif open_run:
            runs[-1].append((place, value))
        else:
            runs.append([(place, value)])
            open_run = True
    return runs


def _line(run: Sequence[tuple[float, float]]) -> str:
    (x, y), *others = run
    return f"M{x:g} {y:.1f}" + "".join(f"L{x:g} {y:.1f}" for x, y in others)
