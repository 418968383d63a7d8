"""What every face can show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from byzer_magic.client.converse import Exchange
from byzer_magic.client.reporter import Question
from byzer_magic.results import Result
from byzer_magic.types import Event


class Output(Protocol):
    """How a face shows things."""

    shows_media: bool
    """Whether audio and images can be shown."""

    def say(self, text: str) -> None:
        """Show a line about what is happening; it is never part of the result."""

    def text(self, text: str) -> None:
        """Show the result of a command as text."""

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Show rows, or `empty` when there are none."""

    def tables(self, several: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Show several tables, one below the other."""

    def bundle(self, data: dict[str, str]) -> None:
        """Show what has a form as `text/html` and one as `text/plain`."""

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Show a deploy while it happens."""

    def answer(self, exchange: Exchange, style: str) -> Result:
        """Send a request, show its response while it arrives, and return the result.

        Args:
            exchange: the request; its collector has what arrived so far.
            style: `markdown`, `text`, ... for a chat; `complete`: text only, at the end; `hidden`: nothing.
        """
        ...

    def ask_secret(self, prompt: str) -> str | None:
        """Return what the user types without showing it; None where the face cannot ask."""
        ...

    def ask(self, question: Question) -> str | None:
        """Return which choice was clicked, or what was typed; None where nobody can be asked."""
        ...

    def watch(self, work: Any) -> AbstractContextManager[None]:
        """Show the progress of `work` while the block runs, where the face can."""
        ...

    def refresh(self, draw: Callable[[], None]) -> None:
        """Show again what `draw` shows, in place of the last time where that is possible."""
