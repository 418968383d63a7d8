"""A connection where no Ray runs: what it says, and that it starts none."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from byzer_magic.capabilities import Capability
from byzer_magic.client import connection as module
from byzer_magic.client.connection import Connection
from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect
from byzer_magic.runtime.cluster.ray_import import import_ray
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.messages import ModelIdentity
from byzer_magic.runtime.transport.protocol import Endpoint
from byzer_magic.stat import ModelStat
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def refused(connection: Connection) -> CannotConnect:
    with pytest.raises(CannotConnect) as caught:
        LOOP.run(connection.names())
    return caught.value


@pytest.mark.parametrize("value", ["", "auto", "local"])
def test_names_without_a_ray(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert refused(Connection()).message == "Ray is not running on this machine."


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("127.0.0.1:9", "Nothing is listening at 127.0.0.1:9, which RAY_ADDRESS names."),
        ("head", "RAY_ADDRESS='head' is not the address of a Ray head: it has no port."),
    ],
)
def test_names_and_reach_name_the_address_of_the_environment(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", value)
    monkeypatch.setattr(import_ray(), "is_initialized", lambda: False)  # other tests may have connected this process
    assert refused(Connection()).message == message
    with pytest.raises(CannotConnect) as caught:
        Connection().reach("m", "auto", Settings(), print)
    assert caught.value.message == message


async def test_what_is_learnt_about_a_deployment_ends_with_it() -> None:
    connection = Connection()
    assert connection.learnt("m") == set(), "there is no link yet"
    connection.keep("m", Link("m", failing, peer="one"))
    connection.learnt("m").add("no schema")
    assert connection.learnt("m") == {"no schema"}
    connection.keep("m", Link("m", failing, peer="two"))  # the deployment was replaced
    assert connection.learnt("m") == set()


class Updated:
    """A link to a deployment that is updated between the calls."""

    connected = True

    def __init__(self, *models: tuple[str, list[str]]) -> None:
        self.stats = [
            ModelStat(model="m", kind=kind, strategy="lru", capabilities=capabilities, workers=[], concurrency=1)
            for kind, capabilities in models
        ]

    async def call(self, method: str) -> ModelStat:
        assert method == "stat"
        return self.stats.pop(0)


async def test_what_is_known_of_a_deployment_follows_its_updates() -> None:
    link: Any = Updated(
        ("saas/openai", ["chat"]), ("saas/openai", ["chat"]), ("custom/bge", []), ("custom/bge", ["embed"])
    )
    connection = Connection()
    connection.keep("m", link)
    assert await connection.capabilities("m") == {Capability.CHAT}
    connection.learnt("m").add("no schema")
    assert await connection.capabilities("m") == {Capability.CHAT}
    assert connection.learnt("m") == {"no schema"}
    assert await connection.capabilities("m") == {Capability.EMBED}, "it waits until the model is loaded"
    assert connection.learnt("m") == set()


async def failing() -> Endpoint:
    raise ConnectionError


async def test_name_with_a_colon_is_an_alias_before_it_is_an_adapter() -> None:
    connection = Connection()
    for alias in ("qwen", "qwen:7b"):
        connection.keep(alias, Link(alias, failing, peer=alias))
    meant = {
        name: await connection.named(name) for name in ("qwen", "qwen:pirate", "qwen:7b", "qwen:7b:pirate", "no:x")
    }
    assert meant == {
        "qwen": ("qwen", ""), "qwen:pirate": ("qwen", "pirate"), "qwen:7b": ("qwen:7b", ""),
        "qwen:7b:pirate": ("qwen:7b", "pirate"), "no:x": ("no:x", ""),
    }  # fmt: skip
    connection.learnt("qwen:pirate").add("no schema")
    assert connection.learnt("qwen") == {"no schema"}, "it is about the deployment"


class Named:
    """A link to a deployment that says which model it is."""

    connected = True

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, method: str) -> ModelIdentity:
        assert method == "model"
        self.calls += 1
        await asyncio.sleep(0)
        return ModelIdentity(str(self.calls), "saas/openai", "m")


async def test_many_that_want_to_know_the_model_at_once_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDENTITY_SECONDS", PATIENCE)
    connection, link = Connection(), Named()
    connection.keep("m", link)  # type: ignore[arg-type]
    found = await asyncio.gather(*(connection.identity("m") for _ in range(64)))
    assert (link.calls, {identity and identity.digest for identity in found}) == (1, {"1"})
    old, new = await asyncio.gather(connection.identity("m"), connection.identity("m", time.monotonic()))
    assert (old and old.digest, new and new.digest) == ("1", "2"), "not as it was before a time"
