"""The recordings in a tape, found by what was asked; only where they are is kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from byzer_magic.journal import tape
from byzer_magic.journal.entry import COMPLETE, FAILED, Entry
from byzer_magic.journal.shared import Answers
from byzer_magic.journal.tape import Mark

_RANK = {FAILED: 1, COMPLETE: 2}
"""A complete answer goes before an error, and both before a part of an answer."""


class Recordings(Answers):
    """The entries of one tape.

    Args:
        path: a file that `journal export` has written.

    Raises:
        JournalError: it cannot be read, or a line is not an entry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._best: dict[str, Mark] = {}
        self._methods: dict[str, set[str]] = {}
        self._models: dict[str, tuple[str, str]] = {}
        for mark in tape.marks(path):
            self._methods.setdefault(mark.alias, set()).add(mark.method)
            self._models[mark.alias] = mark.provider, mark.title
            known = self._best.get(mark.asked)
            if known is None or _rank(mark) >= _rank(known):  # of equal ones the last one
                self._best[mark.asked] = mark

    def __len__(self) -> int:
        return len(self._best)

    def find(self, asked: str, /) -> Entry | None:
        """Return the recording of a request: the last complete answer, else the last error; None where there is none.

        Args:
            asked: see `Entry.asked`.

        Raises:
            JournalError: the tape cannot be read any more.
        """
        mark = self._best.get(asked)
        return None if mark is None else self._entry(mark)

    def _entry(self, mark: Mark) -> Entry:
        """Return what is marked, from the file as it is now."""
        found = tape.entry_at(self.path, mark.start)
        if found.asked != mark.asked:
            raise tape.changed(self.path)
        return found

    def has(self, asked: Sequence[str]) -> set[str]:
        """Return those of several requests that have a complete answer."""
        return {each for each in asked if (mark := self._best.get(each)) and mark.status == COMPLETE}

    @property
    def aliases(self) -> list[str]:
        """Return what was asked, sorted."""
        return sorted(self._methods)

    def methods(self, alias: str) -> set[str]:
        """Return the capabilities that were used of an alias; none for one that was not asked."""
        return self._methods.get(alias, set())

    def model(self, alias: str) -> tuple[str, str]:
        """Return the provider and the model's name of an alias, as last recorded; empty texts where that is unknown."""
        return self._models.get(alias, ("", ""))

    def like(self, alias: str, method: str, most: int) -> Iterator[Entry]:
        """Yield the last recordings that a request may have been meant to be: of its alias and capability, or of one.

        Args:
            alias: what is asked.
            method: the capability.
            most: at most so many.

        Raises:
            JournalError: the tape cannot be read any more.
        """
        near = sorted(self._best.values(), key=lambda mark: (mark.method == method, mark.alias == alias, mark.start))
        for mark in reversed(near[-most:]):
            yield self._entry(mark)


def _rank(mark: Mark) -> tuple[int, bool]:
    """Return how well a recording stands for its request; those without a key are of windows and other programs."""
    return _RANK.get(mark.status, 0), bool(mark.key)
