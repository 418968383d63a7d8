"""Anthropic's Claude, through the official SDK; bodies are built and read by anthropic_shapes."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.anthropic import schema
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import sse
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse, from_exception, truncated
from byzer_magic.backends.http.params import (
    CAPABILITIES,
    CONNECT_SECONDS,
    CONNECTION,
    api_key,
    base_url,
    check_objects,
    check_url,
    connections,
    reveal,
    secrets_of,
)
from byzer_magic.backends.openai.schema import text_or_json
from byzer_magic.capabilities import Capability
from byzer_magic.catalog import model_facts
from byzer_magic.errors import BadParameter, BadRequest
from byzer_magic.types import ChatChunk, ChatRequest

BASE_URL = "https://api.anthropic.com"
OLDER_VERSION = "2023-06-01"
"""The version of the API that still takes temperature, top_p and top_k."""
NOT_STREAMED = ("application/json", "text/html")
"""Content types of servers that answer a stream request in one piece, or that are no API at all."""

_OPTIONS = {
    "max_tokens": ("int", f"longest answer, in tokens (default {schema.MAX_TOKENS})"),
    "temperature": ("float", f"0..1; only API version {OLDER_VERSION} knows it, which is then asked for"),
    "top_p": ("float", f"choose from the likeliest words; only API version {OLDER_VERSION} knows it"),
    "top_k": ("int", f"choose from so many words; only API version {OLDER_VERSION} knows it"),
    "stop": ("text", "text, or a JSON list of texts, at which the answer ends"),
    "thinking": ("json", 'how to think, e.g. {"type": "enabled", "budget_tokens": 2000}'),
    "tools": ("json", "functions that the model may call, as a JSON list"),
    "tool_choice": ("text", "auto, none, required, or a JSON object that names a tool"),
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
            Param(name="saas.anthropic_version", help="version of the API (default: the SDK's own, the newest)"),
            *(Param(name=f"saas.{name}", kind=kind, help=help_) for name, (kind, help_) in _OPTIONS.items()),
            CAPABILITIES,
        ),
        requires=("anthropic",),
        extra="claude",
    )

    def __init__(self, setup: Setup, sdk: Any, raw: type, failures: tuple[type[Exception], ...]) -> None:
        self._params = setup.params
        self._sdk = sdk
        self._raw = raw
        self._failures = failures
        self._model: str = setup.params["saas.model"]
        self._endpoint = Endpoint(self._model, str(sdk.base_url), secrets_of(setup.params))
        self._defaults = _defaults(setup.params)
        self._own_headers = _lower(setup.params.get("saas.extra_headers"))

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check the address and the JSON settings."""
        check_url(setup.params, "saas.base_url", BASE_URL)
        if setup.params["saas.base_url"].rstrip("/").endswith(("/v1", "/v1/messages")):
            raise BadParameter(
                "saas.base_url has the /v1 of the API in it.", "Leave it out; the SDK adds /v1/messages."
            )
        check_objects(setup.params)
        model_facts.capabilities(setup.params["saas.model"], setup.params.get("saas.capabilities"))

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import the SDK (over two seconds, so in a thread) and make the client; nothing is sent yet."""
        report("importing anthropic", None)
        return cls(setup, *await asyncio.to_thread(_client, setup))

    async def close(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    def capabilities(self) -> frozenset[Capability]:
        """Return what the model can do, as its name or `saas.capabilities` tells."""
        can = frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS})
        return can & model_facts.capabilities(self._model, self._params.get("saas.capabilities"))

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the provider's connection.

        Raises:
            ProviderError: the provider refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        answer = self._stream(request) if request.stream else self._whole(request)
        try:
            async with aclosing(answer) as chunks:
                async for chunk in chunks:
                    yield chunk
        except self._failures as err:
            raise from_exception(err, self._endpoint) from None  # the chain may quote the key

    async def _whole(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        body, headers = self._body(request)
        options = {"headers": headers, **({"timeout": request.timeout} if request.timeout else {})}
        response = await self._sdk.post("/v1/messages", cast_to=self._raw, body=body, options=options)
        yield _named(schema.complete(_object(response.content)), response.headers)

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        body, headers = self._body(request)
        essential = {name: body.pop(name) for name in ("model", "messages", "max_tokens")}
        create = self._sdk.messages.with_streaming_response.create
        reader = schema.Reader()
        async with create(**essential, stream=True, extra_body=body, extra_headers=headers) as response:
            if response.headers.get("content-type", "").startswith(NOT_STREAMED):
                yield _named(schema.complete(_object(await response.read())), response.headers)
                return
            events = sse.events(response.iter_bytes())
            async for data in events:
                if chunk := reader.chunk(_object(data)):
                    yield _named(chunk, response.headers) if chunk.finish else chunk
                if reader.finished:
                    await sse.drain(events, *self._failures)
                    break
        if not reader.finished:
            raise truncated(self._endpoint)

    def _body(self, request: ChatRequest) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the body and the headers of a request.

        Raises:
            BadRequest: a message or a tool is not in OpenAI's form, or Anthropic's API does not have what it asks for.
        """
        options = dict(request.options)
        headers = _lower(options.pop("extra_headers", None))
        request = msgspec.structs.replace(request, options=options)
        try:
            body = {"model": self._model, **schema.body(request, self._defaults)}
        except (KeyError, TypeError, AttributeError, ValueError) as err:
            why = f"{type(err).__name__}: {self._endpoint.redacted(str(err))}"
            raise BadRequest(
                f"A message or a tool is not in OpenAI's form: {why}", "Compare it with OpenAI's reference."
            ) from None
        chosen = "saas.anthropic_version" in self._params or "anthropic-version" in self._own_headers
        if any(name in body for name in schema.SAMPLING) and not chosen:
            headers.setdefault("anthropic-version", OLDER_VERSION)
        return body, headers


