"""The runtime of an imaginary model format: a .acme file is JSON with the words that every answer begins with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


class Model:
    """A loaded model."""

    def __init__(self, path: str, context: int) -> None:
        self._greeting = json.loads(Path(path).read_text(encoding="utf-8"))["greeting"]
        self._context = context

    def generate(self, prompt: str) -> Iterator[str]:
        """Yield the answer's words; a prompt is truncated to the context."""
        words = prompt.split()[-self._context :]
        yield self._greeting
        for word in words:
            yield f" {word}"
