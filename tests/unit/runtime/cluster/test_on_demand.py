"""The agent that is started with its first request."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from byzer_magic.runtime.cluster.on_demand import HOST, PORT, Agent
from tests.servers.process import free_port
from tests.waiting import PATIENCE

AGENT = """
import http.server, pathlib, sys

pathlib.Path(__file__).with_suffix(".log").open("a").write("started")
port = int(dict(word.split("=") for word in sys.argv[1:])["--runtime-env-agent-port"])

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def post(port: int, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", "/get_or_create_runtime_env", body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


@pytest.fixture
def agent(tmp_path: Path, code: str) -> Iterator[Agent]:
    (script := tmp_path / "agent.py").write_text(code)
    agent = Agent([sys.executable, str(script), f"{HOST}=127.0.0.1", f"{PORT}={free_port()}"], free_port())
    agent.listen()
    yield agent
    agent.stop()


@pytest.mark.parametrize("code", [AGENT])
def test_agent_starts_with_the_first_request_and_once(agent: Agent, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    assert not log.exists()
    body = b"x" * 300_000 + b"end"
    assert post(agent.public, body) == (200, body[::-1])
    assert post(agent.public, b"two") == (200, b"owt")
    assert log.read_text() == "started"
    agent.stop()
    assert post(agent.public, b"three") == (200, b"eerht"), "one that has ended is started again"
    assert log.read_text() == "startedstarted"


@pytest.mark.parametrize("code", ["raise SystemExit(3)"])
def test_request_to_an_agent_that_fails_is_refused_with_an_answer(agent: Agent) -> None:
    assert post(agent.public, b"x" * 10_000) == (503, b"")
    assert post(agent.public, b"again") == (503, b"")
