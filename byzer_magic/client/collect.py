"""Collect the chunks of a response into its result: one collector per capability.

A collector is fed as the chunks arrive and can be read at any time, also after an error. Which one belongs to a
request is a field of its row in `byzer_magic.capabilities`.
"""

from __future__ import annotations

import copy
import time
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import msgspec

from byzer_magic import results, types
from byzer_magic.capabilities import TABLE, method_for, resolve
from byzer_magic.client import chat_merge
from byzer_magic.errors import ProviderUnavailable
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import wav
from byzer_magic.results import Result
from byzer_magic.results.metadata import Timings
from byzer_magic.results.pace import Pace
from byzer_magic.types import Dispatched, FromJournal, Progress, Routed, Usage, Waiting

RequestT = TypeVar("RequestT", bound=types.Request)
ResultT = TypeVar("ResultT", bound=Result, covariant=True)

DETAIL_CHARACTERS = 60
"""Characters of a transcript's end that are shown while it is arriving."""


class Complete(msgspec.Struct, frozen=True):
    """All of a response has arrived; what follows is only that it is paid for and written down."""


class Collector(ABC, Generic[RequestT, ResultT]):
    """The chunks of one response so far.

    A subclass provides `take`, `progress` and `result`; it gets the worker, the timings and the usage.
    """

    def __init__(self, model: str, request: RequestT) -> None:
        self.model = model
        self.request = request
        self._usage: Usage | None = None
        self._started = time.perf_counter()
        self._pace = Pace()
        self._dispatched: Dispatched | None = None
        self._routed: Routed | None = None
        self._journal: FromJournal | None = None
        self.complete = False
        """Whether all of the response has arrived."""
        self.waiting: Waiting | None = None
        """What the request waits for, while it is in the queue."""
        self.moment: float | None = None
        """Seconds after the request at which the next item came, where it was recorded; None: it comes now."""

    def start(self, *, ago: float = 0.0) -> None:
        """Start the clock: the request is being sent, or was sent so many seconds ago."""
        self._started = time.perf_counter() - ago

    def add(self, item: Any) -> None:
        """Take the next item: `Waiting` while the request is in the queue, then `Dispatched`, then chunks."""
        kind = type(item)
        if kind is Waiting:
            self.waiting = item
            return
        self.waiting = None
        if kind is Routed:
            self._routed = item
            return
        if kind is Complete:
            self.complete = True
            return
        if kind is FromJournal:
            self._journal = item
            return
        if kind is Dispatched:
            self._dispatched = item
            return
        self._pace.add(item, self.seconds)
        if (usage := getattr(item, "usage", None)) is not None:
            self._count(usage)
        self.take(item)

    @abstractmethod
    def take(self, chunk: Any) -> None:
        """Keep a chunk."""

    @abstractmethod
    def result(self, *, interrupted: bool = False) -> ResultT:
        """Return the result so far."""

    @property
    @abstractmethod
    def progress(self) -> Progress:
        """Return how much has arrived, as data: faces put it into words."""

    @property
    def seconds(self) -> float:
        """Return the seconds since the request was sent."""
        return time.perf_counter() - self._started if self.moment is None else self.moment

    @property
    def text(self) -> str:
        """Return the text so far; empty for an answer that has none."""
        return ""

    @property
    def usage(self) -> Usage | None:
        """Return the tokens so far, where they were reported."""
        return self._usage

    @property
    def timings(self) -> Timings:
        """Return when things have happened so far."""
        return self._timings(self._dispatched.queued if self._dispatched else 0.0)

    def _count(self, usage: Usage) -> None:
        """Add the usage of a chunk."""
        self._usage = usage if self._usage is None else self._usage + usage

    def _metadata(self, *, interrupted: bool) -> dict[str, Any]:
        """Return the fields that all results have."""
        return {
            "model": self.model,
            "served_by": self._routed.alias if self._routed else "",
            "skipped": self._routed.skipped if self._routed else [],
            "worker": self._dispatched.worker if self._dispatched else None,
            "request_id": self._dispatched.request_id if self._dispatched else "",
            "usage": self._usage,
            "timings": self.timings,
            "journal": self._journal,
            "interrupted": interrupted,
        }

    def _timings(self, queued: float) -> Timings:
        if (known := self._journal) is not None:  # of when the model was asked: those of reading it say nothing
            return Timings(known.first_token, known.total, queued, known.last_token, known.after_first)
        pace = self._pace
        if pace.first is None:
            return Timings(None, self.seconds, queued)
        return Timings(pace.first, self.seconds, queued, pace.last, pace.after_first)


