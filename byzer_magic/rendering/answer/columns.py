"""Answers of several models side by side, complete or partial, as HTML and text."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _
from byzer_magic.log import get_logger
from byzer_magic.rendering import footer, results, tables
from byzer_magic.rendering.answer.view import Shown, View
from byzer_magic.rendering.markup import style, tag
from byzer_magic.rendering.media import (
    audio as audio_view,
    base as media,
    image as image_view,
    transcript as transcript_view,
)
from byzer_magic.results import (
    ChatResult,
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)

LOG = get_logger("rendering")
SIGNS = {"waiting": "○", "answering": "◐", "done": "✓", "failed": "✗", "stopped": "■"}
"""Signs of the states, so that colour is not the only difference."""
ROWS = 50
"""Embeddings or documents that are shown; the result has them all."""
NUMBERS = 4
"""Values of an embedding that are shown."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One model's answer at one moment."""

    alias: str
    state: str
    """One of `SIGNS`."""
    seconds: float = 0.0
    text: str = ""
    """The answer so far, while it streams."""
    reasoning: str = ""
    progress: str = ""
    """The progress of an answer that is not text."""
    result: Result | None = None
    """The complete or partial result, once the model has finished."""

    @property
    def error(self) -> ByzerError | None:
        """Return the error of a model that failed."""
        return self.result.error if self.result is not None else None


def state_text(state: str) -> str:
    """Return the name of a column's state, one of `SIGNS`, in the active language."""
    match state:
        case "waiting":
            return _("waiting")
        case "answering":
            return _("answering")
        case "done":
            return _("done")
        case "failed":
            return _("failed")
        case _unknown:
            return _("stopped")


def bundle(columns: Sequence[Column], views: Mapping[str, View]) -> dict[str, str]:
    """Return the columns as a MIME bundle.

    Args:
        columns: one per model, in order.
        views: what renders the chats, by alias.
    """
    over = all(column.result is not None for column in columns)
    each = (_column(column, views[column.alias], over=over) for column in columns)
    label = _("{count} answers side by side", count=len(columns))
    shown = tag("div", *each, class_="bz-columns", role="group", aria_label=label)
    return {
        "text/html": str(style("answer.css", "columns.css", "footer.css") + media.output(shown)),
        "text/plain": "\n\n".join(plain(column) for column in columns),
    }


def plain(column: Column) -> str:
    """Return one column as text under a heading."""
    shown = column.text or column.progress if column.result is None else _text(column.result)
    failed = ""
    if column.error:
        failed = _("{label}: {text}", label=state_text("failed"), text=column.error.localized())
    lines = [f"== {column.alias} ==", shown, failed, footer_of(column)]
    return "\n".join(filter(None, lines))


def _text(result: Result) -> str:
    shown = "" if isinstance(result, EmbedResult) else str(result)
    return "\n".join(filter(None, [shown, footer.contents(result)]))


def footer_of(column: Column) -> str:
    """Return the footer of a column; empty while it has no result."""
    return " · ".join(footer.figures(column.result)) if column.result is not None else ""


def _column(column: Column, view: View, *, over: bool) -> Markup:
    state = f"{SIGNS[column.state]} {state_text(column.state)}"
    if column.result is None:
        state += f" · {column.seconds:.0f} s"
    text = footer_of(column)
    parts = [
        tag("header", tag("strong", column.alias), tag("span", state)),
        tag("div", _error(column), shown(column, view, over=over), class_="bz-body"),
        tag("footer", text, class_="bz-footer") if text else "",
    ]
    return tag("section", *parts, class_=f"bz-column bz-{column.state}", aria_label=column.alias)


def shown(column: Column, view: View, *, over: bool) -> Markup:
    """Return the answer; one that cannot be rendered does not take the others with it."""
    try:
        return _body(column, view, over=over)
    except Exception as err:  # as in results.or_plain
        LOG.warning("the answer of %s cannot be shown", column.alias, exc_info=True)
        note = _(
            "It cannot be displayed as usual ({error}); _chat has all of it.", error=f"{type(err).__name__}: {err}"
        )
        return tag("pre", column.text or str(column.result or "")) + tag("p", note, class_="bz-quiet")


def _error(column: Column) -> Markup:
    error = column.error
    if error is None:
        return Markup()
    shown = tag("p", error.localized(), class_="bz-error", role="note")
    partial = isinstance(column.result, ChatResult) and column.result.text
    return shown + tag("p", _("Partial answer:"), class_="bz-quiet") if partial else shown


def _body(column: Column, view: View, *, over: bool) -> Markup:
    """Return the answer; audio and images only when all models have finished, since repainting stops a player."""
    match column.result:
        case None if column.text or column.reasoning:
            return view.inner(Shown(text=column.text, reasoning=column.reasoning, done=False))
        case None:
            return tag("p", column.progress, class_="bz-quiet")
        case ChatResult() as result:
            return _chat(result, view)
        case SpeakResult() | ImageResult() | TranscribeResult() as result if not over:
            later = _("{result}: shown when all models have finished", result=str(result))
            return tag("p", later, class_="bz-quiet")
        case result:
            return _complete(result)


@functools.singledispatch
def _complete(result: Result) -> Markup:
    """Return a complete result; one without a function below is shown as its text."""
    return tag("p", str(result))


@_complete.register
def _embeddings(result: EmbedResult) -> Markup:
    return tables.to_html(_vectors(result), "") + _made(result)


@_complete.register
def _ranked(result: RerankResult) -> Markup:
    return tables.to_html(_ranking(result), "") + _made(result)


@_complete.register
def _speech(result: SpeakResult) -> Markup:
    return audio_view.figure(results.speech(result))[0] if result.data else Markup()


@_complete.register
def _images(result: ImageResult) -> Markup:
    about = (result.prompt, results.options(result.options), "")
    return image_view.grid(results.image_views(result), *about)[0]


@_complete.register
def _transcript(result: TranscribeResult) -> Markup:
    about = (result.text, result.segments, results.transcript_facts(result)[1:], results.recording(result))
    return transcript_view.section(*about, silent=not result.text.strip() and result.is_silent)[0]


def _chat(result: ChatResult, view: View) -> Markup:
    if not (result.text or result.reasoning or result.tool_calls):
        empty = not (result.error or result.interrupted)
        return tag("p", _("(empty answer)"), class_="bz-quiet") if empty else Markup()
    return view.inner(Shown(text=result.text, reasoning=result.reasoning, tool_calls=result.tool_calls or ()))


def _made(result: Result) -> Markup:
    text = footer.contents(result)
    return tag("p", text, class_="bz-quiet") if text else Markup()


def _vectors(result: EmbedResult) -> list[dict[str, object]]:
    return [
        {
            _("text"): number + 1,
            _("norm"): f"{sum(float(value) ** 2 for value in row) ** 0.5:.3f}",
            _("first values"): " ".join(f"{value:.3f}" for value in row[:NUMBERS]) + " …",
        }
        for number, row in enumerate(result.vectors[:ROWS])
    ]


def _ranking(result: RerankResult) -> list[dict[str, object]]:
    pairs = zip(result.order[:ROWS], result.documents, strict=False)
    return [
        {_("rank"): place, _("score"): f"{score:.4f}", _("text"): text}
        for place, ((_index, score), text) in enumerate(pairs, 1)
    ]
