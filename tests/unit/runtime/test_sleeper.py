"""When a deployment's workers sleep and wake, by a clock of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.sleeper import Sleeper

NO_ROOM = errors.NoRoom("small needs 2 GPUs; 1 is free.")


class Workers:
    """The part of `Lifecycle` that a sleeper uses; a load takes until `loaded` is set."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.is_changing = False
        self.loads = 0
        self.error: Exception | None = None
        self.loaded = asyncio.Event()
        self.loaded.set()

    @property
    def is_asleep(self) -> bool:
        return self.admission.state(0) == "asleep"

    async def sleep(self, *, finish: bool = False) -> bool:
        assert not finish
        if self.admission.running or self.admission.queued or self.is_asleep:
            return False
        self.admission.health(0, "asleep")
        return True

    async def wake(self, _notify: Any) -> None:
        self.is_changing = True
        self.admission.health(0, "loading")
        await self.loaded.wait()
        self.is_changing = False
        self.loads += 1
        if self.error:
            self.admission.health(0, "asleep")
            raise self.error
        self.admission.health(0, "up")


class Case:
    """A sleeper with one worker, and its clock."""

    def __init__(self, idle: float = 600.0) -> None:
        self.now = 1000.0
        self.admission = Admission(1, 2)
        self.workers = Workers(self.admission)
        self.sleeper = Sleeper(
            self.workers,
            self.admission,
            idle,
            lambda _tell: contextlib.nullcontext(),
            lambda _event: None,
            lambda: self.now,
        )  # type: ignore[arg-type]

    async def after(self, seconds: float) -> None:
        """Let time pass, with a tick each second at most."""
        self.now += seconds
        self.sleeper.tick()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def ask(self) -> int:
        """Send a request; return its ticket once it has a slot."""
        self.sleeper.request_came()
        ticket = self.admission.ticket()
        async with asyncio.timeout(60) as deadline:
            async for _place in self.admission.admit(ticket, deadline):
                pass
        return ticket


async def test_workers_sleep_when_nobody_has_asked_for_as_long() -> None:
    case = Case(600.0)
    await case.after(599)
    assert not case.workers.is_asleep
    await case.after(1)
    assert case.workers.is_asleep
    assert case.sleeper.why == "no requests for 10m"


async def test_time_counts_from_the_end_of_the_last_request() -> None:
    case = Case(600.0)
    ticket = await case.ask()
    for _minute in range(30):
        await case.after(60)
    assert not case.workers.is_asleep
    case.admission.release(ticket, failed=False)
    await case.after(599)
    assert not case.workers.is_asleep
    await case.after(1)
    assert case.workers.is_asleep


async def test_workers_without_idle_time_never_sleep() -> None:
    case = Case(0.0)
    await case.after(1e9)
    assert not case.workers.is_asleep


async def test_requests_to_a_sleeping_deployment_wake_it_once_and_all_are_served() -> None:
    case = Case()
    await case.sleeper.sleep("told to")
    asking = [asyncio.create_task(case.ask()) for _ in range(2)]
    await asyncio.gather(*asking)
    assert case.workers.loads == 1
    assert case.admission.running == 2
    assert not case.sleeper.why


async def test_request_that_comes_as_the_workers_fall_asleep_is_served() -> None:
    case = Case()
    case.now += 600
    case.sleeper.tick()  # the task that puts them to sleep has not begun
    ticket = await case.ask()
    await asyncio.sleep(0)
    assert case.admission.worker_of(ticket) == 0


async def test_requests_are_refused_with_the_reason_where_the_model_cannot_be_loaded_and_the_next_tries_again() -> None:
    case = Case()
    await case.sleeper.sleep("told to")
    case.workers.error = NO_ROOM
    with pytest.raises(errors.NoRoom, match="2 GPUs"):
        await case.ask()
    assert case.workers.is_asleep
    assert case.sleeper.why == NO_ROOM.message
    case.workers.error = None
    await case.ask()
    assert case.workers.loads == 2


@given(st.lists(st.one_of(st.floats(0, 900), st.just("ask"), st.just("end")), max_size=40))
def test_a_running_request_is_never_cut_and_each_one_is_served(steps: list[float | str]) -> None:
    async def run() -> None:
        case = Case(60.0)
        running: list[int] = []
        for step in steps:
            if step == "ask" and len(running) < 2:
                running.append(await case.ask())
            elif step == "end" and running:
                case.admission.release(running.pop(), failed=False)
            elif isinstance(step, float):
                await case.after(step)
            assert not (running and case.workers.is_asleep)
            assert case.admission.running == len(running)

    asyncio.run(run())
