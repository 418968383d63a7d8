"""Embed any number of texts: a long list is sent in parts, with one progress for all of them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from byzer_magic.client import arguments
from byzer_magic.client.collect import check_dimensions
from byzer_magic.client.converse import Asked, Exchange
from byzer_magic.i18n import lazy_gettext as _, listed, localized
from byzer_magic.results import EmbedResult, RerankResult
from byzer_magic.types import EmbedRequest, Progress

if TYPE_CHECKING:
    import numpy as np

R = TypeVar("R", EmbedResult, RerankResult)
TEXTS_AT_ONCE = 2048
"""A longer list of texts goes to the pool in parts of this size."""
CHARACTERS_AT_ONCE = 2_000_000
"""So do texts that are longer together; one that is longer by itself is a part of its own."""


class Embedding:
    """One `embed` call.

    Args:
        asked: the manager of the deployment.
        model: its alias.
        texts: a text, or any sequence of texts.
        options: OpenAI's request fields.
        timeout: seconds that each part may take.
    """

    def __init__(self, asked: Asked, model: str, texts: Any, options: dict[str, Any], timeout: float | None) -> None:
        self.model = model
        self._asked = asked
        self._texts = texts
        self._options = options
        self._timeout = timeout
        self._total = 0
        self._finished = 0
        """Texts of the parts that are complete."""
        self._current: Exchange | None = None
        self._started = time.monotonic()

    @property
    def progress(self) -> Progress:
        """Return how many texts are done."""
        arrived = self._current.collector.progress.done if self._current else 0
        return Progress(self._finished + arrived, self._total, "texts")

    @property
    def seconds(self) -> float:
        """Return the seconds since the call."""
        return time.monotonic() - self._started

    async def run(self) -> np.ndarray[Any, Any]:
        """Return the embeddings as float32: (dimensions,) for one text, (texts, dimensions) for a sequence.

        Raises:
            CommandError: an item is not a text.
            RequestError: the model failed.
        """
        import numpy as np  # 70 ms, and only embeddings need it

        single = arguments.is_one_text(self._texts)
        rows = [arguments.text(self._texts, "texts")] if single else arguments.texts(self._texts)
        self._total = len(rows)
        parts = []
        for start, end in _parts(rows):
            part = rows[start:end]
            request = EmbedRequest(texts=part, options=self._options, timeout=self._timeout)
            self._finished, self._current = start, Exchange(self._asked, self.model, request)
            result = warn_truncated(cast("EmbedResult", await self._current.run()), start)
            parts.append(result.vectors)
            check_dimensions(parts[0].shape[1], result.vectors.shape[1])
        embeddings = np.concatenate(parts) if parts else np.zeros((0, 0), dtype="<f4")
        return cast("np.ndarray[Any, Any]", embeddings[0] if single else embeddings)


def _parts(texts: list[str]) -> Iterator[tuple[int, int]]:
    """Yield where each part starts and ends."""
    start = characters = 0
    for index, text in enumerate(texts):
        characters += len(text)
        if index > start and (index - start == TEXTS_AT_ONCE or characters > CHARACTERS_AT_ONCE):
            yield start, index
            start, characters = index, len(text)
    if texts:
        yield start, len(texts)


def warn_truncated(result: R, start: int = 0) -> R:
    """Return a result, after a warning when texts were truncated; `start` is the index of the first one."""
    if result.truncated:
        indexes = listed(str(start + index) for index in result.truncated.texts[:5])
        limit = result.truncated.limit
        text = _("Texts truncated at {limit} tokens, by index: {indexes}", limit=limit, indexes=indexes)
        warnings.warn(str(localized(text)), stacklevel=3)
    return result
