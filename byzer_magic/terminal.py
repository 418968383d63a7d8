"""Output on a terminal: answers to stdout, everything else to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from byzer_magic.actions import Items
from byzer_magic.answer import Answer, collect
from byzer_magic.results import ChatResult
from byzer_magic.types import ChatChunk, Dispatched, Event
from byzer_magic.widgets import snapshot


class Terminal:
    """Output of a shell command, and of IPython in a terminal."""

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

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Write a line per event to stderr."""
        for event in events:
            self.say(snapshot.event_text(model, event))

    def answer(self, model: str, items: Items, style: str) -> ChatResult:
        """Write the answer to stdout as it comes, its footer to stderr."""

        def write(_: Answer, item: ChatChunk | Dispatched) -> None:
            if isinstance(item, ChatChunk) and item.text:
                sys.stdout.write(item.text)
                sys.stdout.flush()

        try:
            result = collect(model, items, write)
        finally:
            sys.stdout.write("\n")
        self.say(snapshot.footer(result))
        return result

    def refresh(self, draw: Callable[[], None]) -> None:
        """Write it once more."""
        draw()
