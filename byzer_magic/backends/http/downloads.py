"""Downloads of what a provider refers to by URL: over http and https, and from public addresses only.

A provider chooses the URL, and a pool fetches it from inside the user's network: from there it could reach what no
provider may, such as routers, Ray's own ports and the metadata of cloud machines. The address is checked when the
connection is made, so neither a name that resolves to a private address nor a redirect leads there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from byzer_magic.backends.http import received
from byzer_magic.backends.http.errors import Unreadable
from byzer_magic.backends.http.params import CONNECT_SECONDS
from byzer_magic.backends.http.redirects import MAX_REDIRECTS, MOVED
from byzer_magic.backends.network import Network, covers
from byzer_magic.safety import urls

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

TOTAL_SECONDS = 300.0
"""How long a download may take."""
_PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """A URL that is not fetched: it is not one of the web, or its address is not public."""


@dataclass(frozen=True, slots=True)
class Downloads:
    """What one deployment may download.

    Args:
        base_url: the provider's URL: its own host and port may be private, since local servers refer to themselves.
        allowed: further hosts and networks that may be private, separated by commas, as in `no_proxy`.
        network: how requests leave the machine.
        silence: how long nothing may come, in seconds.
    """

    base_url: str
    allowed: str = ""
    network: Network = field(default_factory=Network)
    silence: float = 60.0
    only_allowed: bool = False
    """Whether nothing but the hosts in `allowed` is fetched, public or not."""

    async def fetch(self, url: str) -> bytes:
        """Return a file.

        Raises:
            Refused: it is not public, too large, or cannot be had.
            OSError: the connection failed.
            aiohttp.ClientError: it failed otherwise.
        """
        async with asyncio.timeout(TOTAL_SECONDS):
            for _ in range(MAX_REDIRECTS + 1):
                self.check(url)
                async with self._response(url) as response:
                    if response.status not in MOVED:
                        return await _body(response)
                    url = _target(url, response.headers.get("Location", ""))
        raise Refused("too many redirects")

    def check(self, url: str) -> None:
        """Check what a URL shows by itself; the rest is checked when its host is known.

        Raises:
            Refused: it is not of http or https, or its host is not public.
        """
        if not urls.web(url):
            raise Refused("not a URL of http or https")
        if self.only_allowed and not self._allows(url):
            raise Refused("not an allowed host")
        if not self.trusts(url) and not self.permits(_host(url)):
            raise Refused("not a public address")

    def trusts(self, url: str) -> bool:
        """Return whether a URL is of the provider's own server, or of a host that the deployment allows by name."""
        return _server(url) == _server(self.base_url) or self._allows(url)

    def _allows(self, url: str) -> bool:
        parts = urls.split(url)
        return covers(parts.hostname or "", parts.netloc, self.allowed)

    def permits_own(self, host: str) -> bool:
        """Return whether the name of the provider's own server may lead to a host: not to a cloud's metadata."""
        return self.permits(host) or not urls.is_link_local(host)

    def permits(self, host: str) -> bool:
        """Return whether a host, an address or a name, may be connected to."""
        found = urls.address(host)
        entries = self.allowed.replace(",", " ").split()
        listed = found is not None and any(entry == "*" or urls.in_network(found, entry) for entry in entries)
        return listed or urls.may_be_public(host)

    @asynccontextmanager
    async def _response(self, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # SDKs and clients are imported by the deployments that use them

        proxy = self.network.proxy(url)
        known = None if self._allows(url) else _resolver(self.permits_own if self.trusts(url) else self.permits)
        if proxy is not None and known is not None:
            await self._check_for_proxy(_host(url))
            known = None  # the proxy resolves the name; its own address may be private
        connector = aiohttp.TCPConnector(ssl=self.network.ssl_context(), resolver=known)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=self.silence)
        # Nothing of the deployment's own session: no key, no cookie.
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, trust_env=False, auto_decompress=False
            ) as session,
            session.get(
                url, proxy=proxy, allow_redirects=False, headers={"Accept-Encoding": received.ENCODINGS}
            ) as response,
        ):
            yield response

    async def _check_for_proxy(self, host: str) -> None:
        """Check a name that a proxy will resolve, as far as this machine can."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return  # only the proxy knows it
        if not all(self.permits(str(each[4][0])) for each in found):
            raise Refused("not a public address")


def _target(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:  # a bracket without its other half, for example
        raise Refused("redirected to no URL") from None


def _resolver(permits: Callable[[str], bool]) -> AbstractResolver:
    """Return a resolver that knows only the addresses that may be connected to."""
    from aiohttp.abc import AbstractResolver
    from aiohttp.resolver import ThreadedResolver

    class Public(AbstractResolver):
        def __init__(self) -> None:
            self._all = ThreadedResolver()

        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
            found = [each for each in await self._all.resolve(host, port, family) if permits(each["host"])]
            if not found:
                raise OSError(None, "not a public address")
            return found

        async def close(self) -> None:
            await self._all.close()

    return Public()


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if not response.ok:
        raise Refused(f"status {response.status}")
    try:
        return await received.read(response, received.BODY)
    except Unreadable as err:
        raise Refused(str(err.error)) from None


def _host(url: str) -> str:
    """Return the host that a client connects to: letters and digits of other scripts become those of ASCII."""
    from yarl import URL  # aiohttp's own

    return URL(url).raw_host or ""


def _server(url: str) -> tuple[str, int]:
    """Return host and port of a URL; the names of this machine are one."""
    parts = urls.split(url)
    host = parts.hostname or ""
    found = urls.address(host)
    local = host == "localhost" or (found is not None and found.is_loopback)
    return "localhost" if local else host, parts.port or _PORTS.get(parts.scheme, 0)
