"""Routes over deployments of which one is not reachable, one hangs, one sends nonsense, and one is slow."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

import byzer_magic as bz
from byzer_magic import errors
from byzer_magic.backends.route import KIND, PATIENCE, TO
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.routing.breaker import FAILURES
from byzer_magic.stat import ArmStat
from tests.conftest import Shell
from tests.ray.test_deploy import deploy, saas
from tests.servers.process import Process, received
from tests.waiting import eventually

pytestmark = pytest.mark.ray

LIE = b'{"choices": [{"message": {"role": "assistant", "content": 7}}], "usage": "many"'


def route(alias: str, to: str, patience: str = "2") -> DeploySpec:
    params = {TO: to, PATIENCE: patience}
    return DeploySpec(model=alias, pretrained_model_type=KIND, infer_params=params, cpus_per_worker=0.001)


def elsewhere(provider: Process, alias: str, port: int) -> DeploySpec:
    params = {"saas.base_url": f"http://127.0.0.1:{port}/v1", "saas.max_retries": "0"}
    return saas(provider, alias, infer_params=params)


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    """The port of a server that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield server.getsockname()[1]


@pytest.fixture(scope="module")
def liar() -> Iterator[int]:
    """The port of a server that answers each request with half of a wrong object, as a success."""

    def serve() -> None:
        with suppress(OSError):  # the end of the test
            while True:
                connection, _peer = server.accept()
                with connection:
                    connection.recv(65536)
                    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(LIE)}\r\n"
                    connection.sendall(head.encode() + b"connection: close\r\n\r\n" + LIE)

    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def arm(model: str, alias: str) -> ArmStat:
    return next(found for found in bz.model(model).stat().arms if found.alias == alias)


def embeds(model: str) -> bool:
    """Return whether a model makes vectors; a deployment that was left out comes back after a while."""
    try:
        return len(bz.model(model).embed("x")) > 0
    except errors.RequestError:
        return False


def test_route_goes_on_to_the_deployment_that_answers(
    manager: Manager, provider: Process, silent: int, liar: int, shell: Shell
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    for alias, port in {"gone": closed, "hangs": silent, "lies": liar}.items():
        deploy(manager, elsewhere(provider, alias, port))
    deploy(manager, saas(provider, "good"))
    deploy(manager, route("best", "gone>hangs>lies>good", patience="3"))
    result = bz.model("best").chat("hello")
    assert result.text == "Echo: hello"
    assert result.served_by == "good"
    assert [name for name, _why in result.skipped] == ["gone", "hangs", "lies"]
    assert "3 s" in str(dict(result.skipped)["hangs"])

    for _ in range(FAILURES - 1):
        bz.model("best").chat("again")
    for name in ("gone", "hangs", "lies"):
        assert (arm("best", name).requests, arm("best", name).errors) == (FAILURES, FAILURES)
        assert (arm("best", name).paused_seconds or 0) > 0
    result = bz.model("best").chat("now")
    assert all("skipped after 3 failures" in str(why) for _name, why in result.skipped)
    assert (arm("best", "hangs").requests, arm("best", "hangs").skipped) == (FAILURES, 1)
    assert (arm("best", "good").requests, arm("best", "good").errors) == (FAILURES + 1, 0)

    def listed() -> str:
        bz.model("best").chat("again")  # each try that fails doubles the time in which the others are left out
        shown = shell("alias").stdout
        assert shown.count("best") == 4
        return shown

    assert eventually(lambda: "left out: tried again in" in listed())
    counters = shell("stat", "--model", "best")
    assert json.loads(counters.stdout)["total_requests"] == [arm("best", "good").requests]
    assert "alias" in counters.stderr

    # another model may have a longer context, but an outage hides nothing, and nobody is left out for a request
    deploy(manager, route("order", "good,lies"))
    for _ in range(FAILURES):
        with pytest.raises(errors.ContextTooLong):
            bz.model("order").chat("fault:context hello")
    assert arm("order", "lies").requests == FAILURES
    assert arm("order", "good").paused_seconds is None


def test_first_token_is_where_a_request_stays_and_shares_are_kept(manager: Manager, provider: Process) -> None:
    deploy(manager, saas(provider, "a"))
    deploy(manager, saas(provider, "b"))
    deploy(manager, route("ab", "a:0.75,b:0.25"))
    served = [bz.model("ab").chat("x").served_by for _ in range(8)]
    assert (served.count("a"), served.count("b")) == (6, 2)
    assert [(found.requests, found.share) for found in bz.model("ab").stat().arms] == [(6, 0.75), (2, 0.25)]

    # what is deployed later is asked from then on, also for what nobody could do before
    deploy(manager, route("later", "vectors>b"))
    assert bz.model("later").chat("x").served_by == "b"
    with pytest.raises(errors.Unsupported, match="vectors"):
        bz.model("later").embed("x")
    deploy(manager, saas(provider, "vectors", infer_params={"saas.model": "text-embedding-3-small"}))
    assert eventually(lambda: embeds("later"))

    deploy(manager, route("one", "a>b"))
    before = received(provider)
    with pytest.raises(errors.ProviderError):
        bz.model("one").chat("fault:truncate one two three four")
    assert received(provider) == before + 1
    assert arm("one", "b").requests == 0
