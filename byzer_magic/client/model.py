"""A deployed model as a Python object: `bz.model("alias").chat("hi").text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

from byzer_magic import media
from byzer_magic.capabilities import resolve
from byzer_magic.client import arguments, predicting
from byzer_magic.client.chatting import Chatting, attachments
from byzer_magic.client.connection import Connection
from byzer_magic.client.converse import Exchange
from byzer_magic.client.embedding import Embedding, warn_truncated
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import WhatIfSpec
from byzer_magic.config import Settings
from byzer_magic.results import (
    ChatResult,
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
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

if TYPE_CHECKING:
    import numpy as np

    from byzer_magic.routing.what_if import WhatIf


MAP = "byzer_magic.data.frames:map_rows"
"""Asks about the rows of a table; it belongs to a layer above, which only tables need."""


class Model(Chatting):
    """A deployed model; cheap to create, safe to share between threads and event loops.

    Every method raises `NotDeployed` when nothing is deployed as its alias, and `RequestError` (such as `Overloaded`,
    `DeadlineExceeded`, `ProviderError`) when the response is incomplete; the error's `partial` holds what was received.

    Example:
        >>> import byzer_magic as bz
        >>> bz.model("gpt4o_chat").chat("Why is the sky blue?").text
        '...sky...'
    """

    def __repr__(self) -> str:
        return f"Model({self.alias!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        connection = self.manager.connection
        return _copy, (self.alias, connection.settings_elsewhere(self.manager.settings), connection)

    # ---- the other capabilities

    def embed(self, texts: Any, *, timeout: float | None = None, **options: Any) -> np.ndarray[Any, Any]:
        """Return embeddings as float32.

        Args:
            texts: a text, or any sequence of texts (a list, a pandas Series).
            timeout: deadline for all embeddings, in seconds.
            options: e.g. ``dimensions=256``.

        Returns:
            An array of shape (dimensions,) for one text, or (texts, dimensions) for a sequence, in input order.

        Raises:
            CommandError: an item is not a text; its index is named.
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.

        Example:
            >>> bz.model("bge").embed(["one text", "another"]).shape
            (2, ...)
        """
        self.manager.reach(self.alias)
        work = Embedding(self.manager, self.alias, texts, options, timeout)
        with self.manager.reporter.watch(work):
            return self.manager.run(work.run())

    async def aembed(self, texts: Any, *, timeout: float | None = None, **options: Any) -> np.ndarray[Any, Any]:
        """Like `embed`, for asyncio.

        Example:
            >>> import asyncio
            >>> asyncio.run(bz.model("bge").aembed("one text")).ndim
            1
        """
        await self._areach()
        return await LOOP.adopt(Embedding(self.manager, self.alias, texts, options, timeout).run())

    def rerank(
        self, query: str, documents: Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> RerankResult:
        """Return documents in the order of their relevance to a query, with scores.

        Args:
            query: the text to which the documents should be relevant.
            documents: a sequence of texts.
            timeout: deadline for the result, in seconds.
            options: e.g. ``top_n=3`` to get the best three only.

        Raises:
            CommandError: a document is not a text; its index is named.
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.

        Example:
            >>> result = bz.model("reranker").rerank("sky", ["grass is green", "the sky is blue"], top_n=1)
            >>> len(result.documents)
            1
        """
        texts = arguments.texts(documents, "documents")
        request = RerankRequest(query=query, documents=texts, options=options, timeout=timeout)
        return warn_truncated(self.ask(request))

    def transcribe(self, audio: Any, *, timeout: float | None = None, **options: Any) -> TranscribeResult:
        """Return the transcript of audio.

        Args:
            audio: a path, bytes, an audio widget, or ``(samples, rate)`` with the rate in Hz.
            timeout: deadline for the complete transcript, in seconds.
            options: e.g. ``language="zh"``, ``prompt="names: ..."``, ``response_format="verbose_json"`` for segments.

        Raises:
            CommandError: `audio` is not audio.
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.

        Example:
            >>> bz.model("whisper").transcribe("talk.m4a").text
            '...'
        """
        return self.ask(TranscribeRequest(audio=media.audio(audio), options=options, timeout=timeout))

    def speak(self, text: str, *, timeout: float | None = None, **options: Any) -> SpeakResult:
        """Return a text as audio, which a notebook plays.

        Args:
            text: what to speak.
            timeout: deadline for the complete audio, in seconds.
            options: e.g. ``voice="nova"``, ``response_format="wav"``, ``speed=1.1``.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.

        Example:
            >>> bz.model("tts").speak("Good morning.", voice="nova").save("morning.mp3")
            PosixPath('morning.mp3')
        """
        return self.ask(SpeakRequest(text=text, options=options, timeout=timeout))

    def image(self, prompt: str, *, images: Any = None, timeout: float | None = None, **options: Any) -> ImageResult:
        """Return generated images, which a notebook shows.

        Args:
            prompt: a description of the images.
            images: an image to edit, or a list of them: path, URL, bytes, PIL image, figure.
            timeout: deadline for all images, in seconds.
            options: e.g. ``size="1024x1024"``, ``quality="hd"``, ``n=2``.

        Raises:
            CommandError: something in `images` is not an image.
            NotDeployed: nothing is deployed as this alias.
            RequestError: the model failed.

        Example:
            >>> bz.model("dalle").image("a cat on a mat", size="1024x1024").save("cat.png")
            PosixPath('cat.png')
        """
        request = ImageRequest(prompt=prompt, images=attachments(images, None), options=options, timeout=timeout)
        return self.ask(request)

    # ---- tables

    def map(
        self,
        rows: Any,
        prompt: str = "",
        *,
        out: str | None = None,
        schema: Any = None,
        concurrency: int | None = None,
        budget: float | None = None,
        dry_run: bool = False,
        journal: bool = True,
        fresh: bool = False,
        system: str | None = None,
        image: str | None = None,
        audio: str | None = None,
        documents: Any = None,
        capability: str | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Ask about each row of a table; return the table with the answers in new columns.

        Order and index stay. The error of a row is in the column ``<out>_error``. Ctrl-C, and a budget that is spent,
        return the rows so far; run again, the answered ones come from the project's journal.

        Args:
            rows: a pandas DataFrame or Series, or a Ray Dataset, of which the new Dataset asks when it is consumed.
            prompt: the text for a row, with the names of columns in braces: ``"Classify: {text}"``; to embed or speak a
                column, ``"{text}"``.
            out: the new column; by default that of the capability: ``response``, ``embedding``, ``transcript``, ...
            schema: a pydantic model, or any type that pydantic validates: a column of its type for each field, named by
                the field, with `out` before it. A type with one field or none fills the one column `out`.
            concurrency: requests in flight at most; by default as many as the deployment has slots. It becomes fewer by
                itself while the provider refuses some (429).
            budget: what may be spent, in the currency of the model's price.
            dry_run: return an `Estimate` of rows, tokens and cost, and ask nothing.
            journal: whether answers are kept in the project's journal and come from there: no row is paid twice, and
                equal rows once.
            fresh: ask also what the journal knows.
            system: a system prompt.
            image: the column with an image for each row: paths, URLs, bytes, PIL images.
            audio: the column with the audio to transcribe, or to go with the prompt.
            documents: to rerank, the column with a list of texts in each row, or one list for all rows.
            capability: what to ask for; by default what the model is for.
            timeout: deadline for each response, in seconds.
            options: fields of the requests, e.g. ``temperature=0``, ``dimensions=256``, ``voice="nova"``.

        Raises:
            CommandError: the prompt names no column, or the arguments do not fit the model.
            NotDeployed: nothing is deployed as this alias.
            ByzerError: the reason is that of all rows, such as a wrong API key; `partial` is the table so far.

        Example:
            >>> import pandas
            >>> reviews = pandas.DataFrame({"text": ["good", "bad"]})
            >>> list(bz.model("gpt4o_chat").map(reviews, "Classify: {text}", out="label").columns)
            ['text', 'label', 'label_error']
        """
        return resolve(MAP)(
            self.manager, self.alias, rows, prompt=prompt, out=out, schema=schema, concurrency=concurrency,
            budget=budget, dry_run=dry_run, journal=journal, fresh=fresh, system=system, image=image, audio=audio,
            documents=documents, capability=capability, timeout=timeout, options=options,
        )  # fmt: skip

    # ---- any request

    @overload
    def ask(self, request: ChatRequest) -> ChatResult: ...
    @overload
    def ask(self, request: EmbedRequest) -> EmbedResult: ...
    @overload
    def ask(self, request: RerankRequest) -> RerankResult: ...
    @overload
    def ask(self, request: TranscribeRequest) -> TranscribeResult: ...
    @overload
    def ask(self, request: SpeakRequest) -> SpeakResult: ...
    @overload
    def ask(self, request: ImageRequest) -> ImageResult: ...

    def ask(self, request: Request) -> Result:
        """Return the complete result of a request of `byzer_magic.types`.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            Unsupported: the model lacks the capability.
            RequestError: the response is not complete.

        Example:
            >>> from byzer_magic.types import EmbedRequest
            >>> bz.model("bge").ask(EmbedRequest(texts=["one text", "another"])).vectors.shape
            (2, ...)
        """
        self.manager.reach(self.alias)
        exchange = Exchange(self.manager, self.alias, request)
        with self.manager.reporter.watch(exchange.collector):
            return self.manager.run(exchange.run())

    async def aask(self, request: Request) -> Result:
        """Like `ask`, for asyncio.

        Example:
            >>> import asyncio
            >>> from byzer_magic.types import EmbedRequest
            >>> asyncio.run(bz.model("bge").aask(EmbedRequest(texts=["one text"]))).vectors.shape
            (1, ...)
        """
        await self._areach()
        return await LOOP.adopt(Exchange(self.manager, self.alias, request).run())

    def stat(self) -> ModelStat:
        """Return the deployment's counters.

        Raises:
            NotDeployed: nothing is deployed as this alias.

        Example:
            >>> bz.model("gpt4o_chat").stat().strategy
            'lru'
        """
        self.manager.reach(self.alias)
        return self.manager.run(self.manager.stat(self.alias))

    def what_if(self, **options: Any) -> WhatIf | None:
        """Replay the deployment's last minutes with other workers, or with more requests; see `%byzer what_if`.

        Args:
            options: those of the command: `num_workers`, `worker_concurrency`, `min_workers`, `max_workers`,
                `load_balance`, `max_queue`, `rpm`, `scale_load` (times as many requests), `minutes` (to go back).

        Returns:
            What was measured, the replay with the present workers, and the prediction, each with waiting times in
            seconds; None where no request has ended in that time.

        Raises:
            CommandError: an option is out of its range, or the deployment is a route.
            NotDeployed: nothing is deployed as this alias.

        Example:
            >>> found = bz.model("gpt4o_chat").what_if(num_workers=8)
            >>> found is None or found.predicted.workers == (8, 8)
            True
        """
        spec = WhatIfSpec(model=self.alias, **options)
        self.manager.reach(self.alias)
        return predicting.predict(self.manager.run(predicting.observe(self.manager, self.alias)), spec)


def _copy(alias: str, settings: Settings, connection: Connection) -> Model:
    """Return a model in the process that it was sent to; nothing is connected yet."""
    return Model(alias, Manager(settings, connection=connection))
