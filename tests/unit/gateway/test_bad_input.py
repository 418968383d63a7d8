"""What clients send by mistake or on purpose: the wire's own error, and nothing lost for others."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic.gateway import bodies, calls, connections, server
from byzer_magic.gateway.access import Access
from byzer_magic.gateway.keys import KeyFile
from byzer_magic.gateway.metrics import Metrics
from byzer_magic.gateway.paths import PATHS
from byzer_magic.types import (
    AudioChunk,
    ChatChunk,
    EmbeddingBatch,
    EmbedRequest,
    ImageItem,
    ImageRequest,
    Ranking,
    Request,
    RerankRequest,
    SpeakRequest,
    TranscribeRequest,
    TranscriptChunk,
    Usage,
)
from tests.clock import simulated
from tests.endpoints import Running, Scripted, echo, running
from tests.servers.audio_files import tone
from tests.waiting import PATIENCE, happens

POSTS = [path for path in PATHS if path.method == "POST" and "{" not in path.pattern]
FORMS = ("/v1/audio/transcriptions", "/v1/audio/translations", "/v1/images/edits")
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/audio/speech": {"input": "hi"},
    "/v1/images/generations": {"prompt": "hi"},
    "/v1/rerank": {"query": "hi", "documents": ["a"]},
    "/rerank": {"query": "hi", "documents": ["a"]},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/api/chat": {"messages": [{"role": "user", "content": "hi"}]},
    "/api/generate": {"prompt": "hi"},
    "/api/embed": {"input": "hi"},
}
"""A valid body for each path, but for its model."""
CHATS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat")


def answer(alias: str, request: Request) -> Any:
    match request:
        case EmbedRequest():
            return [EmbeddingBatch(0, 1, b"\0\0\0\0" * len(request.texts))]
        case RerankRequest():
            return [Ranking([(index, 0.5) for index in range(len(request.documents))])]
        case SpeakRequest():
            return [AudioChunk(b"ID3", "audio/mpeg")]
        case ImageRequest():
            return [ImageItem("image/png", b"png")]
        case TranscribeRequest():
            return [TranscriptChunk("hello")]
    return echo(alias, request)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Running]:
    with running(Scripted(answer, m="custom/auto (llama_cpp)")) as found:
        yield found


def send(endpoint: Running, path: str, data: bytes, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        connection.request("POST", path, data, {"content-type": "application/json", **headers})
        response = connection.getresponse()
        return response.status, response.read(), dict(response.getheaders())
    finally:
        connection.close()


def message_of(path: str, body: bytes) -> str:
    """Return the message of an error in the form of the wire that a path belongs to."""
    found = json.loads(body)
    if path.startswith("/api/"):
        return str(found["error"])
    if path.startswith("/v1/messages"):
        assert found["type"] == "error"
        assert found["error"]["type"]
        return str(found["error"]["message"])
    assert found["error"].keys() == {"message", "type", "param", "code"}
    return str(found["error"]["message"])


def test_every_path_answers_what_is_right(endpoint: Running) -> None:
    for path in POSTS:
        if path.pattern not in FORMS:
            body = json.dumps({"model": "m", "stream": False, **GOOD[path.pattern]}).encode()
            status, data, _headers = send(endpoint, path.pattern, body)
            assert status == 200, (path.pattern, data)


@pytest.mark.parametrize("path", [path.pattern for path in POSTS])
@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"model": "\\ud800"}', b"[" * 5000, b'{"a":' * 5000, b"{}"],
)
def test_body_that_is_none_is_refused(endpoint: Running, path: str, data: bytes) -> None:
    status, body, headers = send(endpoint, path, data)
    assert status == 400
    assert message_of(path, body)
    assert headers["x-request-id"].startswith("req_")
    assert headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", list(GOOD))
def test_fields_of_the_wrong_type_are_named(endpoint: Running, path: str) -> None:
    for name in ("model", *GOOD[path]):
        for wrong in (None, [[]], {"x": 1}, 1.5, True):
            body = {"model": "m", **GOOD[path], name: wrong}
            status, data, _headers = send(endpoint, path, json.dumps(body).encode())
            assert status in (400, 404), (path, name, wrong, data)
            assert message_of(path, data)


@pytest.mark.parametrize("path", list(GOOD))
def test_unknown_model_is_the_wires_own_error(endpoint: Running, path: str) -> None:
    status, data, _headers = send(endpoint, path, json.dumps({"model": "mm", **GOOD[path]}).encode())
    assert status == 404
    assert "Did you mean m?" in message_of(path, data)


OWN = {
    "extra_headers", "extra_body", "extra_query", "messages", "prompt", "input", "query", "documents", "texts", "image",
    "images", "file", "stream", "stream_options", "n", "best_of",
}  # fmt: skip
"""What backends send themselves, or take from Python callers only."""


@pytest.mark.parametrize("path", list(GOOD))
@pytest.mark.parametrize("other", [{"Authorization": "x"}, "OTHER", 2])
def test_fields_of_our_own_requests_are_never_a_clients(endpoint: Running, path: str, other: Any) -> None:
    for name in OWN - set(GOOD[path]):
        endpoint.scripted.asked.clear()
        body = {"model": "m", **GOOD[path], name: other}
        status, data, _headers = send(endpoint, path, json.dumps(body).encode())
        assert status in (200, 400), (path, name, data)
        if status == 400:
            assert name in message_of(path, data)
        for _alias, request in endpoint.scripted.asked:
            counted = path in ("/v1/chat/completions", "/v1/images/generations")  # n answers count as n requests there
            assert counted or not OWN & set(request.options), (path, name)
            assert "OTHER" not in repr(request), (path, name)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/images/generations"])
def test_several_answers_count_as_several_requests(
    endpoint: Running, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    key = keys.add("alice", requests_per_minute=5)
    monkeypatch.setattr(endpoint.gateway, "access", Access(keys=keys))
    for count, expected in ((6, 400), (4, 200), (2, 429)):
        body = {"model": "m", **GOOD[path], "n": count}
        status, data, _headers = send(endpoint, path, json.dumps(body).encode(), authorization=f"Bearer {key}")
        assert status == expected, data
        assert expected == 200 or message_of(path, data)


def test_what_openai_keeps_is_refused(endpoint: Running) -> None:
    for name, value in (("background", True), ("conversation", "conv_1"), ("prompt", {"id": "pmpt_1"})):
        body = {"model": "m", "input": "hi", name: value}
        status, data, _headers = send(endpoint, "/v1/responses", json.dumps(body).encode())
        assert status == 400, (name, data)
        assert json.loads(data)["error"]["param"] == name
    status, data, _headers = send(endpoint, "/v1/completions", b'{"model": "m", "prompt": "a", "suffix": "z"}')
    assert status == 400, data


@pytest.mark.parametrize("path", CHATS)
def test_tokens_that_nobody_reports_are_in_the_metrics(
    endpoint: Running, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    metrics = Metrics()
    monkeypatch.setattr(endpoint.gateway, "metrics", metrics)
    monkeypatch.setattr(endpoint.scripted, "answer", lambda _alias, _request: [ChatChunk("x" * 40, finish="stop")])
    status, data, _headers = send(endpoint, path, json.dumps({"model": "m", **GOOD[path]}).encode())
    assert status == 200, data
    shown = b'byzer_tokens_total{key="",kind="completion",model="m"} 10.0'
    endpoint.until(lambda: shown in metrics.text([]))


def test_negative_counts_of_a_provider_are_none(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = endpoint.gateway.metrics
    monkeypatch.setattr(
        endpoint.scripted, "answer", lambda _alias, _request: [ChatChunk("hi", finish="stop", usage=Usage(-3, -1))]
    )
    for path in CHATS:
        status, data, _headers = send(
            endpoint, path, json.dumps({"model": "m", "stream": False, **GOOD[path]}).encode()
        )
        assert status == 200, data
        assert b":-" not in data, path
    ended: list[Any] = []

    def broken(call: Any) -> None:
        ended.append(call.path)
        raise ValueError

    monkeypatch.setattr(metrics, "ended", broken)
    assert send(endpoint, CHATS[0], json.dumps({"model": "m", **GOOD[CHATS[0]]}).encode())[0] == 200
    endpoint.until(lambda: CHATS[0] in ended)
    assert send(endpoint, CHATS[0], json.dumps({"model": "m", **GOOD[CHATS[0]]}).encode())[0] == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


@given(st.data())
def test_no_json_breaks_the_endpoint(endpoint: Running, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(GOOD)))
    good = {"model": "m", **GOOD[path]}
    names = st.sampled_from(
        [*good, "tools", "tool_choice", "stop", "n", "stream", "system", "text", "reasoning", "format"]
    )
    wrong = data.draw(st.dictionaries(names, JSON, min_size=1, max_size=3))
    status, body, _headers = send(endpoint, path, json.dumps({**good, **wrong}).encode())
    assert status in (200, 400, 404), (path, wrong, body)
    if status != 200:
        assert message_of(path, body)


def test_unknown_paths_are_errors(endpoint: Running) -> None:
    for method, path in (
        ("POST", "/v1/nothing"),
        ("PUT", "/"),
    ):
        connection = http.client.HTTPConnection(endpoint.url.removeprefix("http://"), timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            assert response.status == 404, (method, path)
            assert "does not exist here" in message_of("/v1", response.read())
        finally:
            connection.close()


# ---- sizes and times


def test_body_over_the_limit_is_refused_unread(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BYTES", 1000)
    status, data, headers = send(endpoint, "/v1/chat/completions", b"x" * 2000)
    assert status == 413
    assert message_of("/v1/chat/completions", data)
    assert headers["connection"] == "close"


def test_body_over_the_limit_without_a_length_is_refused(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MAX_BYTES", 1000)
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        head = f"POST /v1/messages HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n"
        client.sendall(head.encode())
        with contextlib.suppress(ConnectionError):
            for _number in range(1000):  # far more than the connection's buffers hold: it need not be read to its end
                client.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
        answered = b""
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(10_000):
                answered += piece
    assert b" 413 " in answered.splitlines()[0]
    assert message_of("/v1/messages", answered.partition(b"\r\n\r\n")[2])
    body = json.dumps({"model": "m", **GOOD["/v1/messages/count_tokens"]}).encode()
    assert send(endpoint, "/v1/messages/count_tokens", body)[0] == 200


def test_bodies_of_all_requests_are_bounded(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint.gateway, "held", bodies.Held(100))
    status, data, headers = send(endpoint, "/v1/chat/completions", b"x" * 2000)
    assert status == 503
    assert message_of("/v1/chat/completions", data)
    assert headers["retry-after"] == "1"
    assert send(endpoint, "/v1/chat/completions", b"x" * 50)[0] == 400


def test_slow_body_ends_after_a_while(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.2)
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: 100\r\n\r\n{{"
        client.sendall(head.encode())
        assert b" 408 " in client.recv(1000).splitlines()[0]


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HT", b"GET /health HTTP/1.1\r\nhost: a\r\nx-a: "])
def test_headers_that_do_not_end_close_the_connection(
    endpoint: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.2)
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(sent)
        assert client.recv(1000) == b""
    monkeypatch.setattr(connections, "HEADERS_SECONDS", PATIENCE)
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        answered = b""
        while b'"ok"' not in answered:
            answered += (part := client.recv(1000))
            assert part
        monkeypatch.setattr(connections, "HEADERS_SECONDS", 0.2)
        client.sendall(sent or b"G")
        assert client.recv(1000) == b""


def test_trailers_that_do_not_end_close_the_connection(endpoint: Running) -> None:
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as client, contextlib.suppress(ConnectionError):
        client.sendall(f"POST /nowhere HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        client.sendall(b"1\r\nx\r\n0\r\nx-a: ")
        sent = 0
        while sent < 100 * connections.HEADER_BYTES:
            sent += client.send(b"b" * 1000)
    assert sent < 100 * connections.HEADER_BYTES


def test_client_that_leaves_stops_the_answer(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (True, False):
        monkeypatch.setattr(
            endpoint.scripted, "answer", lambda _alias, _request: [ChatChunk("a "), asyncio.sleep(600), ChatChunk("b")]
        )
        host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
            body = json.dumps({"model": "m", **GOOD["/v1/chat/completions"], "stream": stream}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            endpoint.until(lambda: endpoint.scripted.open == 1)
        endpoint.until(lambda: endpoint.scripted.open == 0)


def test_silent_stream_gets_signs_of_life(endpoint: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "QUIET_SECONDS", 0.05)
    heard = {"/v1/chat/completions": False, "/v1/messages": False}
    for path, sign in (("/v1/chat/completions", b": keep-alive\n"), ("/v1/messages", b"event: ping\n")):
        until_heard = happens(lambda path=path: heard[path])  # type: ignore[misc]
        monkeypatch.setattr(
            endpoint.scripted, "answer", lambda *_asked, first=until_heard: [first, ChatChunk("late", finish="stop")]
        )
        body = json.dumps({"model": "m", **GOOD[path], "stream": True}).encode()
        request = urllib.request.Request(endpoint.url + path, body, {"content-type": "application/json"})
        lines: list[bytes] = []
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            for line in response:
                lines.append(line)
                heard[path] = lines.count(sign) > 1
        data = b"".join(lines)
        assert data.index(sign) < data.index(b"late")
        assert path != "/v1/chat/completions" or data.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("quiet", [0.05, 15.0], ids=["with a sign of life", "without"])
@pytest.mark.parametrize("stream", [True, False])
def test_client_that_never_reads_is_given_up(
    endpoint: Running, monkeypatch: pytest.MonkeyPatch, quiet: float, stream: bool
) -> None:
    monkeypatch.setattr(calls, "QUIET_SECONDS", quiet)
    monkeypatch.setattr(connections, "STUCK_SECONDS", 0.4)

    def large(_alias: str, _request: Request) -> Iterator[Any]:
        for _number in range(3):
            yield ChatChunk("x" * 10_000_000)
            yield asyncio.sleep(0.2)  # a sign of life is due, and the buffers are full

    monkeypatch.setattr(endpoint.scripted, "answer", large)
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect((host, int(port)))
        body = json.dumps({"model": "m", **GOOD["/v1/chat/completions"], "stream": stream}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        before = len(endpoint.scripted.asked)
        client.sendall(head.encode() + body)
        endpoint.until(lambda: len(endpoint.scripted.asked) > before)
        other = json.dumps({"model": "m", **GOOD["/v1/messages/count_tokens"]}).encode()
        assert send(endpoint, "/v1/messages/count_tokens", other)[0] == 200
        endpoint.until(lambda: endpoint.scripted.open == 0)
        endpoint.until(lambda: client.getsockname() not in endpoint.clients)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: " + b"a" * 300_000,
        b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x-a: a\r\n" * 30_000,
        b"GET /" + b"a" * 300_000,
        b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"x-a: aaaaaa\r\n" * 10_000 + b"\r\n",
    ],
    ids=["a long one", "many", "the path", "a complete one", "complete ones"],
)
def test_headers_have_an_end(endpoint: Running, sent: bytes) -> None:
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    for pieces in (1, 50):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
            with contextlib.suppress(ConnectionError):
                for start in range(0, len(sent), len(sent) // pieces):
                    client.sendall(sent[start : start + len(sent) // pieces])
            with contextlib.suppress(ConnectionResetError):
                assert b" 400 " in (client.recv(1000).splitlines() or [b" 400 "])[0]
                while client.recv(1000):
                    pass


def test_a_thousand_connections_are_accepted(endpoint: Running) -> None:
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    idle = []
    try:
        while len(idle) < 1000:
            idle.append(socket.create_connection((host, int(port)), timeout=PATIENCE))
        body = json.dumps({"model": "m", **GOOD["/v1/chat/completions"]}).encode()
        assert send(endpoint, "/v1/chat/completions", body)[0] == 200
    finally:
        for one in idle:
            one.close()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"--b\r\n", b"--b--\r\n",
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n--b--\r\n',
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nnot audio\r\n--b--\r\n',
        b"--b\r\ncontent-disposition: form-data\r\n\r\nm\r\n--b--\r\n",
        b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nm\r\n' * 200 + b"--b--\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", FORMS)
def test_forms_that_are_none_are_refused(endpoint: Running, path: str, data: bytes) -> None:
    status, body, _headers = send(endpoint, path, data, **{"content-type": "multipart/form-data; boundary=b"})
    assert status == 400
    assert message_of(path, body)


def test_form_without_a_boundary_is_refused(endpoint: Running) -> None:
    assert send(endpoint, FORMS[0], b"x", **{"content-type": "multipart/form-data"})[0] == 400


def test_answers_do_not_wait_for_the_clients_acknowledgement(endpoint: Running) -> None:
    listening = server.listen("127.0.0.1", 0)
    with listening, socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def form(**fields: bytes) -> bytes:
    """Return a form; a field whose name begins with `file_` is a file."""
    parts = []
    for name, value in fields.items():
        file = b'; filename="a"' if name.startswith("file_") else b""
        disposition = b'content-disposition: form-data; name="%s"%s' % (name.removeprefix("file_").encode(), file)
        parts.append(b"--b\r\n%s\r\n\r\n%s\r\n" % (disposition, value))
    return b"".join([*parts, b"--b--\r\n"])


FORM = {"content-type": "multipart/form-data; boundary=b"}


def test_texts_of_forms_stay_texts(endpoint: Running) -> None:
    data = form(model=b"m", prompt=b"2024", language=b"true", temperature=b"0.5", file_file=tone(0.1))
    assert send(endpoint, "/v1/audio/transcriptions", data, **FORM)[0] == 200
    options = endpoint.scripted.asked[-1][1].options
    assert options == {**options, "prompt": "2024", "language": "true", "temperature": 0.5}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"extra_headers": b"x"}, "extra_headers"), ({"extra_body[]": b"x"}, "extra_body"),
        ({"temperature": b"warm"}, "temperature"),
    ],
)  # fmt: skip
def test_fields_of_forms_that_no_client_may_set(endpoint: Running, fields: dict[str, bytes], words: str) -> None:
    data = form(model=b"m", file_file=tone(0.1), **fields)
    status, body, _headers = send(endpoint, "/v1/audio/transcriptions", data, **FORM)
    assert status == 400
    assert words in message_of("/v1", body)


def test_mask_is_refused(endpoint: Running) -> None:
    data = form(model=b"m", prompt=b"p", file_image=b"png", file_mask=b"png")
    status, body, _headers = send(endpoint, "/v1/images/edits", data, **FORM)
    assert status == 400
    assert "mask" in message_of("/v1", body)


def test_format_of_embeddings_may_be_null(endpoint: Running) -> None:
    body = {"model": "m", "input": "hi", "encoding_format": None}
    assert send(endpoint, "/v1/embeddings", json.dumps(body).encode())[0] == 200


def test_large_bodies_and_long_conversations_are_bounded(endpoint: Running) -> None:
    turn = {"role": "user", "content": "x"}
    for body, status in (
        ({"model": "m", "messages": [turn] * 10_001}, 400),
        ({"model": "m", "messages": [turn], "x": [[]] * 600_000}, 400),
        ({"model": "m", "messages": [{"role": "user", "content": "x" * 2_000_000}]}, 200),
    ):
        assert send(endpoint, "/v1/chat/completions", json.dumps(body).encode())[0] == status


@simulated
async def test_body_that_arrives_slowly_is_read() -> None:
    parts = [b"part "] * 6

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.9 * bodies.READ_SECONDS)  # longer than the limit in all
        return {"type": "http.request", "body": parts.pop(), "more_body": bool(parts)}

    assert await bodies.read(receive, b"", lambda _count: None) == b"part " * 6
