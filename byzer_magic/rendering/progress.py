"""The progress of long work, in one style for deploys, loading, batches and answers; data in, HTML and text out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from byzer_magic import types
from byzer_magic.i18n import gettext as _, listed, localized, ngettext
from byzer_magic.local_models.memory import readable
from byzer_magic.media import describe
from byzer_magic.rendering import amounts
from byzer_magic.rendering.markup import style, tag
from byzer_magic.types import Event, Failed, Fetched, Loading, Placed, Ready

SIGNS = {"running": "◐", "ready": "✓", "failed": "✗", "stopped": "■"}
"""Signs of the states, so that colour is not the only difference."""


NOTE_SECONDS = 10.0
"""How long work takes before there is a note about it."""
LINES = 8
"""Workers that are shown one by one while they load."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One piece of work at one moment."""

    what: str
    """The alias that the work is for."""
    stage: str
    """What it is doing, or how it ended."""
    fraction: float | None = None
    """How much of the stage is done, 0..1, where that is known."""
    seconds: float | None = None
    """How long it has taken so far."""
    state: str = "running"
    """One of `SIGNS`."""


class Work(Protocol):
    """Work with progress: an answer that is collected, a batch."""

    model: str

    @property
    def progress(self) -> types.Progress:
        """Return how much of it is done."""
        ...

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""


def of(work: Work) -> Progress:
    """Return the current progress of some work, or what its request waits for."""
    if (waiting := getattr(work, "waiting", None)) is not None:
        return Progress(what=work.model, stage=waiting_words(waiting), fraction=waiting.fraction, seconds=work.seconds)
    now = work.progress
    return Progress(what=work.model, stage=words(now), fraction=now.fraction, seconds=work.seconds)


def line(work: Work) -> str:
    """Return the current progress of some work as a line of text among others."""
    now = of(work)
    return _("{text} after {seconds} s", text=_labelled(now), seconds=f"{now.seconds or 0:.0f}")


def note(work: Work) -> str:
    """Return what a user should know about work that takes long; mostly empty."""
    if work.seconds < NOTE_SECONDS or not getattr(work, "is_endless", False):
        return ""
    return _(
        "{alias} is a base model without a chat template, and no max_tokens is set: the response may go on until the"
        " context is full. Interrupting it (Ctrl-C) keeps the text so far; --max_tokens limits it.",
        alias=work.model,
    )


def waiting_words(waiting: types.Waiting) -> str:
    """Return what a queued request waits for.

    Example:
        >>> waiting_words(types.Waiting(3))
        'queued, position 3'
    """
    queued = _("queued, position {place}", place=waiting.place)
    return _("{text} ({notes})", text=localized(waiting.stage), notes=queued) if waiting.stage else queued


def words(now: types.Progress) -> str:
    """Return what has been received so far, in a few words.

    Example:
        >>> words(types.Progress(1, 4, "texts"))
        '1 of 4 texts'
    """
    if isinstance(now, types.RowProgress):
        return _rows(now)
    if not now.done and now.unit in _BEFORE:
        return _BEFORE[now.unit]()
    match now.unit:
        case "characters":
            return ngettext("{shown} character", "{shown} characters", count=now.done, shown=f"{now.done:,}")
        case "texts":
            done, total = f"{now.done:,}", f"{now.total or 0:,}"
            return _("{done} of {total} texts", done=done, total=total)
        case "documents":
            return ngettext("{count} document", "{count} documents", count=now.total or now.done)
        case "bytes":
            return _("generating audio, {size}", size=describe.size(now.done))
        case "images":
            return _("generating images, {count} done", count=now.done)
    return now.detail


def _rows(now: types.RowProgress) -> str:
    """Return how far a table is: rows, failures, rate, cost, and what is to come."""
    parts = [_("{done} of {total} rows", done=f"{now.done:,}", total=f"{now.total or 0:,}")]
    if now.failed:
        parts.append(ngettext("{shown} failed", "{shown} failed", count=now.failed, shown=f"{now.failed:,}"))
    if now.known:
        shown = f"{now.known:,}"
        parts.append(_("{shown} replayed", shown=shown) if now.replayed else _("{shown} from the journal", shown=shown))
    if now.rate is not None:
        parts.append(_("{rate} rows/s", rate=f"{now.rate:,.0f}" if now.rate >= 10 else f"{now.rate:.1f}"))
    if cost := amounts.money(now.cost, now.currency):
        more = amounts.money(now.cost_left, now.currency) if now.cost_left else ""
        parts.append(_("{cost}, {more} to come", cost=cost, more=more) if more else cost)
    if now.seconds_left:
        parts.append(_("{time} left", time=amounts.duration(now.seconds_left)))
    return " · ".join(parts)