AnyCollector = Collector[Any, Result]


class ChatCollector(Collector[types.ChatRequest, results.ChatResult]):
    """Text, reasoning and tool calls.

    Example:
        >>> collector = ChatCollector("gpt4o", types.ChatRequest(messages=[]))
        >>> for chunk in (types.ChatChunk("Hel"), types.ChatChunk("lo", finish="stop")):
        ...     collector.add(chunk)
        >>> collector.result().text
        'Hello'
    """

    def __init__(self, model: str, request: types.ChatRequest) -> None:
        super().__init__(model, request)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tools = chat_merge.ToolCalls()
        self._finish: str | None = None
        self._extra: dict[str, Any] = {}
        self._choices = chat_merge.Choices()

    def take(self, chunk: types.ChatChunk) -> None:
        self._text.append(chunk.text)
        self._reasoning.append(chunk.reasoning)
        self._finish = chunk.finish or self._finish
        for delta in chunk.tool_calls or []:
            self._tools.add(delta)
        if chunk.extra:
            for choice in chunk.extra.get("choices") or ():
                self._choices.add(choice)
            chat_merge.add_extra(self._extra, {k: v for k, v in chunk.extra.items() if k != "choices"})

    def _count(self, usage: Usage) -> None:
        self._usage = usage  # providers that count more than once send the total so far

    @property
    def progress(self) -> Progress:
        return Progress(len(self.text), None, "characters")

    @property
    def is_endless(self) -> bool:
        """Return whether a base model may go on until its context is full: it knows no end, and has no limit."""
        return types.ENDLESS.items() <= self._extra.items()

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """Return the reasoning so far."""
        return "".join(self._reasoning)

    def result(self, *, interrupted: bool = False) -> results.ChatResult:
        others = self._choices.result()
        return results.ChatResult(
            text=self.text,
            reasoning=self.reasoning,
            finish=self._finish,
            tool_calls=self._tools.result(),
            raw=copy.deepcopy(self._extra) | ({"choices": others} if others else {}),  # more may come
            **self._metadata(interrupted=interrupted),
        )


class EmbeddingCollector(Collector[types.EmbedRequest, results.EmbedResult]):
    """Embeddings, batch after batch."""

    def __init__(self, model: str, request: types.EmbedRequest) -> None:
        super().__init__(model, request)
        self._data: list[bytes] = []
        self._rows = 0
        self._dimensions = 0
        self._truncated: types.Truncation | None = None

    def take(self, chunk: types.EmbeddingBatch) -> None:
        if chunk.truncated:
            so_far = self._truncated.texts if self._truncated else []
            self._truncated = types.Truncation([*so_far, *chunk.truncated.texts], chunk.truncated.limit)
        if self._rows and chunk.rows:
            check_dimensions(self._dimensions, chunk.dimensions)
        self._data.append(chunk.data)
        self._rows += chunk.rows
        self._dimensions = chunk.dimensions

    @property
    def progress(self) -> Progress:
        return Progress(self._rows, len(self.request.texts), "texts")

    def result(self, *, interrupted: bool = False) -> results.EmbedResult:
        import numpy as np  # 70 ms, and only embeddings need it

        embeddings = np.frombuffer(b"".join(self._data), dtype="<f4").reshape(self._rows, self._dimensions)
        return results.EmbedResult(
            vectors=embeddings.copy(), truncated=self._truncated, **self._metadata(interrupted=interrupted)
        )


