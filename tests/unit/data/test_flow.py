"""Rows through a model, with a clock that runs as fast as nothing else is to be done."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic import errors
from byzer_magic.data import flow
from byzer_magic.data.flow import Answered, Flow
from byzer_magic.data.pace import Pace
from byzer_magic.data.rows import Row
from byzer_magic.data.sums import Sums
from byzer_magic.data.template import NotAskable
from byzer_magic.i18n import lazy_gettext as _


class Clock:
    """Time that passes when all tasks sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._runs = False

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._numbers), future))
        if not self._runs:
            self._runs = True
            asyncio.get_running_loop().call_soon(self._tick, 0)
        await future

    def _tick(self, quiet: int) -> None:
        """After some rounds of the loop in which others could run, pass on to the next moment."""
        if quiet < 10:
            asyncio.get_running_loop().call_soon(self._tick, quiet + 1)
            return
        self.now = max(self.now, self._sleepers[0][0])
        while self._sleepers and self._sleepers[0][0] <= self.now:
            self._wake()
        self._runs = bool(self._sleepers)
        if self._runs:
            asyncio.get_running_loop().call_soon(self._tick, 0)

    def _wake(self) -> None:
        future = heapq.heappop(self._sleepers)[2]
        if not future.done():
            future.set_result(None)


