"""Where the requests of this process come from, and how often each was made there."""

from __future__ import annotations

import hashlib
from collections import Counter

from byzer_magic.journal.entry import Origin

MOST_COUNTED = 100_000
"""Different requests of a cell or process that are counted; with more, the count begins again."""


class Scope:
    """Where the requests of this process come from, and how often each was made there."""

    def __init__(self) -> None:
        self.origin = Origin("python")
        self._times: Counter[bytes] = Counter()

    def begin(self, origin: Origin) -> None:
        """Begin a cell, or a command: its requests are counted from 0."""
        self.origin = origin
        self._times.clear()

    def next_sample(self, alias: str, request: bytes, *, count: bool = True) -> int:
        """Return how often a request was made before in this scope, and count it."""
        key = hashlib.sha256(alias.encode() + b"\0" + request).digest()
        if not count:
            return self._times[key]
        if len(self._times) >= MOST_COUNTED:
            self._times.clear()
        self._times[key] += 1
        return self._times[key] - 1


SCOPE = Scope()
"""Of this process: a kernel runs one cell at a time."""
