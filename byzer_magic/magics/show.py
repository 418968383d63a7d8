"""Showing things in a cell (Notebook) and in IPython in a terminal (Console)."""

from __future__ import annotations

import getpass
import html
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from IPython.core.error import StdinNotImplementedError
from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle, display

from byzer_magic.answer import Answer
from byzer_magic.errors import RequestError
from byzer_magic.gather import Gatherer, collect
from byzer_magic.output import Items, Output
from byzer_magic.results import ChatResult, Result
from byzer_magic.terminal import Terminal
from byzer_magic.types import Event, Loading
from byzer_magic.widgets import markdown, snapshot

PAINT_SECONDS = 0.05
"""Shortest time between two paintings of a streaming answer."""
STATUS_SECONDS = 1.0
"""What takes longer than this shows how far it is, once in so many seconds."""
LONG_TEXT = 8 * 1024
"""Each painting sends the whole text: beyond this many characters it is painted less often."""


def output_for(shell: Any) -> Output:
    """Return the output that fits the shell: a kernel's cells, or a terminal."""
    return Notebook() if getattr(shell, "kernel", None) is not None else Terminal()


class Notebook:
    """A Jupyter cell."""

    shows_media = True

    def say(self, text: str) -> None:
        """Print a line below the cell."""
        print(text, flush=True)

    def text(self, text: str) -> None:
        """Print the answer."""
        print(text, flush=True)

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Show rows as a table, with a text form for terminals and diffs."""
        self._show({"text/html": snapshot.table_html(rows, empty), "text/plain": snapshot.table_text(rows, empty)})

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Show the latest event of a deploy in one line that changes."""
        handle = _start({"text/plain": f"{model}: asking Ray for a place ..."})
        started = time.monotonic()
        for event in events:
            text = snapshot.event_text(model, event)
            late = f" · {time.monotonic() - started:.0f} s" if isinstance(event, Loading) else ""
            handle.update(_status(f"{text}{late}"), raw=True)

    def answer(self, gathered: Gatherer, items: Items, style: str) -> Result:
        """Paint a text while it comes, as Markdown, and show other things when they are there; then the footer."""
        if isinstance(gathered, Answer) and style not in ("whole", "hidden"):
            return self._painted(gathered, items, style)
        status = _Status(gathered)
        try:
            result = collect(gathered, items, lambda _: None)
        finally:
            status.close()
        if style != "hidden":
            self._show_result(result, style)
        return result

    def _painted(self, answer: Answer, items: Items, style: str) -> Result:
        painter = _Painter(style, answer)
        try:
            result = collect(answer, items, lambda _: painter.take())
        except RequestError as err:
            if err.partial is not None and (err.partial.text or err.partial.reasoning):
                painter.finish(f"{snapshot.footer(err.partial)} by an error; this part is kept in _chat")
            raise
        painter.finish(snapshot.footer(result))
        return result

    def _show_result(self, result: Result, style: str) -> None:
        if isinstance(result, ChatResult):
            print(result.text, flush=True)
        elif hasattr(result, "_repr_mimebundle_"):
            self._show(result._repr_mimebundle_())
        else:
            print(result, flush=True)
        if style != "whole":
            footer = snapshot.footer(result)
            self._show({"text/html": f"<small>{html.escape(footer)}</small>", "text/plain": footer})

    def ask_secret(self, prompt: str) -> str | None:
        """Ask in the input box of the cell; None where the front end has none (nbconvert, papermill)."""
        try:
            return getpass.getpass(prompt) or None
        except (StdinNotImplementedError, EOFError):
            return None

    def refresh(self, draw: Callable[[], None]) -> None:
        """Show what `draw` shows in the same place again."""
        from IPython.display import clear_output

        clear_output(wait=True)
        draw()

    def _show(self, data: dict[str, str]) -> None:
        display(data, raw=True)


def _start(data: dict[str, str]) -> DisplayHandle:
    handle = DisplayHandle()
    handle.display(data, raw=True)
    return handle


def _status(text: str) -> dict[str, str]:
    return {"text/plain": text, "text/html": f'<div role="status">{html.escape(text)}</div>'}


class _Status:
    """Shows how far an answer is, from a second on, in one output that is emptied when it has come."""

    def __init__(self, gathered: Gatherer) -> None:
        self._gathered = gathered
        self._handle: DisplayHandle | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._repaint, name="byzer-status", daemon=True)
        self._shell = get_ipython()
        self._parent = self._shell.get_parent() if hasattr(self._shell, "get_parent") else None
        self._thread.start()

    def close(self) -> None:
        """Empty the output; nothing is painted after that."""
        self._done.set()
        self._thread.join()
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)

    def _repaint(self) -> None:
        while not self._done.wait(STATUS_SECONDS):
            data = _status(f"{self._gathered.model}: {self._gathered.progress}, {self._gathered.seconds:.0f} s")
            if self._handle is None:
                if self._parent is not None:
                    self._shell.set_parent(self._parent)  # outputs of this thread belong to the cell that started it
                self._handle = _start(data)
            else:
                self._handle.update(data, raw=True)


class _Painter:
    """Repaints one output from a thread, so that the last token before a pause is not held back."""

    def __init__(self, style: str, answer: Answer) -> None:
        self._style = style
        self._handle: DisplayHandle | None = None
        self._answer = answer
        self._dirty = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._repaint, name="byzer-paint", daemon=True)

    def take(self) -> None:
        """Note that there is more; the first piece is painted at once."""
        if self._handle is None and (self._answer.text or self._answer.reasoning):
            self._handle = _start(self._data(""))
            self._thread.start()
        else:
            self._dirty.set()

    def finish(self, footer: str) -> None:
        """Paint the whole answer and its footer; nothing is painted after that."""
        self._done.set()
        self._dirty.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._handle is None:
            self._handle = _start(self._data(footer))
        else:
            self._handle.update(self._data(footer), raw=True)

    def _repaint(self) -> None:
        while not self._done.wait(self._pause()):
            self._dirty.wait()
            self._dirty.clear()
            if self._handle is not None and not self._done.is_set():
                self._handle.update(self._data(""), raw=True)

    def _pause(self) -> float:
        return PAINT_SECONDS * max(1, len(self._answer.text) / LONG_TEXT)

    def _data(self, footer: str) -> dict[str, str]:
        text, reasoning = self._answer.text, self._answer.reasoning
        shown = markdown.formatted(text, self._style)
        if reasoning:
            shown = f"{markdown.folded('reasoning', reasoning)}\n\n{shown}"
        plain = text
        if footer:
            shown = f"{shown}\n\n<small>{html.escape(footer)}</small>"
            plain = f"{text}\n\n{footer}"
        return {"text/markdown": shown, "text/plain": plain}
