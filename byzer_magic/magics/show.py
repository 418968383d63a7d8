"""Showing things in a cell."""

from __future__ import annotations

import contextlib
import getpass
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.display import display

from byzer_magic.actions.output import Output
from byzer_magic.actions.terminal import Terminal
from byzer_magic.client.collect import ChatCollector
from byzer_magic.client.converse import Exchange
from byzer_magic.client.reporter import Question
from byzer_magic.errors import ByzerError, RequestError
from byzer_magic.magics import pausing
from byzer_magic.magics.repaint import Repainted, empty
from byzer_magic.rendering import footer, progress, results, tables
from byzer_magic.rendering.answer import view as answer_view
from byzer_magic.rendering.answer.view import Shown
from byzer_magic.rendering.progress import Work
from byzer_magic.results import ChatResult, Result
from byzer_magic.runtime import forks
from byzer_magic.safety.texts import visible, visible_bundle
from byzer_magic.types import Event

STATUS_SECONDS = 1.0
"""Work that takes longer than this shows its progress."""


def output_for(shell: Any) -> Output:
    """Return the output that fits the shell: a kernel's cells, or a terminal."""
    return Notebook() if getattr(shell, "kernel", None) is not None else Terminal()


class Notebook:
    """A Jupyter cell."""

    shows_media = True

    def say(self, text: str) -> None:
        """Print a line below the cell."""
        print(visible(text), flush=True)

    def text(self, text: str) -> None:
        """Print the result of a command."""
        print(visible(text), flush=True)

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Show rows as a table, with a text form for terminals and diffs."""
        self._show({"text/html": tables.to_html(rows, empty), "text/plain": tables.to_text(rows, empty)})

    def tables(self, several: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Show several tables in one output, one below the other."""
        self._show(tables.bundle(several))

    def bundle(self, data: dict[str, str]) -> None:
        """Show it in the form that the front end prefers."""
        self._show(data)

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Show a deploy in lines that are updated; one quiet line stays."""
        deploy, started = progress.Deploy(model), time.monotonic()
        board = Repainted(lambda: progress.bundle(deploy.lines(time.monotonic() - started)))
        try:
            for event in events:
                deploy.take(event)
                board.touch()
        except ByzerError:
            deploy.end("failed")
            raise
        finally:
            deploy.end("stopped")
            board.close()

    def answer(self, exchange: Exchange, style: str) -> Result:
        """Paint a chat while it arrives, and show other results when they are complete; then the footer."""
        collector = exchange.collector
        if isinstance(collector, ChatCollector) and style not in ("complete", "hidden"):
            return self._painted(exchange, collector, style)
        with self.watch(collector):
            result = exchange.wait()
        if style != "hidden":
            self._show_result(result, style)
        return result

    @contextlib.contextmanager
    def watch(self, work: Work) -> Iterator[None]:
        """Show the progress of work while the block runs, after a second; nothing of it stays."""
        if threading.current_thread() is not threading.main_thread() or forks.generation():  # its cell is unknown
            yield
            return

        def draw() -> dict[str, str]:
            now = progress.of(work)
            note = progress.note(work)
            return progress.bundle([replace(now, stage=f"{now.stage} · {note}") if note else now])

        board = Repainted(draw, after=STATUS_SECONDS)
        try:
            yield
        finally:
            board.close(empty)

    def _painted(self, exchange: Exchange, answer: ChatCollector, style: str) -> Result:
        """Paint a chat as it arrives; before its first token, how long it has been waiting."""
        painting = Painting(answer, style)
        complete = painting.complete
        board = Repainted(painting.draw, after=STATUS_SECONDS)
        result: Result | None = None
        try:
            result = exchange.wait(lambda _item: board.touch())
        except RequestError as err:
            if isinstance(err.partial, ChatResult) and (err.partial.text or err.partial.reasoning):
                partial = err.partial
                board.close(lambda: complete(partial, by_error=True), always=True)
            raise
        finally:
            if isinstance(result, ChatResult):
                whole = result
                board.close(lambda: complete(whole), always=True)
            else:
                board.close(empty)
        return result

    def _show_result(self, result: Result, style: str) -> None:
        if isinstance(result, ChatResult):
            self.text(result.text)
        elif "text/html" in (data := results.bundle(result)):
            self._show(data)
        else:
            self.text(data["text/plain"])
        if style != "complete":
            self._show(footer.bundle(footer.line(result)))

    def ask_secret(self, prompt: str) -> str | None:
        """Ask in the input box of the cell; None where the front end has none (nbconvert, papermill)."""
        try:
            return getpass.getpass(visible(prompt)) or None
        except (StdinNotImplementedError, EOFError):
            return None

    def ask(self, question: Question) -> str | None:
        """Ask in the cell; None where nobody is there (nbconvert, papermill)."""
        return pausing.asked(question)

    def refresh(self, draw: Callable[[], None]) -> None:
        """Show what `draw` shows in the same place again."""
        from IPython.display import clear_output

        clear_output(wait=True)
        draw()

    def _show(self, data: dict[str, str]) -> None:
        display(visible_bundle(data), raw=True)


class Painting:
    """Draws a chat: as it arrives, and when it is complete.

    Args:
        answer: what has arrived so far.
        style: `markdown`, `text`, ...
    """

    def __init__(self, answer: ChatCollector, style: str) -> None:
        self._answer = answer
        self._style = style
        self._view = answer_view.View(style, key=secrets.token_hex(4))

    def draw(self) -> dict[str, str]:
        """Draw what has arrived; before the first token, how long it has been waiting."""
        answer = self._answer
        if not (answer.text or answer.reasoning):
            return progress.bundle([progress.of(answer)])
        note = progress.note(answer)
        shown = Shown(text=answer.text, reasoning=answer.reasoning, footer=note, done=False)
        return {"text/html": self._view.html(shown), "text/plain": shown.text}

    def complete(self, result: ChatResult, *, by_error: bool = False) -> dict[str, str]:
        """Draw a result with its footer.

        Args:
            result: complete, or a part.
            by_error: whether an error has ended it.
        """

        def shown() -> dict[str, str]:
            text = footer.line(result, by_error=by_error)
            calls = result.tool_calls or ()
            parts = Shown(text=result.text, reasoning=result.reasoning, tool_calls=calls, footer=text)
            return answer_view.bundle(parts, self._style, view=self._view)

        return results.or_plain(shown, result.text)
