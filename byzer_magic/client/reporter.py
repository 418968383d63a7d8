"""Where a manager reports while it works."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Reporter(Protocol):
    """The part of a face's `Output` that a manager needs."""

    def say(self, text: str, /) -> None:
        """Show a line about what is happening."""

    def watch(self, work: Any, /) -> AbstractContextManager[None]:
        """Show the progress of `work` while the block runs."""
        ...


class Silent:
    """Reports nothing."""

    def say(self, text: str, /) -> None:
        """Drop the line."""

    def watch(self, _work: Any, /) -> AbstractContextManager[None]:
        """Show nothing."""
        return contextlib.nullcontext()
