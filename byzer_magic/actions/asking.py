"""Sending a request, so that its result is not lost: kept before it is shown, and saved where it cannot be."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from byzer_magic.actions.context import Context
from byzer_magic.client.converse import Exchange
from byzer_magic.errors import ByzerError, CommandError, RequestError
from byzer_magic.files.paths import expanded
from byzer_magic.i18n import gettext, lazy_gettext as _, localized
from byzer_magic.media import formats
from byzer_magic.results import Result, saving
from byzer_magic.types import ChatRequest, Message


def answered(context: Context, exchange: Exchange, style: str, session: str | None = None) -> Result:
    """Send a request and show its result, which is kept before; one that a shell cannot show is saved.

    Args:
        context: of the command.
        exchange: the request.
        style: as in `Output.answer`.
        session: the conversation that goes on with it.

    Raises:
        RequestError: the response is incomplete.
    """
    results: list[Result] = []

    def keep(result: Result) -> None:
        context.keep(result)
        results.append(result)
        if session and isinstance(exchange.request, ChatRequest):
            remember(context, exchange.alias, session, exchange.request.messages, result)

    exchange.keep = keep
    with not_lost(context, results):
        return context.output.answer(exchange, style)


@contextlib.contextmanager
def not_lost(context: Context, results: Sequence[Result]) -> Iterator[None]:
    """Save the last result if the block, which shows or writes it, fails or is interrupted in a shell; say where it is.

    A notebook has it in `_chat`.
    """
    try:
        yield
    except (RequestError, BrokenPipeError):  # it is incomplete; its reader has seen enough
        raise
    except BaseException as err:  # it is raised again, Ctrl-C among them
        if results and not context.output.shows_media and (path := saving.rescued(results[-1])):
            where = _("The result is saved: {path}", path=path)
            if isinstance(err, ByzerError):
                err.hint = where
            else:
                context.output.say(localized(where))
        raise


def saved(context: Context, result: Result, asked: str) -> str:
    """Write a result to a file; return what there is to say.

    Raises:
        CommandError: it cannot be written; the hint says where the result is.
    """
    try:
        # a warning is of a name that did not fit; the text has the right one
        with not_lost(context, [result]), warnings.catch_warnings(action="ignore"):
            return _written(result.save(asked), asked)
    except CommandError as err:
        if context.output.shows_media:
            err.hint = _("The result is in _chat; save it with _chat.save(path).")
        raise


def _written(path: Path, asked: str) -> str:
    """Return where a result was written, and why not where it was asked for."""
    if path == expanded(asked):
        return gettext("Wrote {path}.", path=asked)
    titles = {"format": formats.title(formats.mime_of_name(path) or ""),
              "other": formats.title(formats.mime_of_name(asked) or "")}  # fmt: skip
    return gettext("Wrote {path}: the result is {format}, not {other}.", path=path, **titles)


def remember(context: Context, alias: str, name: str, messages: list[Message], result: Result) -> None:
    """Add a turn to a session, and store it for other faces; say why where it is not kept."""
    work = context.sessions.remember(context.manager, alias, name, messages, result)
    if note := context.manager.run(work):
        context.output.say(localized(note))
