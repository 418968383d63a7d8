"""`%%chat alias --audio rec`: record in the cell, and get the answer below the recorder."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future

from IPython.display import DisplayHandle

from byzer_magic import media
from byzer_magic.client.converse import Exchange
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.magics.repaint import Repainted, empty, error_bundle
from byzer_magic.rendering import progress, results
from byzer_magic.results import Result
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import Media
from byzer_magic.widgets import recorder

Ask = Callable[[Media], Exchange]
Keep = Callable[[Result], None]


class Recording:
    """A recorder and the output below it, until a recording has been answered or the cell runs again."""

    def __init__(self, alias: str, ask: Ask, keep: Keep) -> None:
        self._alias = alias
        self._ask = ask
        self._keep = keep
        self._job: Future[Result] | None = None
        self._cell = contextvars.copy_context()
        """Of the cell that has opened it: how its requests go with the journal."""
        self._page = recorder.open_page(alias, self._take, self.cancel)
        self._above, self._below = DisplayHandle(), DisplayHandle()

    def show(self) -> None:
        """Show both in the running cell."""
        self._above.display(recorder.mount(self._page, self._alias), raw=True)
        self._below.display({"text/plain": ""}, raw=True)

    def close(self) -> None:
        """Remove the recorder and stop the response; what is shown below it stays."""
        self.cancel()
        self._end()

    def cancel(self) -> None:
        """Stop the response."""
        if self._job is not None:
            self._job.cancel()

    def _take(self, data: bytes, name: str) -> None:
        work = functools.partial(self._cell.copy().run, self._answer, data, name)
        threading.Thread(target=work, name="byzer-recording", daemon=True).start()

    def _answer(self, data: bytes, name: str) -> None:
        try:
            found = media.audio(data)
            found.name = name
            exchange = self._ask(found)
        except ByzerError as err:
            self._failed(err.localized())
            return
        board = Repainted(lambda: self._status(exchange), handle=self._below)
        try:
            self._job = asyncio.run_coroutine_threadsafe(exchange.run(), LOOP.start())
            result = self._job.result()
        except CancelledError:
            board.close(empty)
            self._failed(_("Cancelled."))
            return
        except ByzerError as err:
            text = err.localized()
            board.close(lambda: error_bundle(text))
            self._failed(str(localized(err.message)))
            return
        self._keep(result)
        board.close(lambda: results.with_footer(result))
        self._end()

    def _end(self) -> None:
        """Remove the recorder; a saved notebook has no trace of it."""
        self._page.send("end")
        self._page.close()
        self._above.update({"text/plain": ""}, raw=True)

    def _status(self, exchange: Exchange) -> dict[str, str]:
        return progress.bundle([progress.of(exchange.collector)])

    def _failed(self, text: str) -> None:
        self._page.send("failed", text=text)
