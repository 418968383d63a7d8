"""The official SDK as our client: it authenticates and sends; bodies are built and read by us.

Its aiohttp transport is 1.3 to 1.6 times as fast as its default one, and does not collapse at 64 requests at once.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import received, redirects
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse, from_exception
from byzer_magic.backends.http.params import CONNECT_SECONDS, connections, reveal, secrets_of
from byzer_magic.backends.network import base_url

Make = Callable[[Any, dict[str, Any]], Any]
"""Makes a client of the SDK from its module and the arguments that all its clients take."""


@dataclass(frozen=True, slots=True)
class Client:
    """An SDK client, and the exceptions that it, its transport and our decoding may raise."""

    sdk: Any
    raw: type
    """The class of the transport's responses: with it as `cast_to`, the SDK returns the body as it came."""
    exceptions: tuple[type[Exception], ...]
    endpoint: Endpoint

    async def post(self, path: str, body: dict[str, Any], **options: Any) -> Any:
        """Return the response to a JSON body, read but not parsed."""
        # Not by the SDK's `create` methods: they validate every field of every message, a fifth of a request's CPU.
        return await self.sdk.post(path, cast_to=self.raw, body=body, options={k: v for k, v in options.items() if v})

    @asynccontextmanager
    async def stream(self, path: str, body: dict[str, Any], **options: Any) -> AsyncIterator[Any]:
        """Yield the response to a JSON body, not read yet; the connection is free again when the block ends."""
        given = {k: v for k, v in options.items() if v}
        response = await self.sdk.post(path, cast_to=self.raw, body=body, options=given, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Convert what the SDK, its transport and our decoding raise inside the block into our errors.

        Raises:
            ByzerError: the provider refused or failed, or its response cannot be read.
        """
        try:
            yield
        except self.exceptions as err:
            raise from_exception(err, self.endpoint) from None  # the chain may quote the key


def connect(setup: Setup, make: Make) -> Client:
    """Import the SDK (over a second) and make its client; nothing is sent yet."""
    import aiohttp  # SDKs are imported by the deployments that use them
    import openai

    params = setup.params
    # httpx2 for openai 3, httpx for openai 2: the SDK takes the limits of its own library only.
    http = importlib.import_module(openai.Timeout.__init__.__module__.partition(".")[0])
    limit = connections(setup)
    common = {
        "api_key": reveal(params.get("saas.api_key")) or "none",
        "base_url": params.get("saas.base_url"),
        "organization": params.get("saas.organization"),
        "timeout": openai.Timeout(params["saas.timeout"], connect=CONNECT_SECONDS),
        "max_retries": 0,  # `retry` does that for all backends
        "default_headers": params.get("saas.extra_headers"),
        "http_client": openai.DefaultAioHttpClient(
            limits=http.Limits(max_connections=limit, max_keepalive_connections=limit),
            proxy=setup.network.proxy(base_url(params)),
            verify=setup.network.ssl_context(),
            trust_env=False,
            headers={"Accept-Encoding": received.ENCODINGS},
            event_hooks={"response": [redirects.check, received.bounded(http)]},
        ),
    }
    sdk = make(openai, common)
    _ = sdk.chat.completions.with_streaming_response  # imports the resource here, not at the first request
    exceptions = (openai.OpenAIError, http.HTTPError, http.StreamError, aiohttp.ClientError, OSError)
    endpoint = Endpoint(params["saas.model"], str(sdk.base_url), secrets_of(params), network=setup.network)
    return Client(
        sdk,
        http.Response,
        (*exceptions, msgspec.MsgspecError, ValueError, RecursionError, ErrorResponse, redirects.Redirected),
        endpoint,
    )