def _defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: params[f"saas.{name}"] for name in _OPTIONS if f"saas.{name}" in params}
    found |= {name: text_or_json(found[name]) for name in ("stop", "tool_choice") if name in found}
    return {**found, **({"extra_body": params["saas.extra_body"]} if "saas.extra_body" in params else {})}


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return headers by names in lower case: one name in two spellings would be sent twice."""
    return {name.lower(): value for name, value in (headers or {}).items()}


def _object(data: bytes) -> dict[str, Any]:
    """Return a JSON object; raise ErrorResponse where `sse` has wrapped an error, MsgspecError for anything else."""
    found = msgspec.json.decode(data, type=dict[str, Any])
    if "type" not in found:
        raise ErrorResponse(found) if "error" in found else msgspec.ValidationError("no message of Anthropic's")
    return found


def _named(chunk: ChatChunk, headers: Mapping[str, str]) -> ChatChunk:
    if "request-id" not in headers:
        return chunk
    return msgspec.structs.replace(chunk, extra={**(chunk.extra or {}), "request_id": headers["request-id"]})


def _client(setup: Setup) -> tuple[Any, type, tuple[type[Exception], ...]]:
    """Return the SDK's client, the class of its responses, and what it, its transport and our reading may raise."""
    import aiohttp  # SDKs are imported by the deployments that use them
    import anthropic

    params = setup.params
    http = importlib.import_module(anthropic.Timeout.__init__.__module__.partition(".")[0])
    limit = connections(setup)
    version = params.get("saas.anthropic_version")
    sdk = anthropic.AsyncAnthropic(
        api_key=reveal(params["saas.api_key"]),
        base_url=params["saas.base_url"],
        timeout=anthropic.Timeout(params["saas.timeout"], connect=CONNECT_SECONDS),
        max_retries=0,  # `retry` does that for all backends
        default_headers={
            **({"anthropic-version": version} if version else {}),
            **_lower(params.get("saas.extra_headers")),
        },
        http_client=anthropic.DefaultAioHttpClient(
            limits=http.Limits(max_connections=limit, max_keepalive_connections=limit),
            proxy=reveal(params.get("saas.proxies")),
        ),
    )
    _ = sdk.messages.with_streaming_response  # imports the resource here, not at the first request
    failures = (anthropic.AnthropicError, http.HTTPError, http.StreamError, aiohttp.ClientError, OSError)
    unreadable = (msgspec.MsgspecError, ValueError, LookupError, TypeError, AttributeError)
    return sdk, http.Response, (*failures, *unreadable, ErrorResponse)


BACKEND = ClaudeBackend
