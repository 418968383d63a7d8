"""A deployed model as a Python object: `bz.model("alias").chat("hi").text`."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from byzer_magic import errors, media
from byzer_magic.client import requests
from byzer_magic.client.collect import AnyCollector, collector_for
from byzer_magic.client.manager import Manager
from byzer_magic.client.requests import to_messages
from byzer_magic.results import (
    EmbedResult,
    ImageResult,
    RerankResult,
    Result,
    SpeakResult,
    TranscribeResult,
)
from byzer_magic.runtime.loop import LOOP
from byzer_magic.stat import ModelStat
from byzer_magic.types import (
    ChatChunk,
    EmbedRequest,
    ImageRequest,
    Media,
    Progress,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

if TYPE_CHECKING:
    import numpy as np

R = TypeVar("R", EmbedResult, RerankResult)
TEXTS_AT_ONCE = 2048
"""A longer list of texts goes to the pool in parts of this size."""


class EmbeddingProgress:
    """How many texts of a large `embed` call have their embeddings; each part of it is a request of its own."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.total = 0
        self.finished = 0
        """Texts of the parts that are complete."""
        self.current: AnyCollector | None = None
        self._started = time.monotonic()

    @property
    def progress(self) -> Progress:
        """Return how many texts are done."""
        return Progress(self.finished + (self.current.progress.done if self.current else 0), self.total, "texts")

    @property
    def seconds(self) -> float:
        """Return the seconds since the call."""
        return time.monotonic() - self._started


