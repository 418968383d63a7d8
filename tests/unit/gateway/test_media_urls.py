"""What models of the cluster get of images and audio that requests name by URL."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest

from byzer_magic.backends.http import downloads
from byzer_magic.gateway import media_urls
from byzer_magic.gateway.access import Access
from byzer_magic.gateway.keys import KeyFile
from byzer_magic.gateway.media_urls import MediaUrls
from byzer_magic.types import ChatRequest, Media
from tests.endpoints import Running, Scripted, running
from tests.waiting import PATIENCE

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
KINDS = {"llama": "custom/auto (llama_cpp)", "gpt": "saas/openai"}


class Files(BaseHTTPRequestHandler):
    """A server of images in the endpoint's own network; `/moved/URL` leads there."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        moved = self.path.removeprefix("/moved/")
        self.send_response(200 if moved == self.path else 302)
        if moved != self.path:
            self.send_header("Location", moved)
        self.end_headers()
        if moved == self.path:
            self.wfile.write(b"no image" if "text" in self.path else PNG)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def files() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


Serving = Callable[..., Running]


@pytest.fixture
def serving() -> Iterator[Serving]:
    with ExitStack() as stack:
        yield lambda allowed, access=None: stack.enter_context(
            running(Scripted(**KINDS), access, media=MediaUrls(allowed))
        )


def ask(endpoint: Running, *urls: str, model: str = "llama", path: str = "/v1/chat/completions", key: str = "") -> str:
    """Ask about images; return the message of the error, or nothing."""
    if path == "/v1/messages":
        parts: list[Any] = [{"type": "image", "source": {"type": "url", "url": url}} for url in urls]
    elif path == "/v1/responses":
        parts = [{"type": "input_image", "image_url": url} for url in urls]
    else:
        parts = [{"type": "image_url", "image_url": {"url": url, "detail": "low"}} for url in urls]
    turns = [{"role": "user", "content": parts}]
    body = {"model": model, "max_tokens": 5, "messages": turns}
    if path == "/v1/responses":
        body = {"model": model, "input": turns}
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(endpoint.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE):
            return ""
    except urllib.error.HTTPError as err:
        with err:
            assert err.code == 400
            return str(json.load(err)["error"]["message"])


def got(endpoint: Running) -> list[Any]:
    request = endpoint.scripted.asked[-1][1]
    assert isinstance(request, ChatRequest)
    content = request.messages[-1].content
    assert isinstance(content, list)
    return content


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_allowed_hosts_are_fetched_and_models_get_the_data(serving: Serving, files: str, path: str) -> None:
    endpoint = serving(["127.0.0.1"])
    assert ask(endpoint, f"{files}/a.png", f"{files}/b.png", f"{files}/a.png", path=path) == ""
    images = got(endpoint)
    assert [(image.data, image.url, image.mime) for image in images] == [(PNG, "", "image/png")] * 3


def test_same_url_is_fetched_once_and_its_detail_is_kept(serving: Serving, files: str) -> None:
    endpoint = serving(["127.0.0.0/8"])
    Files.asked.clear()
    assert ask(endpoint, f"{files}/a.png", f"{files}/a.png") == ""
    assert Files.asked == ["/a.png"]
    assert [image.detail for image in got(endpoint)] == ["low", "low"]


PRIVATE = [
    "http://127.0.0.1:8265/api/jobs/", "http://localhost/a.png", "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/a.png", "http://192.168.1.1/a.png", "http://[::1]/a.png", "http://[fe80::1]/a.png",
    "http://0x7f.1/a.png", "http://2130706433/a.png", "http://metadata.google.internal/a.png",
]  # fmt: skip
OTHERS = ["file:///etc/passwd", "/etc/passwd", "ftp://e.org/a.png", "http://", "gopher://e.org", "javascript:1"]


@pytest.mark.parametrize("allowed", [None, ["*"], ["e.org"], ["*", "e.org"]], ids=["default", "all", "one", "both"])
def test_private_places_and_other_schemes_are_refused(serving: Serving, allowed: list[str] | None) -> None:
    endpoint = serving(allowed)
    for url in (*PRIVATE, *OTHERS):
        assert "cannot be fetched" in ask(endpoint, url), url
    assert endpoint.scripted.asked == []


def test_other_hosts_are_refused_once_hosts_are_named(serving: Serving, files: str) -> None:
    endpoint = serving(["127.0.0.1"])
    for url in ("https://e.org/a.png", f"{files}/moved/https://e.org/a.png"):
        assert "not an allowed host" in ask(endpoint, url)


def test_redirects_lead_to_no_private_place(serving: Serving, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = serving(["127.0.0.1", "*"])
    assert "not a public address" in ask(endpoint, f"{files}/moved/http://10.0.0.1/a.png")


def test_name_that_leads_to_a_private_address_is_refused(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    import aiohttp.resolver

    async def everywhere(_self: Any, host: str, port: int = 0, family: Any = None) -> Any:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    monkeypatch.setattr(aiohttp.resolver.ThreadedResolver, "resolve", everywhere)
    assert "not a public address" in ask(serving(None), "http://rebind.e.org/a.png")


def test_what_is_no_image_is_an_error(serving: Serving, files: str) -> None:
    assert "image" in ask(serving(["127.0.0.1"]), f"{files}/text")


def test_made_keys_may_use_urls_only_where_hosts_are_named(serving: Serving, files: str, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    made = keys.add("alice")
    default, named = (serving(allowed, Access("planted-master-81", keys)) for allowed in (None, ["127.0.0.1"]))
    assert "--allowed_media_domains" in ask(default, f"{files}/a.png", key=made)
    assert "not a public address" in ask(default, f"{files}/a.png", key="planted-master-81")
    assert ask(named, f"{files}/a.png", key=made) == ""
    assert default.scripted.asked == []


def test_providers_fetch_themselves(serving: Serving) -> None:
    endpoint = serving(None)
    assert ask(endpoint, "http://10.0.0.1/a.png", model="gpt") == ""
    assert "10.0.0.1" in str(got(endpoint))


def test_urls_are_bounded(serving: Serving, files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = serving(["127.0.0.1"])
    many = [f"{files}/{number}.png" for number in range(media_urls.MOST + 1)]
    Files.asked.clear()
    assert "URLs" in ask(endpoint, *many)
    assert Files.asked == []
    monkeypatch.setattr(downloads.received, "BODY", downloads.received.Limit(10))
    assert "cannot be fetched" in ask(endpoint, f"{files}/a.png")


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "http://10.0.0.1/a.mp4"}},
        {"type": "audio_url", "audio_url": "http://10.0.0.1/a.wav"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "video_url": "http://10.0.0.1/a"},
    ],
)
def test_every_url_of_a_part_counts(part: dict[str, Any]) -> None:
    assert len(media_urls.urls_of(part)) == 1
    assert media_urls.urls_of(Media("image", url="http://e.org/a.png")) == ["http://e.org/a.png"]
