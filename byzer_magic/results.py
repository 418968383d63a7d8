"""What people hold after a request: whole answers, with ways to save and to show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic.types import Usage

if TYPE_CHECKING:
    import numpy as np


class Timings(msgspec.Struct, frozen=True):
    """When things happened to one request, in seconds since it was sent."""

    first_token: float | None = None
    total: float = 0.0
    queued: float = 0.0
    """Time spent waiting for a free slot, measured in the pool."""


class ChatResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer (or, when `interrupted`, the part of it that arrived)."""

    text: str
    model: str
    worker: int | None = None
    reasoning: str = ""
    finish: str | None = None
    usage: Usage | None = None
    timings: Timings = Timings()
    tool_calls: list[dict[str, Any]] | None = None
    interrupted: bool = False
    raw: dict[str, Any] = {}

    @property
    def output(self) -> str:
        """Return the text, under the name that byzer-llm's notebooks use."""
        return self.text

    @property
    def tokens_per_second(self) -> float | None:
        """Return the speed after the first token, or None when it cannot be known."""
        if self.usage is None or self.timings.first_token is None:
            return None
        seconds = self.timings.total - self.timings.first_token
        tokens = self.usage.completion_tokens - 1
        return tokens / seconds if tokens > 0 and seconds > 0 else None

    def __str__(self) -> str:
        return self.text


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """A result that is a file."""

    model: str
    worker: int | None = None
    timings: Timings = Timings()
    interrupted: bool = False


class EmbedResult(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, one row per text, in the order of the texts."""

    vectors: Any
    """A numpy array of float32, texts x dimensions."""
    model: str
    worker: int | None = None
    usage: Usage | None = None
    timings: Timings = Timings()
    interrupted: bool = False

    @property
    def output(self) -> str:
        """Return the vectors as JSON: a list of lists of numbers."""
        return json.dumps(self.vectors.tolist())

    def save(self, path: str | Path) -> Path:
        """Write the vectors as JSON, or as numpy's own format for a name that ends in .npy; return the path."""
        path = Path(path).expanduser()
        if path.suffix == ".npy":
            import numpy as np

            np.save(path, self.vectors)
        else:
            path.write_text(self.output, encoding="utf-8")
        return path

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:  # noqa: FBT001 - numpy's
        return self.vectors if dtype is None else self.vectors.astype(dtype)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return len(self.vectors)

    def __repr__(self) -> str:
        return f"EmbedResult({len(self)} x {self.vectors.shape[1]}, {self.model})"
