"""One output of a cell that a thread updates repeatedly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from IPython.core.getipython import get_ipython
from IPython.display import DisplayHandle

from byzer_magic.log import get_logger
from byzer_magic.rendering.markup import tag
from byzer_magic.safety.texts import visible_bundle

LOG = get_logger("magics")

PAINT_SECONDS = 0.05
"""Shortest time between two repaints."""
REST = 9
"""After a repaint the thread rests this many times as long as it took, so that it uses a tenth of a core at most."""
TICK_SECONDS = 1.0
"""Interval between repaints when nothing is new, so that the elapsed time advances."""
LARGE = 32 * 1024
"""Each repaint sends everything: an output with more characters than this is repainted less often."""

Draw = Callable[[], dict[str, str]]
"""Returns the output as it is now, as a MIME bundle."""


@contextmanager
def suppress_and_log() -> Iterator[None]:
    """Let work go on whose output cannot be shown: it may be paid, and its front end may be gone."""
    try:
        yield
    except Exception:  # of renderers and front ends of others
        LOG.warning("an output cannot be shown", exc_info=True)


def empty() -> dict[str, str]:
    """Draw nothing."""
    return {"text/plain": ""}


def error_bundle(text: str) -> dict[str, str]:
    """Return an error as it is shown in an output that fills after its cell has ended."""
    style = "border-left:3px solid var(--jp-error-color1,#d32f2f);padding-left:8px;white-space:pre-wrap"
    return {"text/html": str(tag("p", text, role="alert", style=style)), "text/plain": text}


class Repainted:
    """Paints when something is new, and once a second; stays live while the cell runs, and in a saved notebook.

    Args:
        draw: returns the output as it is now.
        after: seconds before anything is shown, unless there is something new; shorter work shows nothing.
        handle: an existing output to update.
    """

    def __init__(self, draw: Draw, *, after: float = 0.0, handle: DisplayHandle | None = None) -> None:
        self._draw = draw
        self._after = after
        self._news = threading.Event()
        self._done = threading.Event()
        self._handle = handle
        self._shell = get_ipython()
        self._parent = self._shell.get_parent() if hasattr(self._shell, "get_parent") else None
        if not after:
            self._paint(draw())
        self._thread = threading.Thread(target=self._run, name="byzer-paint", daemon=True)
        self._thread.start()

    def touch(self) -> None:
        """Note that there is something new."""
        self._news.set()

    def close(self, last: Draw | None = None, *, always: bool = False) -> None:
        """Show how it ended, or what `last` draws, and nothing after; where nothing was shown yet, only if `always`."""
        if self._done.is_set():
            return
        self._done.set()
        self._news.set()
        self._thread.join()  # only one thread at a time may draw
        if self._handle is not None or always:
            with suppress_and_log():
                self._paint((last or self._draw)())

    def _run(self) -> None:
        if self._after:
            self._news.wait(self._after)
        first = True
        while not self._done.is_set():
            self._news.clear()
            began = time.thread_time()
            data: dict[str, str] = {}
            with suppress_and_log():
                data = self._draw()
                self._paint(data)
            large = PAINT_SECONDS * len(data.get("text/html", "")) / LARGE
            rest = 0.0 if first else REST * (time.thread_time() - began)  # the first one also imports its modules
            first = False
            if self._done.wait(max(PAINT_SECONDS, large, rest)):
                return
            self._news.wait(TICK_SECONDS)

    def _paint(self, data: dict[str, str]) -> None:
        data = visible_bundle(data)
        if self._handle is not None:
            self._handle.update(data, raw=True)
            return
        if threading.current_thread() is not threading.main_thread() and self._parent is not None:
            self._shell.set_parent(self._parent)  # what this thread shows belongs to the cell that started it
        self._handle = DisplayHandle()
        self._handle.display(data, raw=True)
