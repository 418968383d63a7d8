"""Following deployments that come, go, fall silent and come back, over a real socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from byzer_magic import errors
from byzer_magic.client import follow
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Server
from byzer_magic.stat import Delta, Fleet, ModelStat, WorkerStat
from tests.waiting import PATIENCE, happens

QUIET = ModelStat(model="m", kind="saas/openai", strategy="lru", capabilities=["chat"], workers=[], concurrency=1)


class Far:
    """A pool that reports a change as often as it is set to, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.followers = 0
        self.requests = 0
        self.silent = False
        self.service = Server({"follow": self.follow}, path=folder / "m.sock", host="127.0.0.1", token="right")

    async def follow(self, _: None) -> AsyncIterator[Delta]:
        self.followers += 1
        try:
            while not self.silent:
                yield Delta(QUIET, [WorkerStat(0, 1, 1, self.requests, 0, 0.0)])
                await asyncio.sleep(0.05)
        finally:
            self.followers -= 1


class Finder:
    """Knows the deployments as a connection does, or fails to."""

    def __init__(self, far: Far) -> None:
        self.far = far
        self.found: list[str] = ["m"]
        self.error: errors.ByzerError | None = None
        self.hangs = False
        self.asked = 0

    async def names(self) -> list[str]:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.error:
            raise self.error
        return self.found

    async def open_link(self, alias: str) -> Link:
        async def find() -> protocol.Endpoint:
            return self.far.service.endpoint("node")

        return Link(alias, find)


@pytest.fixture
async def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Finder]:
    for name, seconds in {"NAMES_SECONDS": 0.05, "ASK_SECONDS": 0.3, "RETRY_SECONDS": 0.05}.items():
        monkeypatch.setattr(follow, name, seconds)
    far = Far(tmp_path)
    await far.service.start(tcp=False)
    yield Finder(far)
    far.service.stop()


async def until(fleets: AsyncIterator[Fleet], true: Callable[[Fleet], bool]) -> Fleet:
    async with asyncio.timeout(PATIENCE):
        async for fleet in fleets:
            if true(fleet):
                return fleet
    raise AssertionError("following never ends on its own")


async def test_follow_yields_a_deployment_until_it_is_removed(finder: Finder) -> None:
    async with aclosing(follow.follow(finder, None)) as fleets:
        await until(fleets, lambda fleet: "m" in fleet.models)
        finder.far.requests = 7
        await until(fleets, lambda fleet: fleet.models["m"].stat.requests == 7)
        finder.found = []
        await until(fleets, lambda fleet: not fleet.models)
    assert await happens(lambda: finder.far.followers == 0), "nothing is left behind"


async def test_follow_asks_a_silent_cluster_once_and_reports_it(finder: Finder) -> None:
    async with aclosing(follow.follow(finder, None)) as fleets:
        await until(fleets, lambda fleet: "m" in fleet.models)
        finder.hangs = True
        asked = finder.asked
        fleet = await until(fleets, lambda fleet: fleet.error == "Ray does not respond.")
        assert "m" in fleet.models, "what was there is still shown"
        await asyncio.sleep(1.0)
        assert finder.asked <= asked + 1, "each question holds a thread"


async def test_follow_survives_a_cluster_that_goes_and_comes_back(finder: Finder) -> None:
    async with aclosing(follow.follow(finder, None)) as fleets:
        await until(fleets, lambda fleet: "m" in fleet.models)
        finder.error = errors.CannotConnect("Ray is not running on this machine.")
        await until(fleets, lambda fleet: fleet.error == "Ray is not running on this machine.")
        finder.error = None
        await until(fleets, lambda fleet: not fleet.error and "m" in fleet.models)


async def test_follow_shows_the_age_of_a_silent_pool_and_follows_it_again(finder: Finder) -> None:
    async with aclosing(follow.follow(finder, "m")) as fleets:
        await until(fleets, lambda fleet: "m" in fleet.models)
        finder.far.silent = True
        await until(fleets, lambda fleet: time.monotonic() - fleet.models["m"].seen > 0.5)
        finder.far.requests = 3
        finder.far.silent = False
        await until(fleets, lambda fleet: fleet.models["m"].stat.requests == 3)


async def test_follow_reports_a_missing_alias(finder: Finder) -> None:
    async with aclosing(follow.follow(finder, "other")) as fleets:
        fleet = await until(fleets, lambda fleet: bool(fleet.error))
    assert fleet == Fleet({}, "No model is deployed as 'other'.")
