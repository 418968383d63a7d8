"""Who sleeps so that another model can be loaded: by generated cases, and by a clock of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic.commands.spec import DeploySpec
from byzer_magic.runtime import making_room
from byzer_magic.runtime.making_room import Rooms
from byzer_magic.runtime.room import AWAKE_SECONDS, TURN_SECONDS, Amount, Awake, Steps, steps
from byzer_magic.stat import ModelStat, WorkerStat
from byzer_magic.types import Loading


def one(alias: str, unused: float = 60, loaded: float = 60, *, busy: bool = False, **takes: float) -> Awake:
    return Awake(alias=alias, takes=Amount(**(takes or {"cpus": 1})), unused=unused, loaded=loaded, busy=busy)


@pytest.mark.parametrize(
    ("short", "awake", "chosen"),
    [
        (Amount(cpus=1), [one("new", 10), one("old", 60)], ["old"]),
        (Amount(cpus=2), [one("new", 10), one("old", 60)], ["old", "new"]),
        (Amount(cpus=3), [one("new", 10), one("old", 60)], None),
        (Amount(cpus=1), [], None),
        (Amount(cpus=1), [one("busy", 60, TURN_SECONDS - 1, busy=True)], []),
        (Amount(cpus=1), [one("busy", 60, TURN_SECONDS, busy=True)], ["busy"]),
        (Amount(cpus=1), [one("just", 60, AWAKE_SECONDS - 1)], []),
        (Amount(cpus=1), [one("busy", 90, busy=True), one("free", 5)], ["free"]),
        (Amount(gpus=1), [one("cpu", 60), one("gpu", 5, gpus=1)], ["gpu"]),
        (Amount(gpus=2), [one("small", 60, gpus=1), one("large", 5, gpus=2)], ["large"]),
        (Amount(memory=5e9), [one("a", 60, memory=4e9), one("b", 50, memory=4e9)], ["a", "b"]),
    ],
)
def test_those_unused_for_longest_sleep_and_no_more_than_needed(
    short: Amount, awake: list[Awake], chosen: list[str] | None
) -> None:
    found = steps(short, awake)
    assert (None if found is None else found.sleep) == chosen


def test_spare_workers_go_before_a_model_in_use_sleeps_but_not_for_one_more_worker_of_another() -> None:
    grown = replace(one("grown", busy=True, cpus=3), spare=Amount(cpus=2))
    assert steps(Amount(cpus=1), [grown]) == Steps(shrink=["grown"])
    assert steps(Amount(cpus=3), [grown]) == Steps(sleep=["grown"])
    assert steps(Amount(cpus=1), [grown], waits=False) == Steps()
    assert steps(Amount(cpus=1), [grown, one("free", 5)], waits=False) == Steps(sleep=["free"])
    never = replace(grown, takes=Amount())  # it may not sleep
    assert steps(Amount(cpus=2), [never]) == Steps(shrink=["grown"])
    assert steps(Amount(cpus=3), [never]) is None


awakes = st.lists(
    st.builds(
        lambda unused, loaded, busy, cpus, gpus: one("", unused, loaded, busy=busy, cpus=cpus, gpus=gpus),
        st.floats(0, 1e5),
        st.sampled_from([0.0, AWAKE_SECONDS, TURN_SECONDS]),
        st.booleans(),
        st.integers(0, 3),
        st.integers(0, 2),
    ),
    max_size=7,
).map(lambda found: [replace(item, alias=str(place)) for place, item in enumerate(found)])


@given(awakes, st.builds(Amount, cpus=st.integers(0, 5), gpus=st.integers(0, 3)), st.booleans())
def test_what_sleeps_is_enough_needed_and_had_its_time(awake: list[Awake], short: Amount, waits: bool) -> None:
    found = steps(short, awake, waits=waits)
    by_alias = {item.alias: item for item in awake}

    def left(aliases: Sequence[str]) -> Amount:
        rest = short
        for alias in aliases:
            rest = rest.minus(by_alias[alias].takes)
        return rest

    if found is None:
        assert left([*by_alias])
        return
    chosen = found.sleep
    assert all(by_alias[alias].may_sleep for alias in chosen)
    assert waits or not any(by_alias[alias].busy for alias in chosen)
    assert not chosen or not left(chosen)
    for alias in chosen:
        assert left([other for other in chosen if other != alias])


class House:
    """Deployments with one CPU each on a machine that has one, and a clock."""

    def __init__(self, *aliases: str) -> None:
        self.now = 0.0
        self.used = dict.fromkeys(aliases, 0.0)
        self.awake: set[str] = set()
        self.busy: set[str] = set()
        self.slept: list[str] = []
        self.waited: list[str] = []
        self.rooms = Rooms(self.stats, self.specs, self.sleep, self.shrink, self.free, lambda: self.now)

    def specs(self) -> dict[str, DeploySpec]:
        return {
            alias: DeploySpec(model=alias, model_path="/models/m", cpus_per_worker=1.0, idle=600.0)
            for alias in self.used
        }

    async def stats(self) -> list[ModelStat]:
        return [
            ModelStat(
                model=alias, kind="", strategy="lru", capabilities=[], concurrency=1,
                workers=[
                    WorkerStat(
                        0, free=0 if alias in self.busy else 1, limit=1, requests=0, errors=0,
                        idle_seconds=self.now - used, health="up" if alias in self.awake else "asleep",
                    )
                ],
            )
            for alias, used in self.used.items()
        ]  # fmt: skip

    async def sleep(self, alias: str, _why: Any, *, finish: bool) -> None:
        assert finish == (alias in self.busy)
        self.awake.discard(alias)
        self.slept.append(alias)

    async def shrink(self, alias: str, workers: int, why: Any) -> None:
        raise NotImplementedError

    def free(self) -> Amount:
        return Amount(cpus=1.0 - len(self.awake))

    async def load(self, alias: str, seconds: float = 0.0) -> None:
        """Load a model that takes so long."""
        async with aclosing(self.rooms.enter(alias, self.specs()[alias])) as events:
            async for event in events:
                if not isinstance(event, Loading):
                    break
                self.waited.append(str(event.stage))
            self.now += seconds
            self.awake.add(alias)
            self.used[alias] = self.now

    async def until_it_waits(self) -> None:
        """Return once a model waits for room."""
        async with asyncio.timeout(60):
            while not self.waited:
                await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making_room, "LOOK_SECONDS", 0.001)


async def test_model_that_wakes_gets_the_room_of_the_one_that_was_unused_for_longest() -> None:
    house = House("a", "b")
    await house.load("a")
    house.now += 100
    await house.load("b")
    assert not house.waited
    assert house.slept == ["a"]
    assert house.awake == {"b"}


async def test_model_in_use_is_waited_for() -> None:
    house = House("a", "b")
    await house.load("a")
    house.busy.add("a")
    loading = asyncio.create_task(house.load("b"))
    await house.until_it_waits()
    assert house.waited[0] == "waiting for resources used by a"
    assert house.awake == {"a"}
    house.busy.clear()
    house.now += AWAKE_SECONDS
    await loading
    assert house.awake == {"b"}


async def test_model_in_use_that_had_its_turn_finishes_and_makes_room() -> None:
    house = House("a", "b")
    await house.load("a")
    house.busy.add("a")
    house.now += TURN_SECONDS
    await house.load("b")
    assert house.slept == ["a"]


async def test_models_in_turns_spend_at_most_half_of_their_time_on_loading() -> None:
    house = House("a", "b")
    spent = 0.0
    for number in range(20):
        alias = "ab"[number % 2]
        loading = asyncio.create_task(house.load(alias, 40.0))
        while not loading.done():
            house.now += 1.0
            await asyncio.sleep(0.002)
        spent += 40.0
    assert spent <= house.now / 2 + 40.0
    assert len(house.slept) == 19


async def test_model_that_was_just_loaded_stays_for_a_moment() -> None:
    house = House("a", "b")
    await house.load("a")
    loading = asyncio.create_task(house.load("b"))
    await house.until_it_waits()
    assert house.awake == {"a"}
    house.now += AWAKE_SECONDS
    await loading
    assert house.awake == {"b"}


async def test_nobody_sleeps_where_that_would_not_be_enough() -> None:
    house = House("a", "b")
    await house.load("a")
    house.now += 100
    spec = DeploySpec(model="c", model_path="/models/m", cpus_per_worker=8.0)
    async with aclosing(house.rooms.enter("c", spec)) as events:
        assert await anext(events) is True
    assert house.awake == {"a"}
