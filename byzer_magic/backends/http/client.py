"""Plain HTTP for providers whose API is simpler than their SDK: JSON out; JSON, lines or bytes back.

One session per deployment, on aiohttp (0.6 ms a request, 2 us a streamed block). Every failure leaves as an error of
ours, and nothing is tried again: `retry` does that for all backends.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from byzer_magic import request_ids
from byzer_magic.backends.base import Setup
from byzer_magic.backends.http import body_texts, errors as http_errors, json_reader, reasons, received, sse
from byzer_magic.backends.http.errors import Endpoint, ErrorResponse
from byzer_magic.backends.http.json_reader import JsonReader
from byzer_magic.backends.http.params import CONNECT_SECONDS, connections
from byzer_magic.backends.http.redirects import MAX_REDIRECTS, MOVED, Redirected, followed
from byzer_magic.backends.network import Network
from byzer_magic.errors import BadRequest, ByzerError
from byzer_magic.i18n import lazy_gettext as _

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

KEEPALIVE_SECONDS = 4.0
"""How long an unused connection is kept: many servers (uvicorn, Node.js, llama.cpp) close it after 5 seconds."""

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
        from multidict import CIMultiDict

        params = setup.params
        own: CIMultiDict[str] = CIMultiDict({"User-Agent": "byzer-magic", **headers})
        own.update(params.get("saas.extra_headers", {}))  # whatever their case, they replace those of the same name
        own["Accept-Encoding"] = received.ENCODINGS
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=params.get("saas.timeout"))
        session = aiohttp.ClientSession(
            timeout=timeout,
            connector=aiohttp.TCPConnector(
                limit=connections(setup), ssl=setup.network.ssl_context(), keepalive_timeout=KEEPALIVE_SECONDS
            ),
            headers=own,
            auto_decompress=False,  # `received` does that, up to a limit
            cookie_jar=aiohttp.DummyCookieJar(),  # there is nothing to log in to, and a server could send ever new ones
        )
        return cls(session, replace(endpoint, network=setup.network), setup.network, read_error)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def post(self, url: str, body: Any, kind: type[T], *, needs: str = "", **options: Any) -> T:
        """Return the response to a JSON body.

        Args:
            url: where to send it.
            body: the JSON.
            kind: what the response is, see `decode`.
            needs: the field that must not be None: a response without it is an error, with what it says.
            options: options of aiohttp's requests, such as `headers`.

        Raises:
            ProviderError: the provider refused or failed, or its response cannot be read.
        """
        async with self.request("POST", url, json=body, **options) as response:
            data = await received.read(response)
        found: T = await json_reader.aside(self.decode, data, kind)
        if needs and getattr(found, needs) is None:
            said = json_reader.plain(data)
            raise self.error(said) if reasons.is_failure(said) else http_errors.no_answer(said, self.endpoint)
        return found

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
        """Yield the lines of the response that are not empty, without their ends.

        Raises:
            ProviderError: the provider refused or failed, or a line is too long.
        """
        pieces: list[bytes] = []
        size = 0
        turns = received.Turns()
        async with self.request("POST", url, json=body, **options) as response:
            async for block in received.blocks(response, received.STREAM):
                first, *lines = block.split(b"\n")
                pieces.append(first)
                size += len(first)
                if size > sse.MAX_EVENT_BYTES:
                    raise sse.too_long()
                if lines:
                    whole, pieces, size = b"".join(pieces), [lines.pop()], 0
                    for line in (whole, *lines):
                        if line.strip():
                            yield line
                            await turns.take()
        if rest := b"".join(pieces).strip():
            yield rest

    async def events(self, url: str, body: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        """Yield the events of the response, as `sse.events` does: server-sent ones, lines, or the one body.

        Raises:
            ProviderError: the provider refused or failed, or sent a text or a page instead.
        """
        async with (
            self.request("POST", url, json=body, **options) as response,
            aclosing(sse.events(received.blocks(response, received.STREAM))) as events,
        ):
            async for event in events:
                yield event

    def decode(self, data: bytes, kind: type[T]) -> T:
        """Return JSON as a `kind`, a msgspec.Struct for example; fields that it does not have are ignored.

        A field of another type is converted where its meaning is plain, and gets its default otherwise.

        Raises:
            ProviderError: the JSON is an error; its class follows from the error's code and sentence.
            ProviderUnavailable: it is not JSON, or not of that kind.
        """
        reader = JsonReader(kind)
        try:
            if b'"error"' in data:  # a hint only, since the text of an answer may have it, too
                self._check(reader.loads(data))
            return reader.decode(data)
        except json_reader.REFUSED as err:
            raise self._not_of_that_kind(data, err) from None

    def _check(self, found: Any) -> None:
        """Raise the error that a body has in its `error`."""
        if isinstance(found, Mapping) and reasons.failed(found.get("error")):
            raise self.error(found)

    def _not_of_that_kind(self, data: bytes, err: Exception) -> ByzerError:
        """Return the error for a body that cannot be read: what it says itself, if it says anything."""
        try:
            found = json_reader.loads(data)
        except ValueError:
            return http_errors.not_json(data, self.endpoint, str(err))
        if reasons.is_failure(found):
            return self.error(found)
        said = reasons.of(found).sentence
        return http_errors.no_answer(found, self.endpoint) if said else http_errors.unreadable(self.endpoint, str(err))

    def error(self, body: Any, status: int | None = None, headers: Mapping[str, str] | None = None) -> ByzerError:
        """Return our error for a provider's error body; without a `status`, its code decides."""
        return self._read_error(body, self.endpoint, status, headers)

    @asynccontextmanager
    async def request(
        self, method: str, url: str, *, json: Any = None, seconds: float | None = None, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request, and again where a redirect asks for that and may; inside the block its response can be read.

        Args:
            method: such as POST.
            url: where to send it.
            json: the body, if it is JSON.
            seconds: how long nothing may come, where that is not `saas.timeout`.
            options: options of aiohttp's requests, such as `headers`.

        Raises:
            ProviderError: the provider refused or failed, cannot be reached, or its response cannot be read.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        import aiohttp

        if json is not None:
            options["data"] = aiohttp.BytesPayload(encoded(json), content_type="application/json")
        if seconds is not None:
            options["timeout"] = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=seconds)
        try:
            options["headers"] = self._with_id(options.get("headers") or {})
            for count in itertools.count():
                options["proxy"] = self._network.proxy(url)
                async with self._session.request(method, url, allow_redirects=False, **options) as response:
                    if response.status in MOVED:
                        if count == MAX_REDIRECTS:
                            raise Redirected(response.status, url, url)
                        url = followed(response.status, url, response.headers.get("location"))
                        continue
                    if response.status == http_errors.PROXY_AUTHENTICATION:  # no provider's own
                        raise http_errors.from_response({}, self.endpoint, response.status)
                    if response.status >= 400:
                        headers = {name.lower(): value for name, value in response.headers.items()}
                        raise self.error(_body(await received.read(response, received.ERROR)), response.status, headers)
                    yield response
                    return
        except (aiohttp.ClientError, OSError, ErrorResponse, Redirected) as err:  # a TimeoutError is an OSError
            raise http_errors.from_exception(err, self.endpoint) from None  # the chain may quote the key

    def _with_id(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return headers with the id of the request, unless the user has set one."""
        from multidict import CIMultiDict

        found: CIMultiDict[str] = CIMultiDict(headers)
        for name, value in request_ids.headers().items():
            if name not in self._session.headers:
                found.setdefault(name, value)
        return found


async def identify(request: Any) -> None:
    """Add the id of the request to a request of an SDK: an event hook for the clients of httpx or its successor."""
    for name, value in request_ids.headers().items():
        request.headers.setdefault(name, value)


def encoded(body: Any) -> bytes:
    """Return a body as JSON, in UTF-8 and without spaces, as the SDKs write it.

    Raises:
        BadRequest: it has what JSON cannot have.

    Example:
        >>> encoded({"text": "日本", "n": 1.5}).decode()
        '{"text":"日本","n":1.5}'
    """
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as err:
        raise BadRequest(
            _("The request cannot be sent: {error}", error=err),
            _("Check the options of the request and the deployment."),
        ) from None


def _body(data: bytes) -> Any:
    text = body_texts.text_of(data)
    try:
        value, rest = json_reader.first(text)
    except ValueError:
        return text
    return text if rest else value
