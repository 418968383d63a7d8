"""Every provider behind a real proxy and a private certificate authority, with the real SDKs."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from byzer_magic import errors
from byzer_magic.types import SpeakRequest
from tests.backends import opened
from tests.providers.test_every_provider import CASES, Case
from tests.servers import process
from tests.waiting import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of aiohttp, for the SDKs' transport

PASSWORD = "planted-proxy-password"

PROVIDERS = [case for case in CASES if case.key and case.kind not in ("saas/groq", "saas/qianwen_vl")]
"""One of each client."""


@pytest.fixture(scope="module", params=PROVIDERS, ids=[f"{case.name}-{case.params.split()[-1]}" for case in PROVIDERS])
def case(request: pytest.FixtureRequest, documented_provider: object) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def server(case: Case, serving: Callable[..., process.Process]) -> process.Process:
    return serving(case.server, case.key)


@pytest.fixture(scope="module")
def proxy() -> Iterator[process.Process]:
    """A forward proxy with a password."""
    command = [sys.executable, "-m", "proxy", "--port", "{port}", "--num-workers", "1", "--num-acceptors", "1"]
    with process.Process([*command, "--basic-auth", f"me:{PASSWORD}"], ready="/") as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def with_password(proxy: process.Process) -> str:
    return proxy.url.replace("http://", f"http://me:{PASSWORD}@")


async def answer(case: Case, url: str, environ: dict[str, str]) -> list[Any]:
    """Return the answer of the provider at `url`, deployed where these variables are set."""
    given = case.params.format(url=url, key=case.key) + f" timeout={PATIENCE} max_retries=0"
    params = {f"saas.{name}": value for name, _, value in (word.partition("=") for word in given.split())}
    backend = await opened(case.kind, params, environ=environ)
    try:
        request = case.request("hello")
        method = backend.speak if isinstance(request, SpeakRequest) else backend.chat
        async with aclosing(method(request)) as items:
            return [item async for item in items]
    finally:
        await backend.close()


async def test_requests_go_through_the_proxy_of_the_environment(
    case: Case, server: process.Process, proxy: process.Process, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(server, authority) as url:
        environ = {"HTTPS_PROXY": with_password(proxy), "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem")}
        assert await answer(case, url, environ)


async def test_requests_to_a_host_of_no_proxy_are_direct(case: Case, server: process.Process) -> None:
    dead = f"http://127.0.0.1:{process.free_port()}"
    assert await answer(case, server.url, {"http_proxy": dead, "no_proxy": "localhost, 127.0.0.0/8"})


async def test_error_of_a_proxy_names_it_and_the_variable(case: Case, server: process.Process) -> None:
    dead = f"http://me:{PASSWORD}@127.0.0.1:{process.free_port()}"
    with pytest.raises(errors.ProviderUnavailable) as caught:
        await answer(case, server.url, {"HTTP_PROXY": dead})
    text = str(caught.value)
    assert f"through the proxy {dead.replace(f'me:{PASSWORD}@', '')} (HTTP_PROXY)" in text
    assert "saas.proxy=none" in text
    assert PASSWORD not in text + repr(caught.value.details)


async def test_proxy_that_wants_another_password_is_named(
    case: Case, server: process.Process, proxy: process.Process, authority: trustme.CA
) -> None:
    async with over_tls(server, authority) as url:
        with pytest.raises(errors.ByzerError) as caught:
            await answer(case, url, {"https_proxy": proxy.url.replace("http://", "http://me:wrong-password@")})
    text = str(caught.value)
    assert "proxy" in text.lower()
    assert "407" in text
    assert "wrong-password" not in text


@asynccontextmanager
async def over_tls(server: process.Process, authority: trustme.CA) -> AsyncIterator[str]:
    """Serve what `server` serves over TLS, with a certificate of `authority`; yield the URL."""

    relays: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            relays.add(task)
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        finally:
            for each in (writer, inner_writer):
                each.close()
                with contextlib.suppress(OSError):
                    await each.wait_closed()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    listener = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield f"https://localhost:{listener.sockets[0].getsockname()[1]}"
    for task in relays:
        task.cancel()
    await asyncio.gather(*relays, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
        writer.close()


async def test_certificate_authority_of_the_environment_is_trusted(
    case: Case, server: process.Process, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with over_tls(server, authority) as url:
        assert await answer(case, url, {"SSL_CERT_FILE": str(tmp_path / "ca.pem")})


async def test_unknown_certificate_authority_is_an_error_with_the_next_step(
    case: Case, server: process.Process, authority: trustme.CA
) -> None:
    async with over_tls(server, authority) as url:
        with pytest.raises(errors.ProviderUnavailable) as caught:
            await answer(case, url, {})
    assert "TLS connection failed" in caught.value.message
    assert "saas.verify" in caught.value.hint
