"""Every provider of the OpenAI API, through the official SDK: chat here, the other capabilities in `media`.

The response is read raw: the SDK's typed chunks cost 200 us of CPU per token, `openai.schema` costs 10.
Fields: https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.http import sse
from byzer_magic.backends.http.errors import truncated
from byzer_magic.backends.http.messages import with_request_id
from byzer_magic.backends.http.params import check_objects, check_url, missing_key
from byzer_magic.backends.openai import schema
from byzer_magic.backends.openai.client import Client, connect
from byzer_magic.backends.openai.media import OpenAIMedia
from byzer_magic.backends.openai.params import BASE_URL, defaults, info
from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest

__all__ = ["OpenAIBackend", "info"]


class OpenAIBackend(OpenAIMedia, Backend):
    """All capabilities over one shared client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = info("saas/openai", _("OpenAI and compatible APIs"))

    def __init__(self, setup: Setup, client: Client) -> None:
        super().__init__(setup.params, client)
        self._defaults = defaults(setup.params)
        self._counts = True
        """Whether to request token counts in streams; off once a server has rejected `stream_options`."""

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that there is a key or another base URL, and that the base URL is valid.

        Raises:
            MissingKey: the provider's own base URL without a key.
            BadParameter: `saas.base_url` or a JSON parameter is not valid.
        """
        params = setup.params
        own = next(param.default for param in cls.info.params if param.name == "saas.base_url")
        if "saas.api_key" not in params and params["saas.base_url"] == own:
            env = next(param.env for param in cls.info.params if param.name == "saas.api_key")
            raise missing_key(cls.info.kind, "saas.api_key", " or ".join(env), ask_for="saas.api_key")
        check_url(params, "saas.base_url", BASE_URL)
        if params["saas.base_url"].rstrip("/").endswith("/chat/completions"):
            raise BadParameter(
                _("saas.base_url ends in /chat/completions."), _("Remove that part; it is added to each request.")
            )
        check_objects(params)
        model_facts.capabilities(params["saas.model"], params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import the SDK in a thread and make the client; nothing is sent yet."""
        report(_("importing {name}", name="openai"))
        return cls(setup, await asyncio.to_thread(cls.connect, setup))

    @classmethod
    def connect(cls, setup: Setup) -> Client:
        """Make the SDK's client; a provider that has another kind of client overrides this."""
        return connect(setup, lambda sdk, common: sdk.AsyncOpenAI(**common))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.sdk.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return the model's capabilities, by its name or `saas.capabilities`: the API has all capabilities."""
        return model_facts.capabilities(self._params["saas.model"], self._params.get("saas.capabilities"))

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection.

        Raises:
            ProviderError: the provider refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        response = self._stream(request) if request.stream else self._complete(request)
        async with self._client.errors(), aclosing(response) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _complete(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        call = self._call(request, stream=False)
        headers, timeout = call.pop("extra_headers"), call.pop("timeout", None)
        body = {**call, **call.pop("extra_body")}
        response = await self._client.post("/chat/completions", body, headers=headers, timeout=timeout)
        chunk = schema.chunk_of(schema.decode(response.content))
        yield with_request_id(chunk or ChatChunk(), response.headers.get("x-request-id"))

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        finished = False
        async with contextlib.AsyncExitStack() as closing:
            response = await self._started(closing, request)
            if response.headers.get("content-type", "").startswith(sse.NOT_STREAMED):
                chunk = schema.chunk_of(schema.decode(await response.read()))
                yield with_request_id(chunk or ChatChunk(), response.headers.get("x-request-id"))
                return
            events = sse.events(response.iter_bytes())
            async for data in events:
                if data == b"[DONE]":
                    await sse.drain(events, *self._client.exceptions)
                    break
                if data and (chunk := schema.chunk_of(schema.decode(data))):
                    finished = finished or chunk.finish is not None
                    yield with_request_id(chunk, response.headers.get("x-request-id")) if chunk.finish else chunk
        if not finished:
            raise truncated(self._client.endpoint)

    async def _started(self, closing: contextlib.AsyncExitStack, request: ChatRequest) -> Any:
        """Return the response; ask once more without `stream_options` if the server does not know that field."""
        create = self._client.sdk.chat.completions.with_streaming_response.create
        try:
            return await closing.enter_async_context(create(**self._call(request, stream=True)))
        except self._client.exceptions as err:
            if not (self._counts and getattr(err, "status_code", 0) in (400, 422) and "stream_options" in str(err)):
                raise
        self._counts = False
        return await closing.enter_async_context(create(**self._call(request, stream=True)))

    def _call(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Return the arguments of `create`; the optional ones are in `extra_body`, which the SDK does not touch."""
        options = {name: value for name, value in request.options.items() if value is not None}
        headers = options.pop("extra_headers", None)
        body = {**self._defaults, **options.pop("extra_body", {}), **options}
        if stream and self._counts:
            body["stream_options"] = {"include_usage": True, **body.get("stream_options", {})}
        elif not self._counts or not stream:
            body.pop("stream_options", None)
        return {
            "model": body.pop("model", self._model),
            "messages": schema.messages(request.messages),
            "stream": stream,
            "extra_body": body,
            "extra_headers": headers,
            **({"timeout": request.timeout} if request.timeout else {}),
        }
