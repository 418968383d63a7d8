"""The last minutes of a deployment as small plots: inline SVG in the colours of the page, and text."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median

from markupsafe import Markup

from byzer_magic.i18n import gettext as _, pad, width
from byzer_magic.rendering import amounts
from byzer_magic.rendering.deployments.sparkline import Series, runs_of
from byzer_magic.rendering.markup import join, style, tag
from byzer_magic.stat import Sample

POINTS = 120
"""Points of a plot, at most."""
WIDTH, HEIGHT = 380, 132
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 24, 20
"""Margins for the numbers of the axes."""
BLOCKS = "▁▂▃▄▅▆▇█"
"""Characters of a plot as text."""
LETTERS = 40
SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300)
"""Seconds between two labels of the time axis."""


@dataclass(frozen=True)
class Plot:
    """One small plot: a line, optionally with a dashed one."""

    name: str
    about: str
    values: Series
    second: Series | None = None
    filled: bool = True

    @property
    def known(self) -> list[float]:
        """Return the values of the line, without gaps."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class Window:
    """The time that is shown, in complete steps; `end` is a Unix time in seconds."""

    end: float
    seconds: float
    step: int

    @property
    def start(self) -> float:
        """Return the Unix time of its beginning."""
        return self.end - self.seconds


def window(minutes: float, now: float) -> Window:
    """Return the time window of the last minutes, in steps that give a readable number of points."""
    step = max(1, math.ceil(minutes * 60 / POINTS))
    count = max(2, math.ceil(minutes * 60 / step))
    end = math.ceil(now / step) * step
    return Window(end, count * step, step)


def plots(samples: Sequence[Sample], shown: Window, currency: str) -> list[Plot]:
    """Return the plots of a deployment's samples; the cost only where it is known."""
    groups = _grouped(samples, shown)
    first = [_middle([item.ttft for item in group if item.ttft is not None]) for group in groups]
    total = [_mean([item.latency for item in group if item.latency is not None]) for group in groups]
    requests = [sum(item.requests for item in group) / shown.step for group in groups]
    errors = [sum(item.errors for item in group) / shown.step for group in groups]
    tokens = [sum(item.tokens for item in group) / shown.step for group in groups]
    busy = [_mean([float(item.busy) for item in group]) for group in groups]
    waiting = [_mean([float(item.queued) for item in group]) for group in groups]
    made = [
        Plot(_("Time to first token, s"), _("p50"), first, filled=False),
        Plot(_("Total time, s"), _("mean"), total, filled=False),
        Plot(_("Requests/s"), _("dashed: errors"), [*requests], [*errors]),
        Plot(_("Tokens/s"), _("all answers"), [*tokens]),
        Plot(_("Busy slots"), _("dashed: queued"), busy, waiting),
    ]
    if any(item.pool_cpu is not None for item in samples):  # pools of older versions do not report it
        shares = [_mean([100 * item.pool_cpu for item in group if item.pool_cpu is not None]) for group in groups]
        made.append(Plot(_("CPU, % of a core"), _("the deployment's own process"), shares))
    if currency and any(item.cost is not None for item in samples):
        costs = list(accumulate(sum(item.cost or 0.0 for item in group) for group in groups))
        since = _("since {start}", start=clock(shown.start))
        made.append(Plot(_("Cost, {sign}", sign=amounts.SIGNS.get(currency, currency)), since, [*costs]))
    return made


