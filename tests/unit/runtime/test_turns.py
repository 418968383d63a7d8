"""Memory for one of two models: each has its turn, none is cut, nothing flaps; in a time of the test's own."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given, settings, strategies as st

from byzer_magic.runtime.room import AWAKE_SECONDS, TURN_SECONDS
from tests.site import Site, run


def test_two_models_asked_in_turns_are_loaded_one_after_the_other() -> None:
    async def work() -> None:
        site = Site(1)
        both = [await site.deploy("a"), await site.deploy("b")]
        for _ in range(10):
            for model in both:
                await model.ask(1.0)
        assert [model.served for model in both] == [10, 10]
        assert [alias for _now, alias, _count in site.loads] == ["a", "b"] * 10
        assert_no_more_loads_than_turns(site)

    run(work())


def test_two_models_that_are_asked_all_the_time_have_turns_of_the_same_length() -> None:
    async def work() -> None:
        site = Site(1)
        a, b = await site.deploy("a"), await site.deploy("b")
        await asyncio.gather(*(model.ask_for(600, 1.0) for model in (a, a, b)))
        assert a.failed == b.failed == 0
        assert abs(a.served - b.served) < 50
        assert len(site.loads) <= 600 / (TURN_SECONDS + site.load_seconds) + 1
        assert_no_more_loads_than_turns(site)

    run(work())


def test_long_stream_is_finished_before_its_model_makes_room() -> None:
    async def work() -> None:
        site = Site(1)
        a, b = await site.deploy("a"), await site.deploy("b")
        streaming = asyncio.create_task(a.ask(300.0))
        await asyncio.sleep(60)
        await b.ask(1.0)  # removing a worker in use is an error of the site's
        assert streaming.done()
        assert site.now > 300

    run(work())


@settings(max_examples=20)
@given(
    st.integers(1, 2), st.floats(0.5, 30.0),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120), st.integers(1, 60)), max_size=25),
)  # fmt: skip
def test_every_request_has_its_turn_and_no_model_is_loaded_more_often(
    cpus: int, load_seconds: float, requests: list[tuple[str, int, int]]
) -> None:
    async def work() -> None:
        site = Site(cpus, load_seconds)
        models = {alias: await site.deploy(alias) for alias in "abc"}

        async def ask(alias: str, start: int, takes: int) -> None:
            await asyncio.sleep(start)
            await models[alias].ask(float(takes))

        await asyncio.gather(*(ask(*request) for request in requests))
        assert sum(model.served for model in models.values()) == len(requests)
        assert_no_more_loads_than_turns(site)

    run(work())


def assert_no_more_loads_than_turns(site: Site) -> None:
    """Each model stays for its shortest time, and as long as its load took: nothing flaps."""
    for alias in site.deployments:
        times = [now for now, loaded, _count in site.loads if loaded == alias]
        stay = site.load_seconds + max(AWAKE_SECONDS, site.load_seconds)
        assert all(after - before >= stay for before, after in itertools.pairwise(times))
