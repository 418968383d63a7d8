"""Anything at all, at every path: never a failure of the endpoint, never silence, always the wire's own error."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic.gateway.paths import PATHS
from tests.endpoints import Running, Scripted, running
from tests.servers.audio_files import tone
from tests.unit.gateway.test_bad_input import FORM, FORMS, GOOD, JSON, POSTS, answer, form, message_of

SECONDS = 20
"""A request that is not answered by then hangs."""
REFUSED = range(400, 500)
TYPES = (
    "application/json", "text/plain", "application/json; charset=utf-16", "multipart/form-data; boundary=b", "",
    "multipart/form-data", "application/x-www-form-urlencoded", "application/octet-stream", "\xff", "a" * 5000,
)  # fmt: skip
GOOD_FORM = form(model=b"m", prompt=b"p", file_file=tone(0.1), file_image=b"\x89PNG\r\n\x1a\n")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(answer, m="custom/auto (llama_cpp)", claude="saas/claude")) as found:
        yield found


def send(
    endpoint: Running, method: str, path: str, data: bytes | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Send a request, on a connection of its own; return status, body and headers of the answer."""
    connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=SECONDS)
    try:
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), {name.lower(): value for name, value in response.getheaders()}
    finally:
        connection.close()


def check(endpoint: Running, path: str, found: tuple[int, bytes, dict[str, str]]) -> None:
    """Check that an answer is complete: what was asked for, or an error in the form of its wire."""
    status, body, headers = found
    assert headers["x-request-id"]
    if status != 200:
        assert status in REFUSED, (status, body)
        assert message_of(path, body)
        assert headers["x-should-retry"] == "false"
    assert send(endpoint, "POST", "/v1/chat/completions", RIGHT)[0] == 200


RIGHT = json.dumps({"model": "m", **GOOD["/v1/chat/completions"]}).encode()

BROKEN = st.sampled_from(
    [
        b'"\\ud800"', b'"\\u0000"', b"1e400", b"-1e400", b"NaN", b"Infinity", b"9" * 5000, b"-" + b"9" * 400,
        b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'"\xff\xfe"', b'"\xed\xa0\x80"',
        b'"\x00"', b'"' + b"a" * 70_000 + b'"', b"[" + b"0," * 60_000 + b"0]", b'{"a":1,"a":2}', b"0x10", b"",
        b'{"type":"text","text":"\\ud83d"}', '"😀\u202e\u0000"'.encode(), b"01", b"- 1", b"[1,]",
        b'{"__proto__":{}}', b"1e-5000", b"'a'", b"tru",
    ]
)  # fmt: skip
"""Values that no JSON has, or that few programs expect."""


def texts(good: dict[str, Any]) -> st.SearchStrategy[bytes]:
    """Make bodies of a valid one: values of all kinds in its fields and in others, cut off, encoded otherwise."""
    value = BROKEN | JSON.map(lambda found: json.dumps(found).encode())
    names = st.sampled_from([*good, "stream", "n", "tools", "stop", "metadata", "input", "messages", "x"]) | st.text(
        max_size=5
    )
    field = st.tuples(names.map(lambda name: json.dumps(name).encode()), value)
    fields = st.lists(field, max_size=4).map(lambda pairs: b"".join(b",%b:%b" % pair for pair in pairs))
    whole = fields.map(lambda more: json.dumps(good).encode()[:-1] + more + b"}")
    cut = st.tuples(whole, st.integers(0, 300)).map(lambda pair: pair[0][: pair[1]])
    other = st.tuples(whole, st.sampled_from(["utf-16", "utf-32"])).map(
        lambda pair: pair[0].decode("latin-1").encode(pair[1])
    )
    return whole | cut | other | st.binary(max_size=200)


@given(st.data())
def test_no_body_breaks_a_path(endpoint: Running, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([path.pattern for path in POSTS]))
    model = data.draw(st.sampled_from(["m", "claude"]))
    body = data.draw(texts({"model": model, "stream": data.draw(st.booleans()), **GOOD.get(path, {"file": "x"})}))
    kind = data.draw(st.sampled_from(TYPES[:5]))
    check(endpoint, path, send(endpoint, "POST", path, body, content_type=kind))


@given(st.data())
def test_no_form_breaks_a_path(endpoint: Running, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(FORMS))
    cuts = st.integers(0, len(GOOD_FORM))
    first, last = sorted((data.draw(cuts), data.draw(cuts)))
    body = GOOD_FORM[:first] + data.draw(st.binary(max_size=40) | BROKEN) + GOOD_FORM[last:]
    check(endpoint, path, send(endpoint, "POST", path, body, **FORM))


@pytest.mark.parametrize("kind", TYPES)
def test_types_of_content_are_judged_by_the_content(endpoint: Running, kind: str) -> None:
    for path in POSTS:
        body = GOOD_FORM if path.pattern in FORMS else json.dumps({"model": "m", **GOOD[path.pattern]}).encode()
        check(endpoint, path.pattern, send(endpoint, "POST", path.pattern, body, content_type=kind))


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND")


@pytest.mark.parametrize("method", METHODS)
def test_methods_are_answered(endpoint: Running, method: str) -> None:
    for path in PATHS:
        pattern = path.pattern.replace("{model:path}", "m").replace("{response}", "resp_x")
        status, body, headers = send(endpoint, method, pattern)
        assert headers["x-request-id"]
        if status != 200:
            assert status in REFUSED, (method, pattern, status)
            assert method == "HEAD" or message_of("/v1" if status == 404 and path.method != method else pattern, body)
    assert send(endpoint, "POST", "/v1/chat/completions", RIGHT)[0] == 200


@given(st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=60))
def test_no_path_breaks_the_endpoint(endpoint: Running, path: str) -> None:
    status, body, _headers = send(endpoint, "GET", "/" + path.encode("latin-1").decode("ascii", "ignore"))
    assert status in (200, 400, 404), body