def _grouped(samples: Sequence[Sample], shown: Window) -> list[list[Sample]]:
    groups: list[list[Sample]] = [[] for _ in range(int(shown.seconds // shown.step))]
    for sample in samples:
        place = int((sample.at - shown.start) // shown.step)
        if 0 <= place < len(groups):
            groups[place].append(sample)
    return groups


def _middle(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def without_requests(alias: str, minutes: float) -> str:
    """Return what is said of a deployment that has had no requests in the last minutes.

    Example:
        >>> without_requests("m", 10.0), without_requests("m", 0.5)
        ('m has had no requests in the last 10 min.', 'm has had no requests in the last 0.5 min.')
    """
    shown = f"{max(minutes, 0.1):.1f}".removesuffix(".0")
    return _("{alias} has had no requests in the last {minutes} min.", alias=alias, minutes=shown)


def headline(alias: str, samples: Sequence[Sample], shown: Window, currency: str) -> tuple[str, str]:
    """Return the title of a figure, and what the samples come to.

    Args:
        alias: the deployment.
        samples: those within the time that is shown.
        shown: that time.
        currency: of their cost; empty where it is not known.
    """
    start = f"{time.strftime('%Y-%m-%d', time.localtime(shown.start))} {clock(shown.start)}"
    title = _("{alias}, {start} to {end}", alias=alias, start=start, end=clock(shown.end))
    sums = {name: f"{sum(getattr(sample, name) for sample in samples):,}" for name in ("requests", "errors", "tokens")}
    counts = _("{requests} requests, {errors} errors, {tokens} tokens", **sums)
    cost = amounts.money(sum(sample.cost or 0.0 for sample in samples), currency)
    return title, _("{counts}, {cost}", counts=counts, cost=cost) if cost else counts


def page(title: str, summary: str, made: Sequence[Plot], shown: Window) -> Markup:
    """Return the figure as HTML with its own style."""
    caption = tag("figcaption", tag("b", title), " ", tag("span", summary))
    figure = tag("figure", caption, tag("div", *(svg(plot, shown) for plot in made)), class_="bz-figure")
    return style("plot.css") + figure


def text(title: str, summary: str, made: Sequence[Plot]) -> str:
    """Return the figure as text: each plot as a line of blocks with its highest and last value."""
    column = max(width(plot.name) for plot in made)
    lines = [f"{pad(plot.name, column)}  {blocks(plot.values)}  {_range(plot)}" for plot in made]
    return "\n".join([title, summary, *lines])


def blocks(values: Series) -> str:
    """Return a series as a line of block characters."""
    share = len(values) / min(LETTERS, len(values))
    groups = [values[int(place * share) : int((place + 1) * share)] for place in range(min(LETTERS, len(values)))]
    means = [_mean([value for value in group if value is not None]) for group in groups]
    high = max((value for value in means if value is not None), default=0.0)
    return "".join(
        " " if value is None else BLOCKS[round(value / high * (len(BLOCKS) - 1)) if high else 0] for value in means
    )


def svg(plot: Plot, shown: Window) -> Markup:
    """Return one plot with its axes; screen readers read its range."""
    known = [*plot.known, *(value for value in plot.second or () if value is not None)]
    marks = ticks(max(known, default=0.0))
    label = _label(plot)
    about = tag("tspan", plot.about, class_="bz-about", dx=8)
    lines = _lines(plot.values, shown, marks[-1], filled=plot.filled)
    if plot.second and any(plot.second):
        lines += _lines(without_zeros(plot.second), shown, marks[-1], filled=False, kind="bz-second")
    if not plot.known:
        lines = tag("text", _("no data"), class_="bz-none", x=WIDTH / 2, y=HEIGHT / 2)
    return tag(
        "svg", tag("title", label), tag("text", plot.name, about, class_="bz-title", x=0, y=12), _up_axis(marks),
        _time_axis(shown), lines, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label,
    )  # fmt: skip


def without_zeros(values: Series) -> Series:
    """Return a series with gaps for stretches of nothing, where a second line would cover the axis."""
    around = [*values, None]
    return [value if value or around[place - 1] or around[place + 1] else None for place, value in enumerate(values)]


def _label(plot: Plot) -> str:
    return _("{name}: {range}", name=plot.name, range=_range(plot))


def _range(plot: Plot) -> str:
    if not plot.known:
        return _("no data")
    low, high, last = (number(value) for value in (min(plot.known), max(plot.known), plot.known[-1]))
    return _("{low} to {high}, last {last}", low=low, high=high, last=last)


def _lines(values: Series, shown: Window, top: float, *, filled: bool, kind: str = "bz-line") -> Markup:
    inner = WIDTH - LEFT - RIGHT
    wide = inner * shown.step / shown.seconds
    runs = [[(LEFT + (place + 0.5) * wide, height(value, top)) for place, value in run] for run in runs_of(values)]
    path = "".join(
        f"M{run[0][0]:.1f} {run[0][1]:.1f}" + "".join(f"L{x:.1f} {y:.1f}" for x, y in run[1:]) for run in runs
    )
    dots = "".join(f"M{run[0][0]:.1f} {run[0][1]:.1f}h.01" for run in runs if len(run) == 1)
    floor = HEIGHT - BOTTOM
    area = "".join(
        f"M{run[0][0]:.1f} {floor}" + "".join(f"L{x:.1f} {y:.1f}" for x, y in run) + f"V{floor}Z" for run in runs
    )
    paths = [tag("path", class_="bz-area", d=area)] if filled else []
    paths.append(tag("path", class_=kind, d=path))
    paths += [tag("path", class_=f"{kind} bz-dot", d=dots)] if dots else []
    return join(paths)


def height(value: float, top: float) -> float:
    """Return the y coordinate of a value, when the axis ends at `top`."""
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / top


def ticks(high: float) -> list[float]:
    """Return the numbers of an axis from 0 to at least `high`: three or more, round, evenly spaced."""
    if high <= 0:
        return [0.0, 1.0]
    rough = high / 3
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [step * place for place in range(math.ceil(high / step - 1e-9) + 1)]


def number(value: float) -> str:
    """Return a number of an axis in its shortest readable form."""
    if value >= 10_000:
        return f"{value / 1000:g}k" if value < 1e6 else f"{value / 1e6:g}M"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _up_axis(marks: Sequence[float]) -> Markup:
    parts = []
    for mark in marks:
        y = height(mark, marks[-1])
        line = tag("path", class_="bz-grid" if mark else "bz-floor", d=f"M{LEFT} {y:.1f}H{WIDTH - RIGHT}")
        parts.append(line + tag("text", number(mark), class_="bz-up", x=LEFT - 6, y=f"{y + 3.5:.1f}"))
    return join(parts)


def _time_axis(shown: Window) -> Markup:
    span = next((span for span in SPANS if shown.seconds / span <= 6), SPANS[-1])
    first = math.ceil(shown.start / span) * span
    parts = []
    for at in range(int(first), int(shown.end) + 1, span):
        x = LEFT + (WIDTH - LEFT - RIGHT) * (at - shown.start) / shown.seconds
        if LEFT + 8 <= x <= WIDTH - RIGHT - 8:
            parts.append(tag("path", class_="bz-tick", d=f"M{x:.1f} {HEIGHT - BOTTOM}v4"))
            text = clock(at, short=span % 60 == 0)
            parts.append(tag("text", text, class_="bz-time", x=f"{x:.1f}", y=HEIGHT - 5))
    return join(parts)


def clock(at: float, *, short: bool = False) -> str:
    """Return a time of the day."""
    return time.strftime("%H:%M" if short else "%H:%M:%S", time.localtime(at))
