"""Output on a terminal: answers to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import getpass
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from byzer_magic.actions.output import Items
from byzer_magic.client.collect import AnyCollector, ChatCollector, collect
from byzer_magic.rendering import progress, snapshot
from byzer_magic.results import ChatResult, EmbedResult, Result
from byzer_magic.types import ChatChunk, Event, Loading

TELL_SECONDS = 2.0
"""What takes longer tells on stderr how far it is, once in so many seconds."""

LOAD_TELL_SECONDS = 5.0
"""A stage of a deploy that takes longer tells how far it is, once in so many seconds."""


class Terminal:
    """Output of a shell command, and of IPython in a terminal."""

    shows_media = False

    def say(self, text: str) -> None:
        """Write a line to stderr."""
        print(text, file=sys.stderr, flush=True)

    def text(self, text: str) -> None:
        """Write the answer to stdout."""
        print(text, flush=True)

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Write rows to stdout, aligned; that there are none is said on stderr."""
        if rows:
            self.text(snapshot.table_text(rows, empty))
        else:
            self.say(empty)

    def tables(self, tables: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Write tables to stdout, with an empty line between them."""
        self.text(snapshot.tables(tables)["text/plain"])

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Write a line per stage to stderr, and while one takes long, how far it is."""
        started = told = time.monotonic()
        stage: tuple[object, ...] = ()
        for event in events:
            now = time.monotonic()
            new = (type(event), *((event.stage, event.worker) if isinstance(event, Loading) else ()))
            if new != stage or now - told >= LOAD_TELL_SECONDS:
                late = f", {now - started:.0f} s" if new == stage else ""
                self.say(f"{model}: {progress.event_text(event)}{late}")
                stage, told = new, now

    def answer(self, collector: AnyCollector, items: Items, style: str) -> Result:
        """Write the answer to stdout as it comes, its footer to stderr; "whole" and "hidden" wait for its end."""
        if isinstance(collector, ChatCollector) and style not in ("whole", "hidden"):
            return self._streamed(collector, items)
        told = time.monotonic()

        def tell(_: object) -> None:
            nonlocal told
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                self.say(f"{collector.model}: {progress.of(collector).stage} · {collector.seconds:.0f} s")

        result = collect(collector, items, tell)
        if style != "hidden":
            self.text(result.output if isinstance(result, EmbedResult) else str(result))
        if not isinstance(result, ChatResult):
            self.say(snapshot.footer(result))
        return result

    def _streamed(self, answer: ChatCollector, items: Items) -> Result:
        def write(item: object) -> None:
            if isinstance(item, ChatChunk) and item.text:
                sys.stdout.write(item.text)
                sys.stdout.flush()

        try:
            result = collect(answer, items, write)
        finally:
            sys.stdout.write("\n")
        self.say(snapshot.footer(result))
        return result

    def ask_secret(self, prompt: str) -> str | None:
        """Ask on the terminal; None where there is none."""
        return (getpass.getpass(prompt) or None) if sys.stdin is not None and sys.stdin.isatty() else None

    def watch(self, _work: object) -> AbstractContextManager[None]:
        """Show nothing: a blocking call from Python is silent on a terminal."""
        return contextlib.nullcontext()

    def refresh(self, draw: Callable[[], None]) -> None:
        """Write it once more."""
        draw()
