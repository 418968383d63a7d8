"""Downloads of what providers refer to: from public addresses only, whatever a name or a redirect leads to."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from byzer_magic.backends.http.downloads import Downloads, Refused
from byzer_magic.backends.http.received import BODY
from byzer_magic.backends.network import Network

FILE = b"\x89PNG\r\n\x1a\nfile"


class Server:
    """A server of a user's own network; what it is asked for, and with which headers."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.moved = ""
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.headers))
        if request.path == "/moved":
            raise web.HTTPFound(self.moved)
        if request.path == "/again":
            raise web.HTTPFound("/again")
        return web.Response(body=FILE)


@pytest.fixture
async def servers() -> AsyncIterator[list[Server]]:
    made, runners = [], []
    for _ in range(2):
        server, app = Server(), web.Application()
        app.router.add_route("*", "/{path:.*}", server.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        made.append(server)
        runners.append(runner)
    yield made
    for runner in runners:
        await runner.cleanup()


def named(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Have a name resolve to an address."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **options: Any) -> Any:
        return real(address if host in (name, name.encode()) else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "ftp://e.org/a",
        "http://127.0.0.1:1/",
        "http://[::1]/",
        "http://169.254.169.254/latest",
        "http://localhost/",
        "http://2130706433/",
        "http://127.1/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://[::ffff:10.0.0.1]/",
        "http://0/",
    ],
)
async def test_urls_of_private_places_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        await Downloads("https://api.x.com/v1").fetch(url)


async def test_the_providers_own_server_may_be_private(servers: list[Server]) -> None:
    own, other = servers
    downloads = Downloads(f"{own.url}/v1")
    assert await downloads.fetch(f"{own.url}/a.png") == FILE
    assert await downloads.fetch(f"{own.url}/a.png".replace("127.0.0.1", "localhost")) == FILE
    with pytest.raises(Refused):
        await downloads.fetch(f"{other.url}/a.png")
    assert other.asked == []


async def test_a_redirect_leads_to_no_private_place(servers: list[Server]) -> None:
    own, other = servers
    downloads = Downloads(own.url)
    own.moved = f"{other.url}/a.png"
    with pytest.raises(Refused):
        await downloads.fetch(f"{own.url}/moved")
    own.moved = "ftp://127.0.0.1/a.png"
    with pytest.raises(Refused):
        await downloads.fetch(f"{own.url}/moved")
    with pytest.raises(Refused, match="redirects"):
        await downloads.fetch(f"{own.url}/again")
    own.moved = "/a.png"
    assert await downloads.fetch(f"{own.url}/moved") == FILE
    assert other.asked == []


async def test_a_name_leads_to_no_private_place(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = servers
    named(monkeypatch, "pictures.example", "127.0.0.1")
    url = other.url.replace("127.0.0.1", "pictures.example")
    with pytest.raises(aiohttp.ClientError):
        await Downloads(own.url).fetch(url)
    through = Network(proxies={"http": own.url}, sources={"http": "http_proxy"})
    with pytest.raises(Refused):
        await Downloads("https://api.x.com", network=through).fetch(url)
    assert own.asked == other.asked == []


@pytest.mark.parametrize(
    "moved", ["file:///etc/passwd", "data:text/html,x", "http://169.254.169.254/latest", "http://localhost:1/", "//[x"]
)
async def test_a_page_redirects_to_nothing_but_public_urls(servers: list[Server], moved: str) -> None:
    servers[0].moved = moved
    with pytest.raises(Refused):
        await Downloads(servers[0].url).fetch(f"{servers[0].url}/moved")


async def test_the_providers_own_name_leads_to_no_metadata(
    servers: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = servers[0].url.replace("127.0.0.1", "models.example")
    named(monkeypatch, "models.example", "127.0.0.1")
    assert await Downloads(url).fetch(f"{url}/a.png") == FILE
    named(monkeypatch, "models.example", "169.254.169.254")
    with pytest.raises(aiohttp.ClientError, match="not a public address"):
        await Downloads(url).fetch(f"{url}/a.png")


@pytest.mark.parametrize("allowed", ["*", "127.0.0.0/8", "10.0.0.0/8, 127.0.0.1", "pictures.example", "*.example"])
async def test_more_may_be_allowed(allowed: str, servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "pictures.example", "127.0.0.1")
    url = servers[0].url.replace("127.0.0.1", "pictures.example")
    assert await Downloads("https://api.x.com", allowed).fetch(f"{url}/a.png") == FILE


async def test_a_download_has_no_key(servers: list[Server]) -> None:
    await Downloads(servers[0].url.replace("//", "//me:planted@")).fetch(f"{servers[0].url}/a.png")
    assert not {"Authorization", "Cookie"} & servers[0].asked[0].keys()


async def test_a_download_is_not_larger_than_the_limit() -> None:
    async def endless(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes(BODY.size + 1))

    app = web.Application()
    app.router.add_get("/", endless)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    with pytest.raises(Refused, match="longer than 64 MiB"):
        await Downloads(url).fetch(url)
    await runner.cleanup()