_BEFORE: dict[str, Callable[[], str]] = {
    "characters": lambda: _("waiting"),
    "segments": lambda: _("transcribing"),
    "bytes": lambda: _("generating audio"),
    "images": lambda: _("generating images"),
}
"""Shown before anything has been received."""


def stage(event: Event) -> str:
    """Return what a deploy is doing, or how it ended; a fraction is shown apart."""
    match event:
        case Placed(pid=pid):
            return _("placed (process {pid})", pid=pid)
        case Loading(stage=doing, worker=worker, detail=detail):
            alone = worker is None
            text = localized(doing) if alone else _("worker {worker}: {stage}", worker=worker, stage=doing)
            return _("{text} ({notes})", text=text, notes=detail) if detail else text
        case Ready(seconds=took, workers=workers, capabilities=capabilities, check=check):
            text = ngettext(
                "ready in {took} s - {count} worker, capabilities: {capabilities}",
                "ready in {took} s - {count} workers, capabilities: {capabilities}",
                count=workers, took=f"{took:.1f}", capabilities=listed(capabilities),
            )  # fmt: skip
            return _("{text}; {check}", text=text, check=check) if check else text
        case Fetched():
            return _fetched(event)
        case Failed():
            return _("failed")


def _fetched(event: Fetched) -> str:
    if event.fetched:
        values = {"size": readable(event.fetched), "took": f"{event.seconds:.0f}", "path": event.path}
        text = _("downloaded {size} in {took} s: {path}", **values)
    else:
        text = _("up to date, {size}: {path}", size=readable(event.size), path=event.path)
    return _("{text}; {check}", text=text, check=event.why) if event.why else text


def event_text(event: Event) -> str:
    """Return a deploy's event as a line of text."""
    part = f" {_whole(event.fraction)}%" if isinstance(event, Loading) and event.fraction is not None else ""
    return stage(event) + part


class Deploy:
    """A deployment in progress, by its events so far."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.stage = _("requesting resources from Ray")
        self.state = "running"
        self.workers: dict[int, Loading] = {}
        """The last word of each worker that is loading."""

    def take(self, event: Event) -> None:
        """Note the next event."""
        match event:
            case Placed():
                self.stage = stage(event)
            case Loading(worker=worker):
                self.workers[worker or 0] = event
            case Ready() | Fetched():
                self.end("ready", stage(event))
            case Failed():
                self.end("failed")

    def end(self, state: str, stage: str = "") -> None:
        """Note how it ended; only the first call counts."""
        if self.state == "running":
            self.state, self.stage = state, stage or (_("failed") if state == "failed" else _("stopped"))
            self.workers = {}  # not emptied: another thread may be rendering it

    def lines(self, seconds: float) -> list[Progress]:
        """Return it as lines: one, or while several workers load, one for each of the first ones."""
        workers = dict(self.workers)
        if self.state != "running" or not workers:
            took = seconds if self.state != "ready" else None
            return [Progress(what=self.model, stage=self.stage, state=self.state, seconds=took)]
        loading = [workers[number] for number in sorted(workers)]
        lines = [
            Progress(what=self.model, stage=stage(item), fraction=item.fraction, seconds=seconds)
            for item in loading[:LINES]
        ]
        more = len(loading) - LINES
        last = Progress(what=self.model, stage=ngettext("{count} more worker", "{count} more workers", count=more))
        return [*lines, *([last] if more > 0 else [])]


def bundle(items: Sequence[Progress]) -> dict[str, str]:
    """Return work as Jupyter shows it, one line each."""
    return {
        "text/html": str(style("progress.css") + tag("div", *map(_line, items), class_="bz-progress")),
        "text/plain": "\n".join(text(item) for item in items),
    }


def text(item: Progress) -> str:
    """Return one line of text."""
    part = "" if item.fraction is None else f" {_whole(item.fraction)}%"
    took = "" if item.seconds is None else f" · {item.seconds:.0f} s"
    return f"{_labelled(item)}{part}{took}"


def _labelled(item: Progress) -> str:
    return _("{label}: {text}", label=item.what, text=item.stage)


def _whole(fraction: float) -> int:
    return round(100 * min(max(fraction, 0.0), 1.0))


def _line(item: Progress) -> Markup:
    parts = [
        tag("span", SIGNS.get(item.state, ""), class_="bz-sign", aria_hidden="true"),
        tag("strong", item.what),
        tag("span", item.stage, class_="bz-quiet"),
    ]
    if item.fraction is not None and item.state == "running":
        percent = _whole(item.fraction)
        label = _labelled(item)
        parts.append(tag("progress", f"{percent}%", max=100, value=percent, aria_label=label))
        parts.append(tag("span", f"{percent}%", class_="bz-quiet"))
    if item.seconds is not None:
        parts.append(tag("span", f"{item.seconds:.0f} s", class_="bz-quiet"))
    return tag("div", Markup(" ").join(parts), class_=f"bz-{item.state}", role="status")
