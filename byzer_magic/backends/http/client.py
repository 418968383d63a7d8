"""Plain HTTP for providers whose wire is simpler than their SDK: JSON in, JSON, events, lines or bytes out.

One session per deployment, on aiohttp (0.6 ms a call, 2 us a streamed block). Every failure leaves as an error of
ours, and nothing is tried again: `retry` does that for all backends.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import errors as http_errors, sse
from byzer_magic.backends.http.errors import Caller
from byzer_magic.backends.http.params import CONNECT_SECONDS, connections, reveal
from byzer_magic.errors import ByzerError

if TYPE_CHECKING:
    import aiohttp

Refused = Callable[[Any, Caller, int, Mapping[str, str]], ByzerError]
"""From the body, status and headers (names in lower case) of a refusal to the error that it says."""


class Http:
    """A client of one API; `caller` gives the words and the secrets of its errors."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        caller: Caller,
        proxy: str | None,
        refused: Refused = http_errors.refused,
    ) -> None:
        self.caller = caller
        self.refused = refused
        self._session = session
        self._proxy = proxy

    @classmethod
    def open(
        cls, setup: Setup, caller: Caller, headers: Mapping[str, str], refused: Refused = http_errors.refused
    ) -> Self:
        """Make the session, with the deployment's timeout, proxy and headers; needs a running loop.

        Providers whose error bodies `failures` cannot read give `refused`.
        """
        import aiohttp  # SDKs and clients are imported by the deployments that use them

        params = setup.params
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=params.get("saas.timeout"))
        session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(limit=connections(setup)),
            headers={**headers, **params.get("saas.extra_headers", {})},
            trust_env=True,
        )
        return cls(session, caller, reveal(params.get("saas.proxies")), refused)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, url: str, body: Any, **more: Any) -> Any:
        """Return the JSON that the provider answers to the JSON `body`."""
        async with self.request("POST", url, json=body, **more) as response:
            data = await response.read()
            try:
                return json.loads(data)
            except ValueError as err:
                raise http_errors.garbled(self.caller, str(err)) from None

    async def events(self, url: str, body: Any, **more: Any) -> AsyncGenerator[bytes, None]:
        """Yield the data of each server-sent event."""
        async with self.request("POST", url, json=body, **more) as response:
            async for data in sse.events(response.content.iter_any()):
                yield data

    async def lines(self, url: str, body: Any, **more: Any) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the answer (a JSON object each, where providers stream so)."""
        rest = b""
        async with self.request("POST", url, json=body, **more) as response:
            async for block in response.content.iter_any():
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    if line.strip():
                        yield line
        if rest.strip():
            yield rest

    async def blocks(self, url: str, **more: Any) -> AsyncGenerator[bytes, None]:
        """Yield the answer's bytes as they come."""
        async with self.request("POST", url, **more) as response:
            async for block in response.content.iter_any():
                yield block

    @asynccontextmanager
    async def request(self, method: str, url: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; inside the block its answer can be read, and failures to do so are errors of ours.

        Raises:
            ProviderError: the provider refused, failed, or cannot be reached.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        import aiohttp

        try:
            async with self._session.request(method, url, proxy=self._proxy, **more) as response:
                if response.status >= 400:
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    raise self.refused(_body(await response.read()), self.caller, response.status, headers)
                yield response
        except (aiohttp.ClientError, OSError, http_errors.Fault) as err:  # a TimeoutError is an OSError
            raise http_errors.translate(err, self.caller) from None  # the chain may quote the key


def _body(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return data.decode(errors="replace")
