"""From the items of an answer to the whole, for every capability."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Generic, TypeVar

from byzer_magic import errors, results, types
from byzer_magic.client.answer import ChatCollector
from byzer_magic.rendering import assets
from byzer_magic.rendering.media.base import measured, size
from byzer_magic.results import Result
from byzer_magic.results.metadata import Timings
from byzer_magic.types import Dispatched, Usage

R = TypeVar("R")


class Collector(ABC, Generic[R]):
    """The items of one answer so far; can be read at any time, also after an error."""

    def __init__(self, model: str, request: R) -> None:
        self.model = model
        self.request = request
        self.usage: Usage | None = None
        self._started = time.perf_counter()
        self._first: float | None = None
        self._sent: Dispatched | None = None

    def add(self, item: Any) -> None:
        """Take the next item."""
        if isinstance(item, Dispatched):
            self._sent = item
            return
        if self._first is None:
            self._first = time.perf_counter() - self._started
        if (usage := getattr(item, "usage", None)) is not None:
            self.usage = usage if self.usage is None else self.usage + usage
        self.take(item)

    @abstractmethod
    def take(self, item: Any) -> None:
        """Keep an item."""

    @abstractmethod
    def result(self, *, interrupted: bool = False) -> Result:
        """Return what has arrived."""

    @abstractmethod
    def progress(self, *, chinese: bool) -> str:
        """Return how far it is, in a few words."""

    @property
    def fraction(self) -> float | None:
        """Return how much of it is done, 0..1, where that is known."""
        return None

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return time.perf_counter() - self._started

    def made(self, *, interrupted: bool) -> dict[str, Any]:
        """Return the fields that all results have."""
        queued = self._sent.queued if self._sent else 0.0
        return {
            "model": self.model,
            "worker": self._sent.worker if self._sent else None,
            "usage": self.usage,
            "timings": Timings(self._first, self.seconds, queued),
            "interrupted": interrupted,
        }


class EmbeddingCollector(Collector[types.EmbedRequest]):
    """EmbeddingBatch, batch after batch."""

    _rows = 0
    _dimensions = 0

    def __init__(self, model: str, request: types.EmbedRequest) -> None:
        super().__init__(model, request)
        self._parts: list[bytes] = []
        self._cut: types.Truncation | None = None

    def take(self, item: types.EmbeddingBatch) -> None:
        if item.truncated:
            so_far = self._cut.texts if self._cut else []
            self._cut = types.Truncation([*so_far, *item.truncated.texts], item.truncated.limit)
        self._parts.append(item.data)
        self._rows += item.rows
        self._dimensions = item.dimensions

    def progress(self, *, chinese: bool) -> str:
        words = assets.texts("progress", chinese=chinese)
        return words["texts"].format(done=f"{self._rows:,}", count=f"{len(self.request.texts):,}")

    @property
    def rows(self) -> int:
        """Return how many vectors have come."""
        return self._rows

    @property
    def fraction(self) -> float | None:
        return self._rows / len(self.request.texts) if self.request.texts else None

    def result(self, *, interrupted: bool = False) -> results.EmbedResult:
        import numpy as np  # 70 ms, and only vectors need it

        vectors = np.frombuffer(b"".join(self._parts), dtype="<f4").reshape(self._rows, self._dimensions)
        return results.EmbedResult(vectors=vectors.copy(), truncated=self._cut, **self.made(interrupted=interrupted))


class RankingCollector(Collector[types.RerankRequest]):
    """Documents in their new order."""

    def __init__(self, model: str, request: types.RerankRequest) -> None:
        super().__init__(model, request)
        self._order: list[tuple[int, float]] = []
        self._cut: types.Truncation | None = None

    def take(self, item: types.Ranking) -> None:
        self._order += item.order
        self._cut = item.truncated or self._cut

    def progress(self, *, chinese: bool) -> str:
        words = assets.texts("progress", chinese=chinese)
        return words["documents"].format(count=len(self.request.documents))

    def result(self, *, interrupted: bool = False) -> results.RerankResult:
        documents = [self.request.documents[index] for index, _ in self._order]
        made = self.made(interrupted=interrupted)
        return results.RerankResult(order=[*self._order], documents=documents, truncated=self._cut, **made)


class TranscriptCollector(Collector[types.TranscribeRequest]):
    """A transcript."""

    def __init__(self, model: str, request: types.TranscribeRequest) -> None:
        super().__init__(model, request)
        self._text: list[str] = []
        self._segments: list[types.Segment] = []
        self._facts: dict[str, Any] = {}
        self._raw: dict[str, Any] = {}

    def take(self, item: types.TranscriptChunk) -> None:
        self._text.append(item.text)
        self._segments += item.segments or []
        known = {"language": item.language, "duration": item.duration}
        self._facts |= {name: value for name, value in known.items() if value is not None}
        self._raw |= item.extra or {}

    def progress(self, *, chinese: bool) -> str:
        return "".join(self._text)[-60:] or assets.texts("progress", chinese=chinese)["listening"]

    def result(self, *, interrupted: bool = False) -> results.TranscribeResult:
        return results.TranscribeResult(
            text="".join(self._text),
            segments=[*self._segments] or None,
            audio=self.request.audio,
            raw={**self._raw},
            **self._facts,
            **self.made(interrupted=interrupted),
        )


class AudioCollector(Collector[types.SpeakRequest]):
    """A sound."""

    _mime = ""

    def __init__(self, model: str, request: types.SpeakRequest) -> None:
        super().__init__(model, request)
        self._data = bytearray()

    def take(self, item: types.AudioChunk) -> None:
        self._data += item.data
        self._mime = item.mime

    def progress(self, *, chinese: bool) -> str:
        words = assets.texts("progress", chinese=chinese)
        return words["spoken"].format(size=size(len(self._data))) if self._data else words["speaking"]

    def result(self, *, interrupted: bool = False) -> results.SpeakResult:
        return results.SpeakResult(
            data=measured(bytes(self._data)),
            mime=self._mime,
            text=self.request.text,
            options=self.request.options,
            **self.made(interrupted=interrupted),
        )


class ImageCollector(Collector[types.ImageRequest]):
    """Pictures."""

    def __init__(self, model: str, request: types.ImageRequest) -> None:
        super().__init__(model, request)
        self._pictures: list[types.ImageItem] = []

    def take(self, item: types.ImageItem) -> None:
        self._pictures.append(item)

    def progress(self, *, chinese: bool) -> str:
        words = assets.texts("progress", chinese=chinese)
        return words["drawn"].format(count=len(self._pictures)) if self._pictures else words["drawing"]

    def result(self, *, interrupted: bool = False) -> results.ImageResult:
        asked = self.made(interrupted=interrupted) | {"prompt": self.request.prompt, "options": self.request.options}
        return results.ImageResult(pictures=[*self._pictures], **asked)


AnyCollector = (
    ChatCollector | EmbeddingCollector | RankingCollector | TranscriptCollector | AudioCollector | ImageCollector
)

_COLLECTORS: dict[type, Callable[[str, Any], AnyCollector]] = {
    types.ChatRequest: lambda model, _: ChatCollector(model),
    types.EmbedRequest: EmbeddingCollector,
    types.RerankRequest: RankingCollector,
    types.TranscribeRequest: TranscriptCollector,
    types.SpeakRequest: AudioCollector,
    types.ImageRequest: ImageCollector,
}


def collector_for(model: str, request: types.Request) -> AnyCollector:
    """Return what collects the answer to `request`."""
    return _COLLECTORS[type(request)](model, request)


def collect(collector: AnyCollector, items: Iterator[Any], show: Callable[[Any], None]) -> Result:
    """Drain an answer, calling `show` after each item; an interrupt ends it early and marks the result.

    Raises:
        RequestError: it failed; its `partial` is what had arrived.
    """
    with closing(items) as open_items:  # type: ignore[type-var]  # LOOP.iterate's generators
        try:
            for item in open_items:
                collector.add(item)
                show(item)
        except KeyboardInterrupt:
            return collector.result(interrupted=True)
        except errors.RequestError as err:
            err.partial = collector.result(interrupted=True)
            raise
    return collector.result()
