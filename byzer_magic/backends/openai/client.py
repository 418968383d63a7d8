"""The client of the OpenAI API: JSON over our own `Http`, files through the official SDK.

The SDK used more than half of the CPU time that a pool spent on a request, and takes over a second to import (decision
013). Requests and errors are the same: `tests/providers/test_openai_requests.py` compares them. The SDK still uploads
audio and images, and receives speech.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import received, redirects, sdk
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse, from_exception
from byzer_magic.backends.http.params import CONNECT_SECONDS, reveal, secrets_of
from byzer_magic.backends.network import base_url

if TYPE_CHECKING:
    import aiohttp

Make = Callable[[Any, dict[str, Any]], Any]
"""Makes a client of the SDK from its module and the arguments that all its clients take."""


@dataclass(frozen=True, slots=True)
class Account:
    """Where an account's requests go, and how they are authorized.

    Example:
        >>> Account("https://api.x.com/v1/?api-version=2024-10-21").url("/embeddings")
        'https://api.x.com/v1/embeddings?api-version=2024-10-21'
    """

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def url(self, path: str) -> str:
        """Return the URL of an endpoint of the API, such as /embeddings."""
        base, mark, query = self.base_url.partition("?")
        return f"{base.rstrip('/')}{path}{mark}{query}"


class Client:
    """Sends requests of one account.

    Args:
        http: the connections for JSON.
        account: where requests go.
        make_sdk: makes the SDK's client, once it is needed.
    """

    def __init__(self, http: Http, account: Account, make_sdk: Callable[[], Any]) -> None:
        self._http = http
        self._account = account
        self._make_sdk = make_sdk
        self._sdk: Any = None
        self._making = asyncio.Lock()
        import aiohttp  # imported by the deployments that use it

        transport: tuple[type[Exception], ...] = (aiohttp.ClientError, OSError, redirects.Redirected)
        self.exceptions = (*transport, msgspec.MsgspecError, ValueError, RecursionError, ErrorResponse)
        """What the transport and our decoding may raise, and the SDK once it is there."""

    @property
    def endpoint(self) -> Endpoint:
        """Return the API and the model that errors name."""
        return self._http.endpoint

    async def post(self, path: str, body: dict[str, Any]) -> bytes:
        """Return the response to a JSON body.

        Raises:
            ProviderError: the provider refused or failed.
        """
        async with self.responding(path, body) as response:
            return await received.read(response, received.limit_of(response.status, path))

    def responding(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Give the response to a JSON body, not read yet; the connection is free again when the block ends.

        Args:
            path: the endpoint, such as /chat/completions.
            body: the JSON.
            headers: further headers.
            timeout: seconds without data, where it is not that of the deployment.

        Raises:
            ProviderError: the provider refused or failed.
        """
        return self._http.request("POST", self._account.url(path), json=body, headers=headers, seconds=timeout)

    async def sdk(self) -> Any:
        """Return the SDK's client; the first call imports the SDK (over a second) in a thread."""
        async with self._making:
            if self._sdk is None:
                self._sdk, raised = await asyncio.to_thread(self._make_sdk)
                self.exceptions = (*self.exceptions, *raised)
        return self._sdk

    @asynccontextmanager
    async def errors(self) -> AsyncIterator[None]:
        """Convert what the SDK, the transport and our decoding raise inside the block into our errors.

        Raises:
            ByzerError: the provider refused or failed, or its response cannot be read.
        """
        try:
            yield
        except Exception as err:  # which ones are ours is looked up now: the SDK may have come inside the block
            if not isinstance(err, self.exceptions):
                raise
            raise from_exception(err, self.endpoint) from None  # the chain may quote the key

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()
        if self._sdk is not None:
            await self._sdk.close()


def connect(setup: Setup, account: Account, make: Make) -> Client:
    """Return a client; nothing is sent yet, and a loop must be running.

    Args:
        setup: the deployment.
        account: where its requests go.
        make: makes the SDK's client.
    """
    model = setup.params["saas.model"]
    endpoint = Endpoint(model, account.base_url.partition("?")[0], secrets_of(setup.params), network=setup.network)
    organization = setup.params.get("saas.organization")
    headers = {
        "Accept": "application/json",
        **({"OpenAI-Organization": organization} if organization else {}),
        **account.headers,
    }
    return Client(Http.open(setup, endpoint, headers), account, lambda: _sdk(setup, make))


def _sdk(setup: Setup, make: Make) -> tuple[Any, tuple[type[Exception], ...]]:
    """Import the SDK; return a client of it, and what it and its transport may raise."""
    import openai  # SDKs are imported by the deployments that use them

    params = setup.params
    client, http = sdk.http_client(openai, setup, base_url(params))
    common = {
        "api_key": key_of(setup),
        "base_url": params.get("saas.base_url"),
        "organization": params.get("saas.organization"),
        "timeout": openai.Timeout(params["saas.timeout"], connect=CONNECT_SECONDS),
        "max_retries": 0,  # `retry` does that for all backends
        "default_headers": params.get("saas.extra_headers"),
        "http_client": client,
    }
    return make(openai, common), (openai.OpenAIError, http.HTTPError, http.StreamError)


def key_of(setup: Setup) -> str:
    """Return the key; a word in its place where the server requires none."""
    return reveal(setup.params.get("saas.api_key")) or "none"
