"""A deployed model as a Python object: `bz.model("alias").chat("hi").text`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast, overload

from byzer_magic import media
from byzer_magic.capabilities import Capability
from byzer_magic.client import arguments
from byzer_magic.client.connection import Connection
from byzer_magic.client.converse import Exchange, aconverse
from byzer_magic.client.embedding import Embedding, warn_truncated
from byzer_magic.client.manager import Manager
from byzer_magic.client.messages import Prompt
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
    ChatChunk,
    ChatRequest,
    EmbedRequest,
    ImageRequest,
    Media,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
)

if TYPE_CHECKING:
    import numpy as np


class Model:
    """A deployed model; cheap to create, safe to share between threads and event loops.

    Every method raises `NotDeployed` when nothing is deployed as its alias, and `RequestError` (such as `Overloaded`,
    `DeadlineExceeded`, `ProviderError`) when the response is incomplete; the error's `partial` holds what was received.

    Example:
        >>> import byzer_magic as bz
        >>> bz.model("gpt4o_chat").chat("Why is the sky blue?").text
        '...sky...'
    """

    def __init__(self, alias: str, manager: Manager) -> None:
        self.alias = alias
        self.manager = manager

    def __repr__(self) -> str:
        return f"Model({self.alias!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        connection = self.manager.connection
        return _copy, (self.alias, connection.settings_elsewhere(self.manager.settings), connection)

    # ---- chat

    def chat(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> ChatResult:
        """Return the complete response to a prompt.

        A model without the chat capability returns the result of its own capability, as notebooks written for
        byzer-llm expect; call `embed`, `speak`, `image`, ... for a typed result.

        Args:
            prompt: a text, a message ``{"role": ..., "content": ...}``, or a list of messages.
            system: a system prompt, put before the conversation.
            image: an image to go with the prompt, or a list of them: path, URL, bytes, PIL image, figure.
            audio: audio to go with the prompt: path, bytes, audio widget.
            timeout: deadline for the complete response, in seconds.
            options: OpenAI's request fields, e.g. ``temperature=0.2``, ``max_tokens=100``.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            RequestError: the response is not complete.

        Example:
            >>> model = bz.model("gpt4o_chat")
            >>> model.chat("Say hi in French.", temperature=0).text
            '...'
        """
        self.manager.reach(self.alias)
        return self.manager.run(self._chat(prompt, system, attachments(image, audio), timeout, options))

    def stream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> Iterator[ChatChunk]:
        """Yield the deltas of a chat's response; breaking out of the loop stops the model. Arguments as in `chat`.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            Unsupported: the model has no chat capability.
            RequestError: the response is not complete.

        Example:
            >>> "".join(chunk.text for chunk in bz.model("gpt4o_chat").stream("Count to three."))
            '...three...'
        """
        self.manager.reach(self.alias)
        return self.manager.iterate(self._deltas(prompt, system, attachments(image, audio), timeout, options))

    async def achat(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> ChatResult:
        """Like `chat`, for asyncio.

        Example:
            >>> import asyncio
            >>> asyncio.run(bz.model("gpt4o_chat").achat("Say hi in French.")).text
            '...'
        """
        await self._areach()
        return await LOOP.adopt(self._chat(prompt, system, attachments(image, audio), timeout, options))

    def astream(
        self,
        prompt: Prompt,
        *,
        system: str | None = None,
        image: Any = None,
        audio: Any = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AsyncIterator[ChatChunk]:
        """Like `stream`, for asyncio.

        Example:
            >>> import asyncio
            >>> async def count() -> str:
            ...     return "".join([chunk.text async for chunk in bz.model("gpt4o_chat").astream("Count to three.")])
            >>> asyncio.run(count())
            '...three...'
        """
        self.manager.reach(self.alias)
        return LOOP.adopt_iterate(self._deltas(prompt, system, attachments(image, audio), timeout, options))

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

    async def _areach(self) -> None:
        if not self.manager.connected:  # it may have to connect, which blocks
            await asyncio.to_thread(self.manager.reach, self.alias)

    async def _chat(
        self, prompt: Prompt, system: str | None, attached: list[Media], timeout: float | None, options: dict[str, Any]
    ) -> ChatResult:
        exchange = await aconverse(
            self.manager,
            self.alias,
            prompt,
            system=system,
            attached=attached,
            options=options,
            stream=False,
            timeout=timeout,
        )
        return cast("ChatResult", await exchange.run())  # the docstring of `chat` names the exception

    async def _deltas(
        self, prompt: Prompt, system: str | None, attached: list[Media], timeout: float | None, options: dict[str, Any]
    ) -> AsyncIterator[ChatChunk]:
        exchange = await aconverse(
            self.manager,
            self.alias,
            prompt,
            system=system,
            attached=attached,
            options=options,
            timeout=timeout,
            capability=Capability.CHAT,
        )
        async for item in exchange.items():
            if isinstance(item, ChatChunk):
                yield item


def attachments(image: Any, audio: Any) -> list[Media]:
    """Return the media attached to a prompt."""
    return [*map(media.image, arguments.several(image, "image")), *([] if audio is None else [media.audio(audio)])]


def _copy(alias: str, settings: Settings, connection: Connection) -> Model:
    """Return a model in the process that it was sent to; nothing is connected yet."""
    return Model(alias, Manager(settings, connection=connection))
