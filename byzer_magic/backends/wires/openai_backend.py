"""Every provider that speaks OpenAI's chat completions, through the official SDK.

The SDK signs, retries (before the first byte only) and sends, over its aiohttp transport; the answer is read raw,
because its typed chunks cost 200 us of CPU a token and `_openai_wire` costs 10.
Fields: https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/create.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

import msgspec

from byzer_magic.backends.wires import openai_shapes as wire
from byzer_magic.backends.wires.failures import Caller, Fault, translate
from byzer_magic.backends.wires.params import CAPABILITIES, CONNECT_SECONDS, CONNECTION, api_key, base_url, check_objects, check_url, connections, reveal, secrets_of
from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.wires import sse
from byzer_magic.capabilities import Capability
from byzer_magic.errors import BadParameter, MissingKey, StreamTruncated
from byzer_magic.types import ChatChunk, ChatRequest

BASE_URL = "https://api.openai.com/v1"
DRAIN_SECONDS = 0.2
"""How long the end of a body may come after `[DONE]` before its connection is given up."""
NOT_STREAMED = ("application/json", "text/html")
"""Content types of servers that answer a stream request in one piece, or that are no API at all."""

_CONNECTION = (
    api_key(
        "OPENAI_API_KEY",
        required=False,
        help="key of the account; not needed when saas.base_url leads to a server that asks for none",
        env_unless="saas.base_url",
    ),
    *CONNECTION,
    base_url(BASE_URL, "OPENAI_BASE_URL", aliases=("saas.api_base",)),
    Param(name="saas.organization", help="OpenAI organization to bill", env=("OPENAI_ORG_ID",)),
    CAPABILITIES,
)
_NUMBERS = {
    "temperature": ("float", "0 is always the likeliest word, 2 is wild"),
    "top_p": ("float", "choose from the likeliest words that make up this share"),
    "max_tokens": ("int", "longest answer, in tokens"),
    "max_completion_tokens": ("int", "longest answer with its reasoning, in tokens (newer models want this name)"),
    "frequency_penalty": ("float", "-2..2: against words that came often"),
    "presence_penalty": ("float", "-2..2: against words that came at all"),
    "seed": ("int", "same seed, same answer, as far as the provider can"),
    "n": ("int", "answers to one question; the ones after the first are in the result's raw data"),
    "top_logprobs": ("int", "alternatives told for each token"),
    "logprobs": ("bool", "tell the tokens' log probabilities"),
    "reasoning_effort": ("text", "how long to think: low, medium, high, ..."),
    "user": ("text", "who asks, for the provider's abuse checks"),
    "response_format": ("json", 'e.g. {"type": "json_object"}'),
    "tools": ("json", "functions that the model may call, as a JSON list"),
}
_WORDS = {
    "stop": "text, or a JSON list of texts, at which the answer ends",
    "tool_choice": "auto, none, required, or a JSON object that names a tool",
}
"""Fields that may be plain text or JSON."""

PARAMS = (
    *_CONNECTION,
    *(Param(name=f"saas.{name}", kind=kind, help=help_) for name, (kind, help_) in _NUMBERS.items()),
    *(Param(name=f"saas.{name}", help=help_) for name, help_ in _WORDS.items()),
)


def info(kind: str, title: str) -> Info:
    """Return the description of a provider that this backend serves under `kind`."""
    return Info(
        kind=kind,
        title=title,
        params=PARAMS,
        requires=("openai",),
        extra="openai",
        capabilities=frozenset({Capability.CHAT, Capability.VISION, Capability.TOOLS}),
    )


class OpenAIBackend(Backend):
    """Chat over one shared client; an instance serves all slots of a pool."""

    info: ClassVar[Info] = info("saas/openai", "OpenAI and compatible APIs")

    def __init__(self, setup: Setup, client: Any, raw: type, failures: tuple[type[Exception], ...]) -> None:
        params = setup.params
        self._client = client
        self._raw = raw
        """The class of the transport's responses: asking for it gives the body as it came."""
        self._failures = failures
        self._model: str = params["saas.model"]
        self._defaults = defaults(params)
        self._counts = True
        """Whether to ask for token counts in streams; off once a server has refused the question."""
        self._caller = Caller(self._model, _base_url(params), secrets_of(params))

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check that there is a key or a server of one's own, and that the address can be one."""
        params = setup.params
        if "saas.api_key" not in params and "saas.base_url" not in params:
            raise MissingKey(
                f"{cls.info.kind} needs saas.api_key.",
                "Add --infer_params saas.api_key=${YOUR_KEY} or set OPENAI_API_KEY.",
            )
        check_url(params, "saas.base_url", BASE_URL)
        if _base_url(params).rstrip("/").endswith("/chat/completions"):
            raise BadParameter("saas.base_url ends in /chat/completions.", "Leave that part out; the SDK adds it.")
        check_objects(params)

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Import the SDK (over a second, so in a thread) and make the client; nothing is sent yet."""
        report("importing openai", None)
        client, raw, failures = await asyncio.to_thread(_client, setup)
        return cls(setup, client, raw, failures)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatChunk]:
        """Yield the answer as it comes; closing the iterator closes the provider's connection.

        Raises:
            ProviderError: the provider refused or failed; its own sentence is in the message.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        try:
            async with aclosing(self._stream(request) if request.stream else self._whole(request)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except self._failures as err:
            raise translate(err, self._caller) from None  # the chain may quote the key

    async def _whole(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        call = self._call(request, stream=False)
        options = {"headers": call.pop("extra_headers") or {}}
        if "timeout" in call:
            options["timeout"] = call.pop("timeout")
        body = {**call, **call.pop("extra_body")}
        # The SDK's `create` looks at every field of every message again, which is a fifth of a request's CPU.
        response = await self._client.post("/chat/completions", cast_to=self._raw, body=body, options=options)
        chunk = wire.chunk_of(wire.decode(response.content))
        yield self._with_id(chunk or ChatChunk(), response.headers)

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[ChatChunk, None]:
        finished = False
        async with contextlib.AsyncExitStack() as closing:
            response = await self._started(closing, request)
            if response.headers.get("content-type", "").startswith(NOT_STREAMED):
                chunk = wire.chunk_of(wire.decode(await response.read()))
                yield self._with_id(chunk or ChatChunk(), response.headers)
                return
            events = sse.events(response.iter_bytes())
            async for data in events:
                if data == b"[DONE]":
                    await _drain(events)
                    break
                if data and (chunk := wire.chunk_of(wire.decode(data))):
                    finished = finished or chunk.finish is not None
                    yield self._with_id(chunk, response.headers) if chunk.finish else chunk
        if not finished:
            raise StreamTruncated(
                f"{self._caller.host} ended the stream before {self._model} had finished.",
                "The text so far is incomplete; ask again.",
                provider=self._caller.host,
            )

    async def _started(self, closing: contextlib.AsyncExitStack, request: ChatRequest) -> Any:
        """Return the response, asked for once more if the server does not know the field `stream_options`."""
        create = self._client.chat.completions.with_streaming_response.create
        try:
            return await closing.enter_async_context(create(**self._call(request, stream=True)))
        except self._failures as err:
            if not (self._counts and getattr(err, "status_code", 0) in (400, 422) and "stream_options" in str(err)):
                raise
        self._counts = False
        return await closing.enter_async_context(create(**self._call(request, stream=True)))

    def _call(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Return the arguments of `create`; all but the essential go in `extra_body`, unchanged by the SDK."""
        asked = {name: value for name, value in request.options.items() if value is not None}
        headers = asked.pop("extra_headers", None)
        body = {**self._defaults, **asked.pop("extra_body", {}), **asked}
        if stream and self._counts:
            body["stream_options"] = {"include_usage": True, **body.get("stream_options", {})}
        elif not self._counts or not stream:
            body.pop("stream_options", None)
        return {
            "model": body.pop("model", self._model),
            "messages": wire.messages(request.messages),
            "stream": stream,
            "extra_body": body,
            "extra_headers": headers,
            **({"timeout": request.timeout} if request.timeout else {}),
        }

    def _with_id(self, chunk: ChatChunk, headers: Mapping[str, str]) -> ChatChunk:
        request_id = headers.get("x-request-id")
        if request_id is None:
            return chunk
        return msgspec.structs.replace(chunk, extra={**(chunk.extra or {}), "request_id": request_id})


async def _drain(events: AsyncIterator[bytes]) -> None:
    """Read to the end of the body: only then can its connection serve the next request."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for _ in events:
                pass


def defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request fields that the deployment sets, without their `saas.`; `saas.extra_body` comes last."""
    found = {name: params[f"saas.{name}"] for name in _NUMBERS if f"saas.{name}" in params}
    found |= {name: wire.text_or_json(params[f"saas.{name}"]) for name in _WORDS if f"saas.{name}" in params}
    return {**found, **params.get("saas.extra_body", {})}


def _base_url(params: Mapping[str, Any]) -> str:
    return str(params.get("saas.base_url") or BASE_URL)


def _client(setup: Setup) -> tuple[Any, type, tuple[type[Exception], ...]]:
    """Return the SDK's client, the class of its responses, and the exceptions that it, its transport and our reading may raise."""
    import aiohttp  # SDKs are imported by the deployments that use them
    import openai

    params = setup.params
    # httpx2 for openai 3, httpx for openai 2: the SDK takes the limits of its own library only.
    http = importlib.import_module(openai.Timeout.__init__.__module__.partition(".")[0])
    limit = connections(setup)
    client = openai.AsyncOpenAI(
        api_key=reveal(params.get("saas.api_key")) or "none",
        base_url=_base_url(params),
        organization=params.get("saas.organization"),
        timeout=openai.Timeout(params["saas.timeout"], connect=CONNECT_SECONDS),
        max_retries=0,  # see wires/retry
        default_headers=params.get("saas.extra_headers"),
        http_client=openai.DefaultAioHttpClient(
            limits=http.Limits(max_connections=limit, max_keepalive_connections=limit),
            proxy=reveal(params.get("saas.proxies")),
        ),
    )
    _ = client.chat.completions.with_streaming_response  # imports the resource here, not at the first request
    failures = (
        openai.OpenAIError,
        http.HTTPError,
        http.StreamError,
        aiohttp.ClientError,
        OSError,
        msgspec.MsgspecError,
    )
    return client, http.Response, (*failures, Fault)
