"""Replicas of the endpoint: one that cannot serve after a restart tries again, one that is busy is not killed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.client import serving
from byzer_magic.commands.secrets import Secret
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.runtime.cluster import replicas
from byzer_magic.runtime.transport.messages import Served, ServeRequest
from tests.waiting import PATIENCE, eventually

REQUEST = ServeRequest(ServeSpec(), "key", "/keys.json", 1)


def failing(times: int) -> tuple[Any, threading.Event]:
    """Return a function that cannot start an endpoint for so many times, and an event that it sets when it can."""
    done = threading.Event()
    left = [times]

    def start(*_given: Any, **_named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise errors.ConfigError("The port is in use.")
        done.set()
        return object()

    return start, done


@pytest.mark.parametrize("restarted", [True, False])
def test_replica_tries_again_where_nobody_waits_for_its_error(monkeypatch: pytest.MonkeyPatch, restarted: bool) -> None:
    start, done = failing(3)
    monkeypatch.setattr(replicas, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(replicas, "attach_log", lambda _secrets: None)
    monkeypatch.setattr(replicas, "session_folder", lambda: Path("/tmp/ray/session_1"))
    monkeypatch.setattr(replicas, "_is_restarted", lambda: restarted)
    monkeypatch.setattr(replicas.pkgutil, "resolve_name", lambda _name: start)
    replica = replicas.Replica(ServeSpec(), Secret("key"), "/keys.json", 1, closed=True)
    assert done.wait(PATIENCE) is restarted if restarted else not done.is_set()
    assert not restarted or eventually(lambda: replica._error is None)
    assert (replica._error is None) is restarted


class Actor:
    """A replica as the controller sees it: it says something, or nothing for a while."""

    def __init__(self, says: Any) -> None:
        self.says = says
        self.served = self.stop = self

    def remote(self, *_given: Any) -> Any:
        async def answer() -> Any:
            if self.says is None:
                await asyncio.sleep(60)
            return self.says

        return answer()


@pytest.mark.parametrize(
    ("says", "words"), [(None, "does not answer now"), (Served("http://a:1", "node", 1), "http://a:1")]
)
def test_endpoint_that_runs_is_not_killed(monkeypatch: pytest.MonkeyPatch, says: Any, words: str) -> None:
    killed: list[Any] = []
    monkeypatch.setattr(replicas, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(replicas, "_actors", lambda: [Actor(says)])
    monkeypatch.setattr(replicas.ray, "kill", lambda actor, **_how: killed.append(actor))
    with pytest.raises(errors.NameTaken, match=words):
        asyncio.run(replicas.start(REQUEST))
    assert not killed


def test_replica_of_a_node_that_is_gone_is_in_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "LIST_SECONDS", 0.05)
    serves = Served("http://10.0.0.7:8000", "node", 1, replicas=3)
    monkeypatch.setattr(replicas, "_actors", lambda: [Actor(serves), Actor(None)])
    found = asyncio.run(replicas.running())
    assert [one.url for one in found] == ["http://10.0.0.7:8000", "", ""]
    assert str(serving.shown(found)) == "http://10.0.0.7:8000, 2 processes do not respond"
    assert str(serving.shown(found[:1])) == "http://10.0.0.7:8000"
    assert serving.shown([]) == ""


def test_replica_that_cannot_serve_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    failed = Served("", "node", 0, errors.to_wire(errors.ConfigError("The port is in use.")))
    monkeypatch.setattr(replicas, "_actors", lambda: [Actor(failed)])
    monkeypatch.setattr(replicas.ray, "kill", lambda actor, **_how: killed.append(actor))
    monkeypatch.setattr(replicas, "_create", lambda _request: [Actor(Served("http://a:1", "node", 1))])
    assert [served.url for served in asyncio.run(replicas.start(REQUEST))] == ["http://a:1"]
    assert len(killed) == 1
