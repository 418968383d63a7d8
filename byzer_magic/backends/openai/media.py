"""The OpenAI API beyond chat: embeddings, rerank, transcription, speech, images.

Fields: https://developers.openai.com/api/reference/resources/embeddings/methods/create and, below
resources/audio/subresources and resources/images, `transcriptions`, `speech`, `generate` and `edit`. `/rerank` is
Cohere's (https://docs.cohere.com/reference/rerank), which Jina and SiliconFlow also have.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from byzer_magic.backends.engine import audio
from byzer_magic.backends.http.batches import in_order
from byzer_magic.backends.http.downloads import Downloads, Refused
from byzer_magic.backends.http.errors import NO_AUDIO, NO_IMAGE, unreadable
from byzer_magic.backends.http.json_reader import aside
from byzer_magic.backends.http.media import AUDIO_TYPES
from byzer_magic.backends.http.speech import audio_of, split, synthesized
from byzer_magic.backends.openai import bodies
from byzer_magic.backends.openai.client import Client
from byzer_magic.backends.openai.params import defaults
from byzer_magic.errors import BadRequest, ProviderError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import formats, stereo
from byzer_magic.types import (
    AudioChunk,
    EmbeddingBatch,
    EmbedRequest,
    ImageItem,
    ImageRequest,
    Media,
    Ranking,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
    TranscriptChunk,
    Usage,
)

MAX_SPEECH_CHARS = 4096
"""Maximum length of the text of one /audio/speech request."""


class OpenAIMedia:
    """The capabilities besides chat, over the same client."""

    EMBED_BATCH: ClassVar[int] = 256
    """Texts in one embeddings request; OpenAI's limit is 2,048 texts and 300,000 tokens."""

    def __init__(self, params: Mapping[str, Any], client: Client) -> None:
        self._params = params
        self._client = client
        self._model: str = params["saas.model"]
        self._retries: int = params["saas.max_retries"]
        self._as_base64 = True
        """Whether to request embeddings as base64, a quarter of the size; off once a server has rejected that."""
        self._took_base64 = False
        """Whether a server has accepted it: then it refuses something else."""

    # ---- texts

    async def embed(self, request: EmbedRequest) -> AsyncIterator[EmbeddingBatch]:
        """Yield the embeddings of all texts, in order, as each batch of `EMBED_BATCH` is done.

        Raises:
            ProviderError: the provider refused or failed, or did not return one embedding per text.
        """
        body = self._body("embed", request.options)

        async def send(start: int, texts: Sequence[str]) -> EmbeddingBatch:
            async with self._client.errors():
                return await self._embeddings(start, list(texts), body)

        async with aclosing(in_order(request.texts, self.EMBED_BATCH, send, self._retries)) as batches:
            async for batch in batches:
                yield batch

    async def _embeddings(self, start: int, texts: list[str], body: dict[str, Any]) -> EmbeddingBatch:
        encoding = {"encoding_format": "base64"} if self._as_base64 and "encoding_format" not in body else {}
        given = {name: value for name, value in body.items() if value is not None}
        refused = False
        try:
            response = await self._client.post("/embeddings", {**given, **encoding, "input": texts})
        except ProviderError as err:
            refused = bool(encoding) and not self._took_base64 and err.details.get("status") in (400, 422)
            if not refused:
                raise
        if refused:  # not all say that it is the encoding they refuse; the next error does not come from this one
            found = await self._embeddings(start, texts, {**body, "encoding_format": None})
            self._as_base64 = False
            return found
        self._took_base64 = self._took_base64 or bool(encoding)
        data, usage = await aside(bodies.embeddings, response, len(texts), self._client.endpoint)
        return EmbeddingBatch(start, len(data[0]) // 4 if data else 0, b"".join(data), usage)

    async def rerank(self, request: RerankRequest) -> AsyncIterator[Ranking]:
        """Yield the order of the documents, the most relevant first.

        Raises:
            ProviderError: the provider refused or failed.
        """
        body = {**self._body("rerank", request.options), "query": request.query, "documents": request.documents}
        async with self._client.errors():
            response = await self._client.post("/rerank", body)
            order, usage = await aside(bodies.ranking, response, len(request.documents), self._client.endpoint)
        yield Ranking(order, usage)

    # ---- audio

    async def transcribe(self, request: TranscribeRequest) -> AsyncIterator[TranscriptChunk]:
        """Yield the transcript: with `response_format` verbose_json, segments, too; text, srt and vtt are not parsed.

        A file whose transcript is empty is sent again as mono if its channels cancel each other.

        Raises:
            BadRequest: the request has no audio.
            ProviderError: the provider refused or failed.
        """
        if not request.audio.data:
            raise BadRequest(_("The request has no audio."), _("Pass a file, bytes, or an audio widget."))
        media = await asyncio.to_thread(stereo.heard, request.audio)
        found = await self._transcript(media, request.options)
        if not found.text.strip() and media.mime != "audio/wav":  # WAV has been looked into
            again = await asyncio.to_thread(audio.without_cancelling, media)
            found = await self._transcript(again, request.options) if again else found
        yield found

    async def _transcript(self, media: Media, options: Mapping[str, Any]) -> TranscriptChunk:
        fields = self._body("transcribe", options)
        known = {name: fields.pop(name) for name in list(fields) if name in _TRANSCRIBE}
        file = (f"audio.{formats.extension(media.mime)}", media.data, media.mime)
        sdk = await self._client.sdk()
        create = sdk.audio.transcriptions.with_raw_response.create
        async with self._client.errors():
            response = await create(file=file, **known, extra_body=fields)
            content_type = response.headers.get("content-type", "")
            return await aside(bodies.transcript, response.content, content_type, self._client.endpoint)

    async def speak(self, request: SpeakRequest) -> AsyncIterator[AudioChunk]:
        """Yield the audio of the text as it arrives; a long text is sent in parts, split after sentences.

        Raises:
            BadRequest: the text is empty, or too long for an audio format that cannot be joined.
            ProviderError: the provider refused or failed.
        """
        fields = {"voice": "alloy", "response_format": "mp3", **self._body("speak", request.options)}
        mime = AUDIO_TYPES.get(fields["response_format"], f"audio/{fields['response_format']}")
        known = {name: fields.pop(name) for name in ("model", "voice", "response_format")}
        sdk = await self._client.sdk()
        create = sdk.audio.speech.with_streaming_response.create

        async def send(text: str) -> AsyncIterator[AudioChunk]:
            async with self._client.errors(), create(input=text, **known, extra_body=fields) as response:
                header, received = response.headers.get("content-type", ""), False
                async with aclosing(audio_of(response.iter_bytes(), header, self._no_audio)) as blocks:
                    async for block in blocks:
                        received = received or bool(block.data)
                        yield block
                if not received:
                    raise unreadable(self._client.endpoint, NO_AUDIO)

        parts = split(request.text, MAX_SPEECH_CHARS)
        async with aclosing(synthesized(parts, mime, send, self._retries)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _no_audio(self, body: bytes) -> Exception:
        return bodies.instead_of(NO_AUDIO, body, self._client.endpoint)

    # ---- images

    async def image(self, request: ImageRequest) -> AsyncIterator[ImageItem]:
        """Yield the images: their bytes, unless `response_format` is url.

        Raises:
            ProviderError: the provider refused or failed, or returned no image.
        """
        body = {**self._body("image", request.options), "prompt": request.prompt}
        if self._params["saas.model"].startswith("dall-e"):
            # Their URLs expire after an hour; gpt-image always returns base64, and has no such field.
            body.setdefault("response_format", "b64_json")
        async with self._client.errors():
            response = await (self._edit(body, request.images) if request.images else self._generate(body))
            rows, usage = await aside(bodies.images, response, self._client.endpoint)
            for number, row in enumerate(rows):
                keep_url = body.get("response_format") == "url"
                asked = f"image/{body.get('output_format', 'png')}"
                yield await self._image(row, None if number else usage, asked, keep_url=keep_url)

    async def _generate(self, body: dict[str, Any]) -> bytes:
        return await self._client.post("/images/generations", body)

    async def _edit(self, body: dict[str, Any], images: Sequence[Media]) -> bytes:
        files = [(f"image{i}.{formats.extension(item.mime)}", item.data, item.mime) for i, item in enumerate(images)]
        known = {name: body.pop(name) for name in ("model", "prompt")}
        sdk = await self._client.sdk()
        response = await sdk.images.with_raw_response.edit(image=files, **known, extra_body=body)
        content: bytes = response.content
        return content

    async def _image(self, row: bodies.Image, usage: Usage | None, asked: str, *, keep_url: bool) -> ImageItem:
        data, url = row.data(), row.link()
        mime = formats.typed(data, "image", asked) if data else ""
        if url and not data and not keep_url:
            data = await self._downloaded(url)
            mime = formats.mime_of(data) or ""  # by its bytes alone: whatever is stated, it may be anything
            mime = mime if mime.startswith("image/") else ""
        if url and not mime:
            return ImageItem("image", b"", url, row.revised_prompt or "", usage)
        if data and not mime:
            raise bodies.instead_of(NO_IMAGE, data, self._client.endpoint)
        return ImageItem(mime or asked, data, url, row.revised_prompt or "", usage)

    async def _downloaded(self, url: str) -> bytes:
        """Return an image that the provider deletes after a while; nothing when that fails, or is not allowed."""
        import aiohttp

        endpoint = self._client.endpoint
        allowed = self._params.get("saas.image_hosts", "")
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, Refused):
            return await Downloads(endpoint.base_url, allowed, endpoint.network, self._params["saas.timeout"]).fetch(
                url
            )
        return b""

    def _body(self, capability: str, options: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in options.items() if value is not None}
        return {"model": self._model, **defaults(self._params, capability), **given.pop("extra_body", {}), **given}


_TRANSCRIBE = (
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities",
    "include",
    "chunking_strategy",
)
"""Arguments of the SDK's method; other fields go into `extra_body`."""
