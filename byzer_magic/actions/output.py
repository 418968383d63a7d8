"""What every face must be able to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from byzer_magic.client.collect import AnyCollector
from byzer_magic.results import Result
from byzer_magic.types import Event

Items = Iterator[Any]
"""The items of an answer, and who gives it."""


class Output(Protocol):
    """How a face shows things."""

    shows_media: bool
    """Whether sounds and pictures can be shown."""

    def say(self, text: str) -> None:
        """Tell how it goes (never part of the answer)."""

    def text(self, text: str) -> None:
        """Show the answer."""

    def table(self, rows: Sequence[dict[str, Any]], empty: str) -> None:
        """Show rows, or `empty` when there are none."""

    def tables(self, tables: Sequence[Sequence[dict[str, Any]]]) -> None:
        """Show several tables, one below the other."""

    def events(self, model: str, events: Iterator[Event]) -> None:
        """Show a deploy while it happens."""

    def answer(self, collector: AnyCollector, items: Items, style: str) -> Result:
        """Show an answer while it comes (whatever it is: text, vectors, sound, pictures), and return it."""
        ...

    def ask_secret(self, prompt: str) -> str | None:
        """Return what the user types without showing it; None where nobody can be asked."""
        ...

    def watch(self, work: Any) -> AbstractContextManager[None]:
        """Show the progress of `work` while the block runs, where the face can."""
        ...

    def refresh(self, draw: Callable[[], None]) -> None:
        """Show again what `draw` shows, in place of the last time where that is possible."""
