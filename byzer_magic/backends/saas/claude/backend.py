"""Anthropic's Claude, through the official SDK; bodies are built and read by `anthropic.schema`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.anthropic import schema
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import answers, redirects, sdk, sse
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse, from_exception, not_openai_schema
from byzer_magic.backends.http.params import (
    CAPABILITIES,
    CHAT_OPTIONS,
    CONNECT_SECONDS,
    CONNECTION,
    api_key,
    base_url,
    check_objects,
    check_url,
    given,
    option_params,
    reveal,
    secrets_of,
)
from byzer_magic.backends.http.terms import Agreement, Terms
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.capabilities import Capability, Trait
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.types import ChatChunk, ChatRequest

BASE_URL = "https://api.anthropic.com"
OLDER_VERSION = "2023-06-01"
"""The version of the API that still accepts temperature, top_p and top_k."""

_OPTIONS: dict[str, tuple[str, str]] = {
    "max_tokens": ("int", _("maximum length of the response, in tokens (default {limit})", limit=schema.MAX_TOKENS)),
    **{
        name: (kind, _("{help}; requests with it use version {version} of the API", help=help_, version=OLDER_VERSION))
        for name, (kind, help_) in CHAT_OPTIONS.items()
        if name in schema.SAMPLING
    },
    "stop": CHAT_OPTIONS["stop"],
    "thinking": (
        "json",
        _("extended thinking, such as {example}", example='{"type": "enabled", "budget_tokens": 2000}'),
    ),
    "tools": CHAT_OPTIONS["tools"],
    "tool_choice": CHAT_OPTIONS["tool_choice"],
}


class ClaudeBackend(Backend):
    """The Messages API; an instance serves all slots of a pool."""

    info: ClassVar[Info] = Info(
        kind="saas/claude",
        title="Anthropic Claude",
        params=(
            api_key("ANTHROPIC_API_KEY", env_unless="saas.base_url"),
            *CONNECTION,
            base_url(BASE_URL, "ANTHROPIC_BASE_URL"),
            Param(
                name="saas.anthropic_version",
                help=_("version of the API (default: the SDK's, the newest)"),
                header=True,
            ),
            *option_params(_OPTIONS),
            CAPABILITIES,
        ),
        requires=("anthropic",),
        extra="claude",
        traits=frozenset({Trait.ANTHROPIC_FIELDS}),
    )

    def __init__(self, setup: Setup, sdk: Any, raw: type, exceptions: tuple[type[Exception], ...]) -> None:
        self._params = setup.params
        self._sdk = sdk
        self._raw = raw
        self._exceptions = exceptions
        self._model: str = setup.params["saas.model"]
        self._endpoint = Endpoint(self._model, str(sdk.base_url), secrets_of(setup.params), network=setup.network)
        self._defaults = _defaults(setup.params)
        self._agreement = Agreement()
        self._own_headers = _lower(setup.params.get("saas.extra_headers"))

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check the base URL and the JSON parameters.

        Raises:
            BadParameter: one of them is not valid.
        """
        check_url(setup.params, "saas.base_url", BASE_URL)
        if setup.params["saas.base_url"].rstrip("/").endswith(("/v1", "/v1/messages")):
            raise BadParameter(
                _("saas.base_url ends in /v1."), _("Remove that part; /v1/messages is added to each request.")
            )
        check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import the SDK (over two seconds, so in a thread) and make the client; nothing is sent yet."""
        report(_("importing {name}", name="anthropic"))
        return cls(setup, *await asyncio.to_thread(_client, setup))

    async def close(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return the model's capabilities, by its name or `saas.capabilities`."""
        can = frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS})
        return can & model_facts.capabilities(self._model, self._params.get("saas.capabilities"))

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the response as it arrives; closing the iterator closes the connection.

        Raises:
            ProviderError: the provider refused or failed; the message quotes its own text.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        return self._agreement.chunks(request.options, self._defaults, lambda terms: self._response(request, terms))

    async def _response(self, request: ChatRequest, terms: Terms) -> AsyncGenerator[ChatChunk, None]:
        body, headers = self._body(request)
        body["stream"] = terms.stream
        options = {"headers": headers, **({"timeout": request.timeout} if request.timeout else {})}
        try:
            response = await self._sdk.post("/v1/messages", cast_to=self._raw, body=body, options=options, stream=True)
            try:
                async with aclosing(self._read(response)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            finally:
                await response.aclose()
        except self._exceptions as err:
            raise from_exception(err, self._endpoint) from None  # the chain may quote the key

    def _read(self, response: Any) -> AsyncGenerator[ChatChunk, None]:
        """Yield the chunks of a response, whether it is a stream or one message."""
        events = sse.events(response.aiter_bytes())
        request_id = response.headers.get("request-id")
        return answers.chunks(events, schema.Reader(), self._endpoint, self._exceptions, request_id)

    def _body(self, request: ChatRequest) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the body and the headers of a request.

        Raises:
            BadRequest: a message or a tool is not in OpenAI's schema, or has what Anthropic's API does not have.
        """
        options = dict(request.options)
        headers = _lower(options.pop("extra_headers", None))
        request = msgspec.structs.replace(request, options=options)
        try:
            body = {"model": self._model, **schema.body(request, self._defaults)}
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            raise not_openai_schema(err, self._endpoint) from None
        chosen = "saas.anthropic_version" in self._params or "anthropic-version" in self._own_headers
        if any(name in body for name in schema.SAMPLING) and not chosen:
            headers.setdefault("anthropic-version", OLDER_VERSION)
        return body, headers


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    found = given(params, _OPTIONS)
    found |= {name: text_or_json(found[name]) for name in ("stop", "tool_choice") if name in found}
    return {**found, **({"extra_body": params["saas.extra_body"]} if "saas.extra_body" in params else {})}


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers with lower-case names: one name in two spellings would be sent twice."""
    return {name.lower(): value for name, value in (headers or {}).items()}


def _client(setup: Setup) -> tuple[Any, type, tuple[type[Exception], ...]]:
    """Return the SDK's client, the class of its responses, and what it, its transport and our decoding may raise."""
    import aiohttp  # SDKs are imported by the deployments that use them
    import anthropic

    params = setup.params
    client, http = sdk.http_client(anthropic, setup, params["saas.base_url"])
    version = params.get("saas.anthropic_version")
    made = anthropic.AsyncAnthropic(
        api_key=reveal(params["saas.api_key"]),
        base_url=params["saas.base_url"],
        timeout=anthropic.Timeout(params["saas.timeout"], connect=CONNECT_SECONDS),
        max_retries=0,  # `retry` does that for all backends
        default_headers={
            **({"anthropic-version": version} if version else {}),
            **_lower(params.get("saas.extra_headers")),
        },
        http_client=client,
    )
    exceptions = (anthropic.AnthropicError, http.HTTPError, http.StreamError, aiohttp.ClientError, OSError)
    decoding = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError)
    return made, http.Response, (*exceptions, *decoding, ErrorResponse, redirects.Redirected)


BACKEND = ClaudeBackend
