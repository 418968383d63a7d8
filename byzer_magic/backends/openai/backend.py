"""Every provider of the OpenAI API: chat here, the other capabilities in `media`.

Responses are read raw: the SDK's typed chunks cost 200 us of CPU per token, `openai.schema` costs 10.
Fields: https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from byzer_magic.backends.base import Backend, Info, Report, Setup
from byzer_magic.backends.http import answers, received, sse
from byzer_magic.backends.http.endpoint import Endpoint
from byzer_magic.backends.http.params import check_objects, check_url, missing_key
from byzer_magic.backends.http.terms import Agreement, Terms
from byzer_magic.backends.openai import schema
from byzer_magic.backends.openai.client import Account, Client, connect, key_of
from byzer_magic.backends.openai.media import OpenAIMedia
from byzer_magic.backends.openai.params import BASE_URL, defaults, info
from byzer_magic.backends.openai.reader import Reader
from byzer_magic.capabilities import Capability
from byzer_magic.catalog import begun_turns, model_facts, renamed_fields
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest

__all__ = ["OpenAIBackend", "info"]


def agreement(model: str, endpoint: Endpoint) -> Agreement:
    """Return the terms with a server: those that its provider documents."""
    host = urlsplit(endpoint.base_url).hostname or ""
    return Agreement(Terms(renamed=tuple(renamed_fields.successors(host, model).items())), renames=True)


class OpenAIBackend(OpenAIMedia, Backend):
    """All capabilities over one shared client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = info("saas/openai", _("OpenAI and compatible APIs"))

    def __init__(self, setup: Setup, client: Client) -> None:
        super().__init__(setup.params, client)
        self._defaults = defaults(setup.params)
        self._agreement = agreement(setup.params["saas.model"], client.endpoint)
        self._mark = begun_turns.mark(urlsplit(client.endpoint.base_url).hostname or "")
        """The field of a last message that the model is to continue."""

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
        """Make the client; nothing is sent yet."""
        report(_("importing {name}", name="aiohttp"))
        return cls(setup, cls.connect(setup))

    @classmethod
    def connect(cls, setup: Setup) -> Client:
        """Make the client; a provider that authorizes requests in another way overrides this."""
        account = Account(setup.params["saas.base_url"], {"Authorization": f"Bearer {key_of(setup)}"})
        return connect(setup, account, lambda sdk, common: sdk.AsyncOpenAI(**common))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return the model's capabilities, by its name or `saas.capabilities`: the API has all capabilities."""
        return model_facts.capabilities(self._params["saas.model"], self._params.get("saas.capabilities"))

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection.

        Raises:
            ProviderError: the provider refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        return self._agreement.chunks(request.options, self._defaults, lambda terms: self._response(request, terms))

    async def _response(self, request: ChatRequest, terms: Terms) -> AsyncGenerator[ChatChunk, None]:
        body, headers = self._call(request, terms)
        sent = self._client.responding("/chat/completions", body, headers, request.timeout)
        async with sent as response, aclosing(self._read(response)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _read(self, response: Any) -> AsyncGenerator[ChatChunk, None]:
        """Yield the chunks of a response, whether it is a stream, lines, or one body."""
        events = sse.events(received.blocks(response, received.STREAM))
        client, request_id = self._client, response.headers.get("x-request-id")
        return answers.chunks(events, Reader(), client.endpoint, client.exceptions, request_id)

    def _call(self, request: ChatRequest, terms: Terms) -> tuple[dict[str, Any], dict[str, str] | None]:
        """Return body and headers of a request."""
        options = {name: value for name, value in request.options.items() if value is not None}
        headers = options.pop("extra_headers", None)
        given = {**self._defaults, **options.pop("extra_body", {}), **options}
        given = terms.fields(given)
        messages = schema.messages(request.messages)
        if self._mark and messages[-1]["role"] == "assistant":
            messages[-1][self._mark] = True
        body = {"model": self._model, "stream": terms.stream, **given, "messages": messages}
        if body["stream"] and terms.usage:
            body["stream_options"] = {"include_usage": True, **body.get("stream_options", {})}
        else:
            body.pop("stream_options", None)
        return body, headers
