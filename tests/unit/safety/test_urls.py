"""URLs of others: what may be opened, which hosts are public, and what of a URL is shown."""

from __future__ import annotations

import functools
import http.server
import ipaddress
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, strategies as st

from byzer_magic.safety import urls

SCRIPTS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript://e.org/%0aalert(1)",
    "vbscript:x",
    "data:text/html;base64,AAAA",
    "data:text/html,<script>",
    "blob:x",
    "file:///etc/passwd",
    "ftp://e.org/a.png",
    "view-source:https://e.org",
    "jav\nascript:alert(1)",
]
NO_URLS = [
    "",
    "https://",
    "https:///a",
    "//e.org/a",
    "/api/kernels",
    "\\\\e.org",
    "https:e.org",
    "https://e.org:x/",
    'https://e.org/"onerror=alert(1)',
    "https://e.org/<b>",
    "https://e.org/\x00",
]
PRIVATE = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "0x7f000001",
    "017700000001",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "[::1]",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "ff02::1",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "a.localhost",
    "metadata.google.internal",
    "nas.local",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "64:ff9b::808:808",
    "e.org",
    "xn--fiqs8s",
    "bucket.s3.amazonaws.com",
]


@pytest.mark.parametrize("url", [*SCRIPTS, *NO_URLS])
def test_web_opens_http_and_https_only(url: str) -> None:
    assert urls.web(url) == ""


@pytest.mark.parametrize("url", [*SCRIPTS, "//e.org/a", "/api/kernels", "\\\\e.org", 'https://e.org/"onerror=x'])
def test_no_element_refers_to_what_runs_or_is_elsewhere(url: str) -> None:
    assert not urls.may_refer(url)
    assert not urls.may_show(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("data:image/png;base64,AAAA", True),
        ("data:image/svg+xml;base64,AAAA", True),
        ("data:image/png,AAAA", False),
        ("data:audio/pcm;rate=16000;base64,AAAA", True),
        ("data:image/x-odd;base64,AAAA", False),
        ("mailto:a@e.org", False),
        ('data:image/png;base64,AAAA" onerror="x', False),
        ("https://e.org/a.png", True),
        ("byzer_media/a.png", True),
    ],
)
def test_sources_are_images_and_audio(url: str, shown: bool) -> None:
    assert urls.may_show(url) is shown


@given(st.text(max_size=40), st.sampled_from(["", "javascript:", "data:", "https:", "\tjava\nscript:"]))
def test_whatever_passes_has_a_harmless_scheme(text: str, start: str) -> None:
    url = start + text
    bare = "".join(character for character in url if character > " ").lower()
    if urls.web(url):
        assert bare.startswith(("http://", "https://"))
    if urls.may_refer(url):
        assert not bare.startswith(("javascript:", "data:", "vbscript:", "/", "\\"))


@pytest.mark.parametrize("host", PRIVATE)
def test_hosts_of_this_machine_and_network_are_private(host: str) -> None:
    assert not urls.may_be_public(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_hosts_of_the_internet_are_public(host: str) -> None:
    assert urls.may_be_public(host)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_like_itself(address: ipaddress.IPv4Address) -> None:
    public = urls.is_public(address)
    for inside in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert urls.is_public(ipaddress.IPv6Address(inside)) <= public, inside


@pytest.mark.parametrize(
    "url",
    [
        "https://me:SECRET@e.org/v1",
        "htps://me:SECRET@e.org",
        "me:SECRET@e.org/v1",
        "https:me:SECRET@e.org",
        "https://me:SEC/RET@e.org",
        "http:/me:SECRET@e.org",
        "https://SECRET@e.org",
        " https://me:SECRET@e.org",
    ],
)
def test_masked_shows_no_password(url: str) -> None:
    assert "SEC" not in urls.masked(url)
    assert urls.masked(url).split("@")[1] == url.split("@")[1]
    assert urls.passwords(url)


@pytest.mark.parametrize(
    "url", ["https://e.org/v1", "https://e.org:8000/@me", "e.org:80/a@b", "", "http://[::1]:8/a@b"]
)
def test_masked_leaves_urls_without_a_password(url: str) -> None:
    assert urls.masked(url) == url
    assert urls.passwords(url) == ()


@pytest.fixture
def elsewhere() -> Iterator[str]:
    class Moved(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/a.wav")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Moved)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.wav"
        server.shutdown()


def test_opened_follows_to_no_other_scheme(elsewhere: str) -> None:
    with pytest.raises(OSError, match="redirected to ftp"):
        urls.opened(elsewhere, 5)
    with pytest.raises(OSError, match="not a URL"):
        urls.opened("file:///etc/hostname", 5)