class Model:
    """A handle on an alias; cheap to make, safe to share between threads and event loops."""

    def __init__(self, alias: str, manager: Manager) -> None:
        self.alias = alias
        self._manager = manager

    def __repr__(self) -> str:
        return f"Model({self.alias!r})"

    # ---- chat

    def chat(
        self,
        prompt: Any,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Return the whole answer to a prompt (text, or messages in OpenAI form).

        A model that is for something else does that: one for speech speaks the prompt, and so on.

        Args:
            prompt: the text, or a list of ``{"role": ..., "content": ...}``.
            system: a system prompt put in front.
            image: a picture to go with the prompt, or a list of them: path, URL, bytes, PIL image, figure.
            audio: a sound to go with it: path, bytes, audio widget.
            timeout: seconds until the whole answer must be there.
            options: OpenAI's request fields, e.g. ``temperature=0.2``, ``max_tokens=100``.

        Returns:
            A ChatResult; of models that do not chat, the result of what they do.

        Raises:
            NotDeployed: nothing runs under the alias.
            RequestError: no whole answer came.
        """
        self._manager.reach(self.alias)
        return self._manager.run(self._chat(prompt, system, _media(image, audio), timeout, options))

    def stream(
        self,
        prompt: Any,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[ChatChunk]:
        """Yield the answer's deltas; breaking out of the loop stops the model. Arguments as in `chat`."""
        self._manager.reach(self.alias)
        return self._manager.iterate(self._deltas(prompt, system, _media(image, audio), timeout, options))

    async def achat(
        self,
        prompt: Any,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Like `chat`, for asyncio."""
        await self._areach()
        return await LOOP.adopt(self._chat(prompt, system, _media(image, audio), timeout, options))

    def astream(
        self,
        prompt: Any,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[ChatChunk]:
        """Like `stream`, for asyncio."""
        self._manager.reach(self.alias)
        return LOOP.adopt_iterate(self._deltas(prompt, system, _media(image, audio), timeout, options))

    # ---- the other capabilities

    def embed(self, texts: Any, *, timeout: float | None = None, **options: Any) -> np.ndarray[Any, Any]:
        """Return vectors as float32: of one text its vector, of many (a list, a pandas Series) one row each, in order.

        Args:
            texts: a text, or any sequence of texts.
            timeout: seconds until all vectors must be there.
            options: e.g. ``dimensions=256``.

        Raises:
            CommandError: something among them is no text; its place is named.
            RequestError: the model failed.
        """
        self._manager.reach(self.alias)
        work = EmbeddingProgress(self.alias)
        with self._manager.reporter.watch(work):
            return cast("np.ndarray[Any, Any]", self._manager.run(self._embed(texts, timeout, options, work)))

    async def aembed(self, texts: Any, *, timeout: float | None = None, **options: Any) -> np.ndarray[Any, Any]:
        """Like `embed`, for asyncio."""
        await self._areach()
        return cast(
            "np.ndarray[Any, Any]",
            await LOOP.adopt(self._embed(texts, timeout, options, EmbeddingProgress(self.alias))),
        )

    def rerank(
        self, query: str, documents: Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> RerankResult:
        """Return the documents in the order of their relevance to `query`, with scores; ``top_n=3`` keeps the best."""
        request = RerankRequest(query=query, documents=_texts(documents), options=options, timeout=timeout)
        return _warned(cast("RerankResult", self.ask(request)))

    def transcribe(self, audio: Any, *, timeout: float | None = None, **options: Any) -> TranscribeResult:
        """Return what is said in a sound: a path, bytes, an audio widget, or (samples, rate).

        Args:
            audio: the sound.
            timeout: seconds until the transcript must be there.
            options: e.g. ``language="zh"``, ``prompt="names: ..."``, ``response_format="verbose_json"`` for segments.
        """
        request = TranscribeRequest(audio=media.audio(audio), options=options, timeout=timeout)
        return cast("TranscribeResult", self.ask(request))

    def speak(self, text: str, *, timeout: float | None = None, **options: Any) -> SpeakResult:
        """Return a text as sound, which a notebook plays; e.g. ``voice="nova", response_format="wav", speed=1.1``."""
        return cast("SpeakResult", self.ask(SpeakRequest(text=text, options=options, timeout=timeout)))

    def image(self, prompt: str, *, images: Any = None, timeout: float | None = None, **options: Any) -> ImageResult:
        """Return pictures of a prompt, or changed ones of `images`; e.g. ``size="1024x1024", quality="hd", n=2``."""
        request = ImageRequest(prompt=prompt, images=_media(images, None), options=options, timeout=timeout)
        return cast("ImageResult", self.ask(request))

    # ---- any request

    def ask(self, request: Request) -> Result:
        """Return the whole answer to a request of `byzer_magic.types`."""
        self._manager.reach(self.alias)
        collector = collector_for(self.alias, request)
        with self._manager.reporter.watch(collector):
            return self._manager.run(self._collect(request, collector))

    async def aask(self, request: Request) -> Result:
        """Like `ask`, for asyncio."""
        await self._areach()
        return await LOOP.adopt(self._collect(request))

    def stat(self) -> ModelStat:
        """Return the deployment's counters."""
        self._manager.reach(self.alias)
        return self._manager.run(self._manager.stat(self.alias))

    async def _areach(self) -> None:
        if not self._manager.connected:  # it may have to connect, which blocks
            await asyncio.to_thread(self._manager.reach, self.alias)

    async def _chat(
        self, prompt: Any, system: str | None, found: list[Media], timeout: float | None, options: dict[str, Any]
    ) -> Result:
        capabilities = await self._manager.capabilities(self.alias)
        messages = to_messages(prompt, system, found)
        return await self._collect(requests.request_for(capabilities, messages, options, stream=False, timeout=timeout))

    async def _deltas(
        self, prompt: Any, system: str | None, found: list[Media], timeout: float | None, options: dict[str, Any]
    ) -> AsyncIterator[ChatChunk]:
        request = requests.chat_request(to_messages(prompt, system, found), options, stream=True, timeout=timeout)
        async for item in self._manager.ask(self.alias, request):
            if isinstance(item, ChatChunk):
                yield item

    async def _collect(self, request: Request, collector: AnyCollector | None = None) -> Result:
        collector = collector or collector_for(self.alias, request)
        async for item in self._manager.ask(self.alias, request):
            collector.add(item)
        return collector.result()

    async def _embed(self, texts: Any, timeout: float | None, options: dict[str, Any], work: EmbeddingProgress) -> Any:
        import numpy as np  # 70 ms, and only vectors need it

        rows = _texts([texts] if isinstance(texts, str) else texts)
        work.total = len(rows)
        parts = []
        for start in range(0, len(rows), TEXTS_AT_ONCE):
            request = EmbedRequest(texts=rows[start : start + TEXTS_AT_ONCE], options=options, timeout=timeout)
            work.finished, work.current = start, collector_for(self.alias, request)
            result = _warned(cast("EmbedResult", await self._collect(request, work.current)), start)
            parts.append(result.vectors)
        vectors = np.concatenate(parts) if parts else np.zeros((0, 0), dtype="<f4")
        return vectors[0] if isinstance(texts, str) else vectors


def _media(image: Any, audio: Any) -> list[Media]:
    several = isinstance(image, list | tuple)
    pictures = [] if image is None else [media.image(item) for item in (image if several else [image])]
    return [*pictures, *([] if audio is None else [media.audio(audio)])]


def _warned(result: R, start: int = 0) -> R:
    """Return a result, after a warning when the model has read only the beginning of some texts."""
    if result.truncated:
        told = ", ".join(str(start + place) for place in result.truncated.texts[:5])
        warnings.warn(f"Texts cut at {result.truncated.limit} tokens, by their place: {told}", stacklevel=3)
    return result


def _texts(texts: Any) -> list[str]:
    """Return a sequence of texts as a list.

    Raises:
        CommandError: something among them is no text.
    """
    found = list(texts)
    for place, text in enumerate(found):
        if not isinstance(text, str):
            raise errors.CommandError(
                f"Text {place} of {len(found)} is {text!r}, a {type(text).__name__}.",
                "Give texts only; of a pandas Series, first call .fillna('') or .astype(str).",
            )
    return found
