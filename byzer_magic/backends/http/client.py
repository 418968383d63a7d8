"""Plain HTTP for providers whose API is simpler than their SDK: JSON out; JSON, lines or bytes back.

One session per deployment, on aiohttp (0.6 ms a request, 2 us a streamed block). Every failure leaves as an error of
ours, and nothing is tried again: `retry` does that for all backends.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import errors as http_errors
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse
from byzer_magic.backends.http.params import CONNECT_SECONDS, connections
from byzer_magic.backends.network import Network
from byzer_magic.errors import ByzerError

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

ErrorReader = Callable[[Any, Endpoint, int | None, Mapping[str, str] | None], ByzerError]
"""From the body, the endpoint, the status and the headers (names in lower case) of an error response to our error."""


class Http:
    """A client of one API.

    Args:
        session: the connections.
        endpoint: the API and model that errors name.
        network: how requests leave the machine.
        read_error: reads error bodies that `http.errors` cannot read.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        network: Network | None = None,
        read_error: ErrorReader = http_errors.from_response,
    ) -> None:
        self.endpoint = endpoint
        self._session = session
        self._network = network or Network()
        self._read_error = read_error

    @classmethod
    def open(
        cls,
        setup: Setup,
        endpoint: Endpoint,
        headers: Mapping[str, str],
        read_error: ErrorReader = http_errors.from_response,
    ) -> Self:
        """Make the session, with the deployment's timeout, proxy and headers; needs a running loop.

        Args:
            setup: the deployment.
            endpoint: the API and model that errors name.
            headers: headers of every request, such as that of the key.
            read_error: reads error bodies that `http.errors` cannot read.
        """
        import aiohttp  # SDKs and clients are imported by the deployments that use them

        params = setup.params
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=params.get("saas.timeout"))
        session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=connections(setup), ssl=setup.network.ssl_context()),
            headers={**headers, **params.get("saas.extra_headers", {})},
        )
        return cls(session, replace(endpoint, network=setup.network), setup.network, read_error)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, url: str, body: Any, kind: type[T], **options: Any) -> T:
        """Return the response to a JSON body.

        Args:
            url: where to send it.
            body: the JSON.
            kind: what the response is, see `decode`.
            options: options of aiohttp's requests, such as `headers`.

        Raises:
            ProviderError: the provider refused or failed, or its response cannot be read.
        """
        async with self.request("POST", url, json=body, **options) as response:
            return self.decode(await response.read(), kind)

    async def json_lines(self, url: str, body: Any, kind: type[T], **options: Any) -> AsyncGenerator[T, None]:
        """Yield the lines of the response to a JSON body (https://jsonlines.org).

        Args:
            url: where to send it.
            body: the JSON.
            kind: what a line is, see `decode`.
            options: options of aiohttp's requests, such as `headers`.

        Raises:
            ProviderError: the provider refused or failed, or a line cannot be read or has an `error`.
        """
        async with aclosing(self.lines(url, body, **options)) as lines:
            async for line in lines:
                yield self.decode(line, kind)

    async def lines(self, url: str, body: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the response that are not empty, without their ends."""
        rest = b""
        async with self.request("POST", url, json=body, **options) as response:
            async for block in response.content.iter_any():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line
        if rest.strip():
            yield rest

    def decode(self, data: bytes, kind: type[T]) -> T:
        """Return JSON as a `kind`, a msgspec.Struct for example; fields that it does not have are ignored.

        Raises:
            ProviderError: the JSON has an `error`; its class follows from the error's code and sentence.
            ProviderUnavailable: it is not JSON, or not of that kind.
        """
        try:
            if b'"error"' in data:  # a hint only, since the text of an answer may have it, too
                found = msgspec.json.decode(data)
                if isinstance(found, Mapping) and found.get("error") is not None:
                    raise self.error(found["error"])
            return msgspec.json.decode(data, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as err:
            raise http_errors.unreadable(self.endpoint, str(err)) from None

    def error(self, body: Any, status: int | None = None, headers: Mapping[str, str] | None = None) -> ByzerError:
        """Return our error for a provider's error body; without a `status`, its code decides."""
        return self._read_error(body, self.endpoint, status, headers)

    @asynccontextmanager
    async def request(self, method: str, url: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; inside the block its response can be read, and failures to do so raise our errors.

        Raises:
            ProviderError: the provider refused or failed, or cannot be reached.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        import aiohttp

        try:
            async with self._session.request(method, url, proxy=self._network.proxy(url), **options) as response:
                if response.status == http_errors.PROXY_AUTHENTICATION:  # no provider's own
                    raise http_errors.from_response({}, self.endpoint, response.status)
                if response.status >= 400:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    raise self.error(_body(await response.read()), response.status, headers)
                yield response
        except (aiohttp.ClientError, OSError, ErrorResponse) as err:  # a TimeoutError is an OSError
            raise http_errors.from_exception(err, self.endpoint) from None  # the chain may quote the key


def _body(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
