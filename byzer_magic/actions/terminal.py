"""Output on a terminal: results to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import getpass
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from byzer_magic.client.converse import Exchange
from byzer_magic.client.reporter import Question
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.rendering import footer, progress, tables
from byzer_magic.rendering.media import transcript
from byzer_magic.results import ChatResult, EmbedResult, Result, TranscribeResult
from byzer_magic.safety.texts import Arriving, visible
from byzer_magic.types import ChatChunk, ChatRequest, Event, Loading, RowProgress, Waiting

PROGRESS_SECONDS = 2.0
"""How often the progress of a response is written to stderr."""
FIRST_REPORT_SECONDS = 10.0
"""When the first line on a chat that shows nothing is written; the next ones come 20, 40, 80, ... seconds later."""
LOAD_PROGRESS_SECONDS = 5.0
"""How often the progress within one stage of a deploy is written."""


class Terminal:
    """Output of a shell command, and of IPython in a terminal."""

    shows_media = False

    def say(self, text: str) -> None:
        """Write a line to stderr; where that cannot be written, there is nowhere to say so."""
        with contextlib.suppress(OSError, ValueError):  # a full disk; a closed file
            print(visible(text), file=sys.stderr, flush=True)

    def text(self, text: str) -> None:
        """Write the result to stdout.

        Raises:
            ByzerError: it cannot be written.
        """
        _write(f"{text}\n")

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Write rows to stdout, aligned; `empty` goes to stderr."""
        if rows:
            self.text(tables.to_text(rows, empty))
        else:
            self.say(empty)

    def tables(self, several: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Write tables to stdout, with an empty line between them."""
        self.bundle(tables.bundle(several))

    def bundle(self, data: dict[str, str]) -> None:
        """Write its text to stdout."""
        self.text(data["text/plain"])

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Write a line per stage to stderr, and while one takes long, how far it is."""
        started = shown = time.monotonic()
        stage: tuple[object, ...] = ()
        for event in events:
            now = time.monotonic()
            new = (type(event), *((event.stage, event.worker) if isinstance(event, Loading) else ()))
            if new != stage or now - shown >= LOAD_PROGRESS_SECONDS:
                late = now - started if new == stage else None
                self.say(progress.text(progress.Progress(what=model, stage=progress.event_text(event), seconds=late)))
                stage, shown = new, now

    def answer(self, exchange: Exchange, style: str) -> Result:
        """Write the response to stdout as it arrives, and its footer to stderr; `complete` and `hidden` wait first."""
        if isinstance(exchange.request, ChatRequest):
            return self._chat(exchange, style)
        shown = time.monotonic()

        def show_progress(_item: object) -> None:
            nonlocal shown
            if time.monotonic() - shown >= PROGRESS_SECONDS:
                shown = time.monotonic()
                self.say(progress.text(progress.of(exchange.collector)))

        result = exchange.wait(show_progress)
        if style != "hidden":
            self.text(result.output if isinstance(result, EmbedResult) else str(result))
        if isinstance(result, TranscribeResult) and not result.text.strip() and not result.interrupted:
            self.say(transcript.no_speech(silent=result.is_silent))
        if not isinstance(result, ChatResult):
            self.say(footer.line(result))
        return result

    def _chat(self, exchange: Exchange, style: str) -> Result:
        if style in ("complete", "hidden"):
            with self._reports(exchange.collector):
                result = exchange.wait()
            if style != "hidden":
                self.text(str(result))
            return result
        reports = contextlib.nullcontext() if _is_terminal() else self._reports(exchange.collector)
        with reports:
            return self._streamed(exchange)

    def _streamed(self, exchange: Exchange) -> Result:
        arriving = Arriving()
        told = 0.0

        def write(item: object) -> None:
            nonlocal told
            if isinstance(item, Waiting) and time.monotonic() - told >= PROGRESS_SECONDS and _is_terminal():
                told = time.monotonic()
                self.say(progress.line(exchange.collector))
            if isinstance(item, ChatChunk) and item.text:
                _write(arriving.visible(item.text) if _is_terminal() else item.text, checked=True)

        try:
            result = exchange.wait(write)
        finally:
            _write("\n")
        self.say(footer.line(result))
        return result

    @contextlib.contextmanager
    def _reports(self, work: progress.Work) -> Iterator[None]:
        """While the block runs, write a line on its progress to stderr now and then, at longer and longer intervals.

        By a thread: the work may be silent for minutes.
        """
        ended = threading.Event()

        def run() -> None:
            wait, note = FIRST_REPORT_SECONDS, ""
            while not ended.wait(wait):
                self.say(progress.line(work))
                if not note and (note := progress.note(work)):
                    self.say(note)
                wait *= 2

        context = contextvars.copy_context()  # of the language
        thread = threading.Thread(target=lambda: context.run(run), name="byzer-reports", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def ask_secret(self, prompt: str) -> str | None:
        """Ask on the terminal; None where there is none."""
        return (getpass.getpass(visible(prompt)) or None) if sys.stdin is not None and sys.stdin.isatty() else None

    def ask(self, question: Question) -> str | None:
        """Ask on the terminal; None where there is none. Stdout may be a file, so it is not asked there."""
        if sys.stdin is None or not sys.stdin.isatty() or threading.current_thread() is not threading.main_thread():
            return None
        self.say(f"{question.text} {question.typed}")
        line = sys.stdin.readline()
        return line.strip() if line else None

    def watch(self, work: Any) -> AbstractContextManager[None]:
        """Write lines about a table, row by row; else nothing: a blocking call from Python is silent on a terminal."""
        is_table = isinstance(getattr(work, "progress", None), RowProgress)
        return self._reports(work) if is_table else contextlib.nullcontext()

    def refresh(self, draw: Callable[[], None]) -> None:
        """Write it once more."""
        draw()


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _write(text: str, *, checked: bool = False) -> None:
    r"""Write to stdout at once; characters that its encoding lacks become escapes, such as `\u4f60`.

    A terminal gets no control characters (`checked`: there are none left); a file or a pipe gets each byte as it came.

    Raises:
        BrokenPipeError: its reader has closed it.
        ByzerError: it cannot be written for another reason.
    """
    output = sys.stdout
    if output is None:  # the shell has closed it (>&-)
        raise ByzerError(_("Cannot write the output: {reason}.", reason=os.strerror(errno.EBADF)), _HINT)
    if not checked and _is_terminal():
        text = visible(text)
    try:
        try:
            output.write(text)
        except UnicodeEncodeError:
            encoding = output.encoding or "ascii"
            output.write(text.encode(encoding, "backslashreplace").decode(encoding))
        output.flush()
    except BrokenPipeError:
        raise
    except OSError as err:
        raise ByzerError(_("Cannot write the output: {reason}.", reason=err.strerror), _HINT) from err


_HINT = _("Check where stdout goes, and that its disk has space.")
