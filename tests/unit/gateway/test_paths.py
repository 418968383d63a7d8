"""Paths, methods and headers as clients write them: what is meant is found, what is doubtful is refused."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from byzer_magic.gateway import calls
from byzer_magic.gateway.paths import PATHS
from tests.endpoints import Running, Scripted, running
from tests.unit.gateway.test_bad_input import GOOD, answer, message_of, send
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(answer, m="custom/auto (llama_cpp)")) as found:
        yield found


def raw(endpoint: Running, head: str) -> tuple[int, str, bytes]:
    """Return the status, the headers and the body for a request that is sent as it is."""
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(f"{head}connection: close\r\n\r\n".encode())
        answered = b""
        while piece := client.recv(65536):
            answered += piece
    headers, _empty, body = answered.partition(b"\r\n\r\n")
    return int(answered.split()[1]), headers.decode(), body


@pytest.mark.parametrize(
    "path", ["/v1/models/owner/m", *(row.pattern.replace("{", "").replace("}", "") for row in PATHS)]
)
def test_other_method_of_a_path_is_told_which_it_has(endpoint: Running, path: str) -> None:
    known = {row.method for row in PATHS if re.fullmatch(re.sub(r"\{.*?\}", ".+", row.pattern), path)}
    for method in {"PUT", "PATCH", "GET", "POST", "DELETE", "OPTIONS"} - known:
        status, headers, body = raw(endpoint, f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        assert status == 405
        [allowed] = [line for line in headers.splitlines() if line.startswith("allow: ")]
        assert {*allowed.removeprefix("allow: ").split(", ")} == known
        assert path in message_of(path, body)


def test_slashes_too_many_change_no_path(endpoint: Running) -> None:
    for path in ("/v1//models", "//v1/models", "/v1/models/", "//models//"):
        status, _headers, body = raw(endpoint, f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n")
        assert (status, json.loads(body)["data"][0]["id"]) == (200, "m"), path
    body = json.dumps({"model": "m", **GOOD["/v1/chat/completions"]}).encode()
    assert send(endpoint, "/v1//chat/completions", body)[0] == 200


@pytest.mark.parametrize("name", [name.decode() for name in calls.ONCE])
def test_header_that_says_who_asks_is_there_once(endpoint: Running, name: str) -> None:
    head = "GET /v1/models HTTP/1.1\r\n" + ("" if name == "host" else "host: 127.0.0.1\r\n")
    for value in ("evil", "127.0.0.1"):
        status, _headers, body = raw(endpoint, f"{head}{name}: {value}\r\n{name}: 127.0.0.1\r\n")
        assert status == 400
        assert name in message_of("/v1", body)


def test_other_headers_may_be_there_twice(endpoint: Running) -> None:
    head = "GET /v1/models HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: a\r\naccept: b\r\n"
    assert raw(endpoint, head)[0] == 200


def test_format_that_ollama_does_not_have_is_refused(endpoint: Running) -> None:
    for path in ("/api/chat", "/api/generate"):
        for form, status in (("yaml", 400), ("json", 200), ("", 200), ({"type": "object"}, 200)):
            body = json.dumps({"model": "m", **GOOD[path], "format": form}).encode()
            assert send(endpoint, path, body)[0] == status
