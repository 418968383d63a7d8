"""An endpoint that ends: answers that are not complete say so, and are in the log."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

import pytest

from byzer_magic.types import ChatChunk
from tests.endpoints import Running, Scripted, running
from tests.unit.gateway.test_bad_input import GOOD
from tests.waiting import PATIENCE


def ask(endpoint: Running, path: str, *, stream: bool) -> socket.socket:
    """Return a connection on which a request is being answered."""
    host, _colon, port = endpoint.url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)), timeout=PATIENCE)
    body = json.dumps({"model": "m", "stream": stream, **GOOD[path]}).encode()
    client.sendall(f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
    return client


def rest(client: socket.socket) -> bytes:
    with client:
        found = b""
        while piece := client.recv(65536):
            found += piece
    return found


def test_answers_that_are_not_complete_end_with_an_error(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(_alias: str, _request: Any) -> Any:
        return [ChatChunk("begun "), asyncio.sleep(600), ChatChunk("never")]

    paths = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/v1/completions")
    asked: list[tuple[bool, socket.socket]] = []
    with running(Scripted(slow)) as endpoint:
        for stream in (True, False):
            asked += [(stream, ask(endpoint, path, stream=stream)) for path in paths]
        endpoint.until(lambda: endpoint.scripted.open == len(asked))
        monkeypatch.setattr(logging.getLogger("byzer_magic.gateway"), "propagate", True)
        caplog.set_level(logging.INFO, "byzer_magic.gateway")
    for stream, client in asked:
        said = rest(client)
        assert b"The endpoint is ending" in said
        assert (said.split()[1] == b"200") is stream
        assert stream or b"503" in said.split(b"\r\n")[0]
    lines = {line for line in caplog.messages if line.endswith(" Ending")}
    assert len(lines) == len(asked)