class Kept:
    """Keeps what a sink takes."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        self.values.append(value)

    def skip(self, count: int) -> None:
        self.values += [None] * count


class Trial:
    """A flow over numbers; `answer` returns the value of a number, or raises."""

    def __init__(
        self, count: int, answer: Callable[[int], Any], most: int = 8, seconds: Callable[[int], float] = lambda _: 1.0,
        at_once: int = 1, writing: float = 0.0,
    ) -> None:  # fmt: skip
        self.clock, self.kept, self.pace = Clock(), Kept(), Pace(most)
        self.asked: list[int] = []
        self.in_flight = self.highest = 0
        self.sums = Sums(count, 0.0)
        self._answer, self._seconds, self._writing = answer, seconds, writing
        self._writes: set[asyncio.Task[None]] = set()
        self.unwritten = 0
        """The most rows that were answered and not written."""
        rows = ((number,) for number in range(count))
        self.flow = Flow(
            rows, self.ask, self.kept, self.pace, self.sums, at_once=at_once, clock=self.clock, sleep=self.clock.sleep
        )

    async def ask(self, rows: Sequence[Row]) -> Answered:
        self.in_flight += 1
        self.highest = max(self.highest, self.in_flight)
        try:
            self.asked += [row[0] for row in rows]
            await self.clock.sleep(self._seconds(rows[0][0]))
            values = [self._answer(row[0]) for row in rows]
        finally:
            self.in_flight -= 1
        if not self._writing:
            return Answered(values)
        task = asyncio.create_task(self.clock.sleep(self._writing))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        self.unwritten = max(self.unwritten, len(self._writes))
        return Answered(values, task)

    def run(self) -> Trial:
        asyncio.run(self.flow.run())
        self.flow.close()
        return self


@settings(max_examples=50)
@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 7), st.data())
def test_flow_keeps_the_order_and_asks_each_row_once(count: int, most: int, at_once: int, data: st.DataObject) -> None:
    seconds = data.draw(st.lists(st.floats(0.1, 9.0), min_size=count, max_size=count))
    trial = Trial(count, lambda number: number * 10, most, lambda number: seconds[number], at_once).run()
    assert trial.kept.values == [number * 10 for number in range(count)]
    assert sorted(trial.asked) == list(range(count))
    assert trial.highest <= most
    assert (trial.sums.done, trial.flow.error) == (count, None)


def test_flow_asks_about_others_while_rows_are_written_and_counts_those_that_are() -> None:
    trial = Trial(100, lambda number: number, writing=0.9)
    trial.run()
    assert trial.kept.values == list(range(100))
    assert trial.clock.now == pytest.approx(13 + 0.9), "no request waits until another one's row is written"
    trial = Trial(100, lambda number: number, writing=50.0)
    trial.run()
    assert trial.kept.values == list(range(100))
    assert 8 < trial.unwritten <= 16, "it waits for a disk that does not keep up"


def test_flow_that_is_interrupted_keeps_what_is_being_written() -> None:
    trial = Trial(100, lambda number: number, most=4, writing=5.0)

    async def interrupted() -> None:
        running = asyncio.create_task(trial.flow.run())
        await trial.clock.sleep(2.5)
        assert trial.sums.done == 0, "a row that is not written is not done"
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(interrupted())
    trial.flow.close()
    assert trial.kept.values == [*range(8), *[None] * 92]
    assert trial.sums.done == 8


def test_flow_error_of_a_row_is_its_value() -> None:
    def answer(number: int) -> int:
        if number % 10 == 3:
            raise errors.BadRequest(f"no {number}")
        if number == 4:
            raise NotAskable(_("nothing there"))
        if number == 5:
            raise KeyError("a bug of somebody's")
        return number

    trial = Trial(100, answer).run()
    failed = [number for number, value in enumerate(trial.kept.values) if isinstance(value, Exception)]
    assert failed == sorted({4, 5, *range(3, 100, 10)})
    assert trial.sums.failed == len(failed)
    assert trial.flow.error is None


def test_flow_asks_again_what_was_refused_for_the_moment_with_fewer_at_once() -> None:
    trial: Trial

    def answer(number: int) -> int:
        if trial.in_flight > 3:
            raise errors.RateLimited("slow down", retry_after=2.0)
        return number

    trial = Trial(200, answer, most=32, seconds=lambda number: 0.5 + number % 7 / 10)
    trial.run()
    assert trial.kept.values == list(range(200))
    assert trial.pace.refusals > 0
    assert trial.pace.limit < 8
    assert trial.clock.now >= 2.0


def test_flow_ends_early_where_the_reason_is_that_of_all_rows() -> None:
    def answer(number: int) -> int:
        if number >= 30:
            raise errors.AuthenticationFailed("invalid API key (401)")
        return number

    trial = Trial(10_000, answer, most=4).run()
    assert isinstance(trial.flow.error, errors.AuthenticationFailed)
    assert trial.kept.values[:30] == list(range(30))
    assert trial.kept.values[30:] == [None] * 9_970
    assert len(trial.asked) <= 34


@pytest.mark.parametrize(("count", "asked"), [(3, 3), (10_000, flow.SAME_FAILURES + 3)])
def test_flow_ends_where_every_row_fails_for_the_same_reason(count: int, asked: int) -> None:
    def answer(_number: int) -> int:
        raise errors.BadRequest("The option frobnicate is unknown.")

    trial = Trial(count, answer, most=4).run()
    assert isinstance(trial.flow.error, errors.BadRequest)
    assert len(trial.asked) <= asked


@pytest.mark.parametrize("error", [errors.ContextTooLong("too long"), errors.MalformedResponse("not JSON")])
def test_flow_goes_on_where_rows_fail_because_of_what_is_in_them(error: errors.ByzerError) -> None:
    def answer(number: int) -> int:
        if number < 50:
            raise error
        return number

    trial = Trial(100, answer).run()
    assert trial.flow.error is None
    assert trial.kept.values[50:] == list(range(50, 100))


def test_flow_asks_again_when_a_worker_was_lost_and_gives_up_in_the_end() -> None:
    lost = dict.fromkeys(range(5), 2)

    def answer(number: int) -> int:
        if number == 7 or lost.get(number, 0):
            lost[number] = lost.get(number, 0) - 1
            raise errors.WorkerLost("the worker is gone")
        return number

    trial = Trial(10, answer).run()
    assert [value for value in trial.kept.values if not isinstance(value, Exception)] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert isinstance(trial.kept.values[7], errors.WorkerLost)
    assert trial.asked.count(7) == 1 + len(flow.AGAIN_SECONDS)


def test_flow_quota_that_is_used_up_ends_the_run() -> None:
    def answer(_number: int) -> int:
        raise errors.RateLimited("You exceeded your quota.", final=True)

    assert isinstance(Trial(100, answer).run().flow.error, errors.RateLimited)


def test_flow_refused_for_too_long_ends_the_run() -> None:
    def answer(_number: int) -> int:
        raise errors.RateLimited("slow down")

    trial = Trial(10, answer).run()
    assert isinstance(trial.flow.error, errors.RateLimited)
    assert trial.kept.values == [None] * 10
    assert 900 < trial.clock.now < 2000


def test_flow_holds_a_window_of_rows_while_the_first_one_takes_long() -> None:
    taken = 0
    trial = Trial(20_000, lambda number: number, most=8, seconds=lambda number: 1e9 if number == 0 else 1.0)
    rows = iter(range(20_000))

    def counted() -> Any:
        nonlocal taken
        for number in rows:
            taken += 1
            yield (number,)

    trial.flow._rows = counted()

    async def look() -> int:
        running = asyncio.create_task(trial.flow.run())
        while trial.clock.now < 1e6:
            await asyncio.sleep(0)
        found = taken
        await running
        return found

    assert asyncio.run(look()) <= flow.WINDOW
    trial.flow.close()
    assert trial.kept.values == list(range(20_000))


def test_flow_that_is_interrupted_keeps_what_was_answered_out_of_order() -> None:
    trial = Trial(50, lambda number: number, most=4, seconds=lambda number: 1000.0 if number == 1 else 1.0)

    async def interrupted() -> None:
        running = asyncio.create_task(trial.flow.run())
        while trial.clock.now < 5.0:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(interrupted())
    trial.flow.close()
    assert len(trial.kept.values) == 50
    assert trial.kept.values[:5] == [0, None, 2, 3, 4]
    assert trial.kept.values[20:] == [None] * 30


def test_flow_whose_rows_wait_ends_when_there_is_nothing_to_wait_for() -> None:
    def answer(number: int) -> int:
        if number == 1:
            raise errors.RateLimited("slow down", retry_after=600.0)
        if number == 0:
            raise errors.AuthenticationFailed("invalid API key (401)")
        return number

    trial = Trial(100, answer, most=3, seconds=lambda number: 2.0 if number == 0 else 1.0).run()
    assert isinstance(trial.flow.error, errors.AuthenticationFailed)
    assert trial.clock.now < 10


def test_flow_refused_until_tomorrow_ends_the_run_at_once() -> None:
    def answer(_number: int) -> int:
        raise errors.RateLimited("The limit of today is reached.", retry_after=40_000.0)

    trial = Trial(100, answer).run()
    assert isinstance(trial.flow.error, errors.RateLimited)
    assert trial.clock.now < 10
