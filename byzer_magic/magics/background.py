"""`%%chat a --background`: an output that fills after its cell has ended."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

from IPython.display import DisplayHandle

from byzer_magic.actions.output import Output
from byzer_magic.client.collect import ChatCollector
from byzer_magic.client.converse import Exchange
from byzer_magic.commands.secrets import known_here
from byzer_magic.errors import ByzerError, RequestError
from byzer_magic.i18n import gettext, language, using
from byzer_magic.log import get_logger, redact
from byzer_magic.magics.repaint import Repainted, error_bundle
from byzer_magic.magics.show import Painting
from byzer_magic.rendering import progress, results
from byzer_magic.request_ids import short
from byzer_magic.results import ChatResult, Result
from byzer_magic.runtime.loop import LOOP

LOG = get_logger("magics")
Run = Callable[[Callable[[Any], object]], Coroutine[Any, Any, Result]]
"""Sends a request, calls a function with each item, and returns the result."""
Bundle = dict[str, str]


def fill_later(
    shell: Any, out: Output, exchange: Exchange, identity: str, run: Run, keep: Callable[[Result], object], style: str
) -> None:
    """Show an answer in the running cell, also after that has ended; in a terminal, say where it is.

    Args:
        shell: IPython's shell.
        out: where the cell shows things.
        exchange: the request.
        identity: the id of the answer in its deployment.
        run: sends the request.
        keep: is called with the result.
        style: as in `Output.answer`.
    """
    text = gettext(
        "The answer goes on in {alias}, also without this notebook; to continue it elsewhere: %chat --attach {id}",
        alias=exchange.alias,
        id=short(identity),
    )
    out.say(text)
    Filling(shell, exchange, run, keep, style, shown=out.shows_media)


class Filling:
    """An output of the running cell, until its answer is complete.

    Args:
        shell: IPython's shell.
        exchange: the request.
        run: sends it.
        keep: is called with the result.
        style: as in `Output.answer`.
        shown: whether there is a cell to fill; a terminal gets the result alone.
    """

    def __init__(
        self, shell: Any, exchange: Exchange, run: Run, keep: Callable[[Result], object], style: str, *, shown: bool
    ) -> None:
        self._shell = shell
        self._exchange = exchange
        self._keep = keep
        collector = exchange.collector
        self._painting = Painting(collector, style) if isinstance(collector, ChatCollector) else None
        self._board: Repainted | None = None
        if shown:
            handle = DisplayHandle()
            handle.display({"text/plain": ""}, raw=True)
            self._board = Repainted(self._draw, handle=handle)
        self._job: Future[Result] = asyncio.run_coroutine_threadsafe(run(self._touch), LOOP.start())
        self._language = language()
        threading.Thread(target=self._finish, name="byzer-background", daemon=True).start()

    def _touch(self, _item: Any) -> None:
        if self._board is not None:
            self._board.touch()

    def _draw(self) -> Bundle:
        if self._painting is not None:
            return self._painting.draw()
        return progress.bundle([progress.of(self._exchange.collector)])

    def _finish(self) -> None:
        """Show the end in the language of the cell; else in no context of it.

        What is shown there has the ended cell as its parent, and nbclient drops that: of an update it takes any other.
        """
        with using(self._language):
            self._wait()

    def _wait(self) -> None:
        try:
            result = self._job.result()
        except ByzerError as err:
            partial = err.partial if isinstance(err, RequestError) else None
            if partial is not None:
                self._keep_safely(partial)
            failure = self._failed(err, partial)
            self._end(lambda: failure)
        except Exception as err:  # whatever a collector raises is shown
            LOG.warning("an answer in the background failed", exc_info=True)
            failure = self._failed(ByzerError(f"{type(err).__name__}: {err}"), None)
            self._end(lambda: failure)
        else:
            self._keep_safely(result)
            self._end(lambda: self._complete(result))

    def _keep_safely(self, result: Result) -> None:
        try:
            self._keep(result)
        except Exception:  # of sessions and variables: the answer is shown in any case
            LOG.warning("an answer in the background could not be kept", exc_info=True)

    def _end(self, last: Callable[[], Bundle]) -> None:
        if self._board is not None:
            self._board.close(last)

    def _complete(self, result: Result) -> Bundle:
        if self._painting is not None and isinstance(result, ChatResult):
            return self._painting.complete(result)
        return results.with_footer(result)

    def _failed(self, err: ByzerError, partial: Result | None) -> Bundle:
        """Draw an error below what had arrived."""
        failure = error_bundle(redact(err.localized(), known_here("", self._shell.user_ns, os.environ)))
        if self._painting is None or not isinstance(partial, ChatResult) or not (partial.text or partial.reasoning):
            return failure
        part = self._painting.complete(partial, by_error=True)
        return {name: f"{part.get(name, '')}\n{text}" for name, text in failure.items()}