def check_dimensions(known: int, found: int) -> None:
    """Check that later embeddings of one call have as many dimensions as the first.

    Raises:
        ProviderUnavailable: they have not; behind one name may be several models.
    """
    if known != found:
        raise ProviderUnavailable(
            _("The embeddings have {first} dimensions at first, then {then}.", first=known, then=found),
            _("Check that only one model answers under this name."),
            final=True,
        )


class RankingCollector(Collector[types.RerankRequest, results.RerankResult]):
    """Documents in the order of their relevance."""

    def __init__(self, model: str, request: types.RerankRequest) -> None:
        super().__init__(model, request)
        self._order: list[tuple[int, float]] = []
        self._truncated: types.Truncation | None = None

    def take(self, chunk: types.Ranking) -> None:
        self._order += chunk.order
        self._truncated = chunk.truncated or self._truncated

    @property
    def progress(self) -> Progress:
        return Progress(len(self._order), len(self.request.documents), "documents")

    def result(self, *, interrupted: bool = False) -> results.RerankResult:
        return results.RerankResult(
            order=[*self._order],
            documents=[self.request.documents[index] for index, _ in self._order],
            truncated=self._truncated,
            **self._metadata(interrupted=interrupted),
        )


class TranscriptCollector(Collector[types.TranscribeRequest, results.TranscribeResult]):
    """A transcript with its segments."""

    def __init__(self, model: str, request: types.TranscribeRequest) -> None:
        super().__init__(model, request)
        self._text: list[str] = []
        self._segments: list[types.Segment] = []
        self._language: str | None = None
        self._duration: float | None = None
        self._raw: dict[str, Any] = {}

    def take(self, chunk: types.TranscriptChunk) -> None:
        self._text.append(chunk.text)
        self._segments += chunk.segments or []
        self._language = chunk.language if chunk.language is not None else self._language
        self._duration = chunk.duration if chunk.duration is not None else self._duration
        self._raw |= chunk.extra or {}

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self._text)

    @property
    def progress(self) -> Progress:
        text = self.text
        return Progress(len(text), None, "segments", text[-DETAIL_CHARACTERS:])

    def result(self, *, interrupted: bool = False) -> results.TranscribeResult:
        return results.TranscribeResult(
            text=self.text,
            segments=[*self._segments] or None,
            language=self._language,
            duration=self._duration,
            audio=self.request.audio,
            raw={**self._raw},
            **self._metadata(interrupted=interrupted),
        )


class AudioCollector(Collector[types.SpeakRequest, results.SpeakResult]):
    """Generated speech, as one file."""

    def __init__(self, model: str, request: types.SpeakRequest) -> None:
        super().__init__(model, request)
        self._data = bytearray()
        self._mime = ""

    def take(self, chunk: types.AudioChunk) -> None:
        self._data += chunk.data
        self._mime = self._mime or chunk.mime

    @property
    def progress(self) -> Progress:
        return Progress(len(self._data), None, "bytes")

    def result(self, *, interrupted: bool = False) -> results.SpeakResult:
        return results.SpeakResult(
            data=wav.with_length(bytes(self._data)),
            mime=self._mime,
            text=self.request.text,
            options=self.request.options,
            **self._metadata(interrupted=interrupted),
        )


class ImageCollector(Collector[types.ImageRequest, results.ImageResult]):
    """Generated images."""

    def __init__(self, model: str, request: types.ImageRequest) -> None:
        super().__init__(model, request)
        self._images: list[types.ImageItem] = []

    def take(self, chunk: types.ImageItem) -> None:
        self._images.append(chunk)

    @property
    def progress(self) -> Progress:
        return Progress(len(self._images), None, "images")

    def result(self, *, interrupted: bool = False) -> results.ImageResult:
        return results.ImageResult(
            pictures=[*self._images],
            prompt=self.request.prompt,
            options=self.request.options,
            **self._metadata(interrupted=interrupted),
        )


def collector_for(model: str, request: types.Request) -> AnyCollector:
    """Return an empty collector for the response to `request`."""
    found: AnyCollector = resolve(TABLE[method_for(request)].collector)(model, request)
    return found
