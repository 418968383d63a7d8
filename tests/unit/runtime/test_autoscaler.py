"""Workers that come and go with the queue: real queues and rules on a machine of the test's own."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.runtime.transport.messages import ScaleRequest
from tests.site import Deployment, Site, run


def counts(deployment: Deployment) -> list[int]:
    """Return the numbers of workers that it had, in order."""
    return [count for _now, count in deployment.counts]


async def load(deployment: Deployment, clients: int, until: float, takes: float = 1.0) -> None:
    """Have clients that ask one request after the other."""
    await asyncio.gather(*(deployment.ask_for(until, takes) for _ in range(clients)))


def test_queue_brings_workers_and_quiet_takes_them_until_it_sleeps() -> None:
    async def work() -> None:
        site = Site(8)
        model = await site.deploy("m", min_workers=0, max_workers=4, idle=60.0)
        await load(model, 12, 100)
        assert counts(model)[-1] == 4
        assert str(model.upkeep.stat()["scaled"]) == "from 2 to 4: 10 requests were waiting"
        await asyncio.sleep(300)
        assert model.stat().is_asleep
        assert site.free().cpus == 8
        await model.ask(1.0)
        assert model.lifecycle.count == 1, "it wakes with the fewest"
        assert model.failed == 0

    run(work())


def test_fewest_stay_awake() -> None:
    async def work() -> None:
        site = Site(8)
        model = await site.deploy("m", num_workers=2, min_workers=2, max_workers=4, idle=60.0)
        await load(model, 12, 60)
        await asyncio.sleep(3600)
        assert counts(model) == [2, 4, 2]
        assert not model.stat().is_asleep
        assert str(model.upkeep.stat()["scaled"]) == "from 4 to 2: no more were needed for 1m"

    run(work())


def test_request_that_runs_as_workers_go_is_not_cut() -> None:
    async def work() -> None:
        site = Site(4)
        model = await site.deploy("m", num_workers=4, min_workers=1, max_workers=4, idle=30.0)
        await asyncio.gather(*(model.ask(seconds) for seconds in (400.0, 300.0, 2.0, 1.0)))
        assert model.served == 4  # removing a worker in use is an error of the site's
        assert counts(model)[1] == 2

    run(work())


def test_growing_puts_those_to_sleep_whom_nobody_uses() -> None:
    async def work() -> None:
        site = Site(3)
        idle = await site.deploy("idle")
        model = await site.deploy("m", min_workers=0, max_workers=3)
        await idle.ask(1.0)
        await load(model, 6, 60)
        assert model.lifecycle.count == 3
        assert str(idle.upkeep.stat()["note"]) == "made room for m"

    run(work())


def test_without_room_it_stays_says_why_and_tries_again() -> None:
    async def work() -> None:
        site = Site(2)
        other = await site.deploy("other", idle=None)
        model = await site.deploy("m", min_workers=0, max_workers=4)
        await other.ask(1.0)
        loading = asyncio.create_task(load(model, 6, 200))
        await asyncio.sleep(30)
        assert model.lifecycle.count == 1
        why = str(model.upkeep.stat()["scaled"])
        assert why == "no more than 1 for now: There is no room for another worker. Next attempt in 30s."
        site.cpus = 4
        await loading
        assert model.lifecycle.count == 3

    run(work())


@pytest.mark.parametrize("takes", [1.0, 15.0])
def test_workers_that_others_need_go_before_a_model_that_is_used_sleeps(takes: float) -> None:
    async def work() -> None:
        site = Site(3)
        busy = await site.deploy("busy", min_workers=0, max_workers=3)
        other = await site.deploy("other")
        loading = asyncio.create_task(load(busy, 6, 300, takes))
        await asyncio.sleep(60)
        assert busy.lifecycle.count == 3
        await other.ask(1.0)
        assert busy.lifecycle.count == 1
        assert not busy.upkeep.stat()["note"], "it slept, although giving up workers was enough"
        assert str(busy.upkeep.stat()["scaled"]) == "from 3 to 1: made room for other"
        await loading
        assert (other.served, busy.failed) == (1, 0)

    run(work())


def test_scale_sets_the_number_within_the_limits() -> None:
    async def work() -> None:
        model = await Site(8).deploy("m", num_workers=1, min_workers=1, max_workers=4, idle=60.0)
        await model.ask(1.0)
        async for _event in model.upkeep.scale(ScaleRequest(3)):
            pass
        assert model.lifecycle.count == 3
        with pytest.raises(errors.CommandError, match="scales by itself between 1 and 4 workers"):
            async for _event in model.upkeep.scale(ScaleRequest(5)):
                pass
        await asyncio.sleep(100)
        assert model.lifecycle.count == 1

    run(work())


@settings(max_examples=15)
@given(
    st.integers(1, 4), st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 150), st.integers(1, 8), st.integers(1, 40)), max_size=12),
)  # fmt: skip
def test_every_request_is_served_whatever_grows_shrinks_and_sleeps(
    cpus: int, most: int, waves: list[tuple[str, int, int, int]]
) -> None:
    async def work() -> None:
        site = Site(cpus)
        both = {name: await site.deploy(name, min_workers=0, max_workers=most, idle=30.0) for name in "ab"}

        async def wave(name: str, start: int, clients: int, takes: int) -> None:
            await asyncio.sleep(start)
            await asyncio.gather(*(both[name].ask(float(takes)) for _ in range(clients)))

        await asyncio.gather(*(wave(*each) for each in waves))
        assert sum(each.served for each in both.values()) == sum(clients for _name, _start, clients, _takes in waves)
        assert all(1 <= count <= most for each in both.values() for count in counts(each))

    run(work())
