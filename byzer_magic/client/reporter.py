"""Where a manager reports while it works."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a user decides while a request waits."""

    text: str
    choices: tuple[str, ...]
    """What can be clicked; the last one stops the request."""
    typed: str
    """What is asked after the text where the answer is typed."""


class Reporter(Protocol):
    """The part of a face's `Output` that a manager needs."""

    def say(self, text: str, /) -> None:
        """Show a line about what is happening."""

    def watch(self, work: Any, /) -> AbstractContextManager[None]:
        """Show the progress of `work` while the block runs."""
        ...

    def ask(self, question: Question, /) -> str | None:
        """Return the choice, or what was typed; None where nobody can be asked."""
        ...


class Silent:
    """Reports nothing."""

    def say(self, text: str, /) -> None:
        """Drop the line."""

    def watch(self, _work: Any, /) -> AbstractContextManager[None]:
        """Show nothing."""
        return contextlib.nullcontext()

    def ask(self, _question: Question, /) -> None:
        """Ask nobody."""
