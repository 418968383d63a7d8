"""Who is let in, and who is sent away."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from byzer_magic import errors
from byzer_magic.routing import breaker
from byzer_magic.runtime import admission as module
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.slot import slot_of

RESTS = errors.NotDeployed("m is drained")


async def admit(admission: Admission, ticket: int) -> int:
    async with asyncio.timeout(None) as deadline:
        async for _place in admission.admit(ticket, deadline):
            pass
        return admission.worker_of(ticket)


async def test_admission_serves_the_longest_waiting_request() -> None:
    admission = Admission(1, 1)
    first, second, third = (admission.ticket() for _ in range(3))
    assert await admit(admission, first) == 0
    waiting = [asyncio.create_task(admit(admission, ticket)) for ticket in (second, third)]
    await asyncio.sleep(0)
    assert admission.queued == 2
    admission.release(first, failed=False)
    assert await waiting[0] == 0
    assert not waiting[1].done()
    admission.release(second, failed=False)
    assert await waiting[1] == 0


async def test_admission_removes_a_cancelled_request_from_the_queue() -> None:
    admission = Admission(1, 1)
    held = admission.ticket()
    await admit(admission, held)
    waiting = asyncio.create_task(admit(admission, admission.ticket()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    admission.release(held, failed=False)
    assert (admission.running, admission.queued) == (0, 0)


async def test_closed_admission_refuses_new_and_queued_requests() -> None:
    admission = Admission(1, 1, health="loading")
    waiting = asyncio.create_task(admit(admission, admission.ticket()))
    await asyncio.sleep(0)
    admission.close(RESTS)
    with pytest.raises(errors.NotDeployed):
        await waiting
    with pytest.raises(errors.NotDeployed):
        await admit(admission, admission.ticket())
    admission.reopen()
    admission.health(0, "up")
    assert await admit(admission, admission.ticket()) == 0


async def test_drained_worker_stays_drained_after_it_comes_back() -> None:
    admission = Admission(2, 1)
    admission.drain(1, RESTS)
    admission.health(1, "down")
    admission.health(1, "up")
    assert [worker.health for worker in admission.snapshot({})] == ["up", "drained"]
    admission.undrain(1)
    admission.health(1, "up")
    assert {await admit(admission, admission.ticket()) for _ in range(2)} == {0, 1}


async def test_admission_refuses_requests_when_all_workers_are_drained() -> None:
    admission = Admission(2, 1)
    admission.drain(0, RESTS)
    admission.drain(1, RESTS)
    with pytest.raises(errors.NotDeployed, match="drained"):
        await admit(admission, admission.ticket())


async def test_removed_worker_finishes_its_requests() -> None:
    admission = Admission(2, 1)
    tickets = [admission.ticket(), admission.ticket()]
    assert [await admit(admission, ticket) for ticket in tickets] == [0, 1]
    admission.resize([0], "up")
    assert admission.workers == [0, 1]
    assert not await admission.idle(1, 0.05)
    admission.release(tickets[1], failed=False)
    assert await admission.idle(1, 0.05)
    assert admission.workers == [0]


async def test_new_workers_reopen_a_drained_admission() -> None:
    admission = Admission(1, 1)
    admission.drain(0, RESTS)
    admission.resize([0, 1], "up")
    assert await admit(admission, admission.ticket()) == 1
    waiting = asyncio.create_task(admit(admission, admission.ticket()))
    await asyncio.sleep(0)
    admission.resize([0], "up")
    with pytest.raises(errors.NotDeployed, match="drained"):  # no worker is left
        await waiting


async def test_undrain_does_not_reopen_a_closed_admission() -> None:
    admission = Admission(1, 1)
    admission.drain(0, RESTS)
    admission.close(errors.NotDeployed("m is being undeployed"), at_once=False)
    admission.undrain(0)
    with pytest.raises(errors.NotDeployed, match="undeployed"):
        await admit(admission, admission.ticket())


async def test_worker_drained_while_loading_is_drained_once_it_is_up() -> None:
    admission = Admission(1, 1, health="loading")
    admission.drain(0, RESTS)
    assert admission.state(0) == "loading"
    admission.health(0, "up")
    assert admission.state(0) == "drained"


async def test_cancelled_request_raises_the_reason() -> None:
    admission = Admission(1, 2)
    held, cancelled = admission.ticket(), admission.ticket()

    async def work(ticket: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(60) as deadline:
                async for _place in admission.admit(ticket, deadline):
                    pass
                try:
                    await asyncio.sleep(seconds)
                finally:
                    admission.release(ticket, failed=False)
        except TimeoutError as err:
            raise admission.why_cancelled(ticket) or errors.DeadlineExceeded("too late") from err

    tasks = [asyncio.create_task(work(held, 0.0)), asyncio.create_task(work(cancelled, 60.0))]
    await asyncio.sleep(0.05)
    admission.cancel(0, errors.WorkerLost("m worker 0 was restarted"))
    await tasks[0]
    with pytest.raises(errors.WorkerLost, match="restarted"):
        await tasks[1]
    assert admission.busy(0) == 0


async def test_shared_error_keeps_a_short_traceback() -> None:
    admission = Admission(1, 1)
    admission.drain(0, RESTS)
    depths = []
    for _ in range(3):
        with pytest.raises(errors.NotDeployed) as caught:
            await admit(admission, admission.ticket())
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


@pytest.mark.parametrize(("policy", "third"), [("lru", 1), ("least_busy", 1), ("round_robin", 0)])
async def test_admission_follows_its_policy(policy: str, third: int) -> None:
    admission = Admission(2, 2, policy=policy)
    held, done = admission.ticket(), admission.ticket()
    assert [await admit(admission, held), await admit(admission, done)] == [0, 1]
    if policy == "lru":  # worker 0 has the more recent request of the two
        admission.release(held, failed=False)
        assert await admit(admission, admission.ticket()) == 0
    admission.release(done, failed=False)
    assert await admit(admission, admission.ticket()) == third


async def test_queued_request_is_told_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.01)
    admission = Admission(1, 1)
    first, second, third = (admission.ticket() for _ in range(3))
    await admit(admission, first)
    waiting = asyncio.create_task(admit(admission, second))
    await asyncio.sleep(0)
    places = []
    async with asyncio.timeout(60) as deadline:
        async for place in admission.admit(third, deadline):
            places.append(place)
            if place == 2:
                admission.release(first, failed=False)
            if place == 1:
                admission.release(second, failed=False)
    assert await waiting == 0
    assert sorted(set(places), reverse=True) == [2, 1]
    assert admission.worker_of(third) == 0


async def test_request_that_leaves_between_two_places_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PLACE_SECONDS", 0.01)
    admission = Admission(1, 1)
    held, leaves = admission.ticket(), admission.ticket()
    await admit(admission, held)
    async with asyncio.timeout(60) as deadline:
        places = admission.admit(leaves, deadline)
        assert await anext(places) == 1
        await places.aclose()
    assert admission.queued == 0
    admission.release(held, failed=False)
    assert (admission.running, admission.queued) == (0, 0)


async def ended(admission: Admission, error: errors.ByzerError | None, *, judges: bool = True) -> int:
    """Run a request that ends like that; return its worker."""
    ticket, failures = admission.ticket(), list[bool]()
    await admit(admission, ticket)
    with contextlib.suppress(errors.ByzerError), slot_of(admission, ticket, failures.append, judges=judges) as worker:
        if error is not None:
            raise error
    assert failures == [error is not None]
    return worker


def healths(admission: Admission) -> list[str]:
    return [worker.health for worker in admission.snapshot({})]


async def test_worker_that_fails_in_a_row_is_left_out_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = Admission(2, 2)
    broken = errors.RequestError("CUDA error")
    for _ in range(3):
        assert await ended(admission, broken) == 0
        assert await ended(admission, None) == 1
    assert healths(admission) == ["failing", "up"]
    assert [await ended(admission, None) for _ in range(3)] == [1, 1, 1]
    later = time.monotonic() + breaker.FIRST_PAUSE_SECONDS
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    admission.refresh()
    assert healths(admission) == ["trying", "up"]
    trying, other = admission.ticket(), admission.ticket()
    assert await admit(admission, trying) == 0
    assert await admit(admission, other) == 1, "one request tries it, though it has another slot"
    admission.release(other, failed=False)
    admission.release(trying, failed=False, works=True)
    assert healths(admission) == ["up", "up"]


@pytest.mark.parametrize(
    ("error", "judges"), [(errors.ContextTooLong("too long"), True), (errors.RequestError("down"), False)]
)
async def test_worker_is_not_left_out_for_what_is_not_its_fault(error: errors.ByzerError, judges: bool) -> None:
    admission = Admission(2, 1)
    for _ in range(10):
        await ended(admission, error, judges=judges)
    assert healths(admission) == ["up", "up"]


async def test_the_last_worker_is_never_left_out() -> None:
    admission = Admission(2, 1)
    for _ in range(10):
        await ended(admission, errors.RequestError("CUDA error"))
    assert healths(admission) == ["up", "up"], "both fail"
    await ended(admission, None)
    assert sorted(healths(admission)) == ["failing", "up"]
    works = healths(admission).index("up")
    admission.health(works, "down")
    assert healths(admission)[1 - works] == "up", "there is no other one"
    admission.health(works, "up")
    admission.drain(works, RESTS)
    assert healths(admission)[1 - works] == "up"
    admission.undrain(works)
    assert sorted(healths(admission)) == ["failing", "up"]


async def test_worker_that_hangs_or_restarts_gets_no_requests_and_comes_back_without_failures() -> None:
    admission = Admission(2, 1)
    for state in ("hung", "loading"):
        for _ in range(3):
            await ended(admission, errors.RequestError("CUDA error"))
            await ended(admission, None)
        assert "failing" in healths(admission)
        bad = healths(admission).index("failing")
        admission.health(bad, state)
        assert healths(admission)[bad] == state
        assert await ended(admission, None) == 1 - bad
        admission.health(bad, "up")
        assert healths(admission) == ["up", "up"]


async def test_drained_worker_stays_so_when_others_are_added_and_comes_back_when_that_ends() -> None:
    admission = Admission(1, 1)
    admission.drain(0, RESTS)
    admission.resize([0, 1], "up")
    assert healths(admission) == ["drained", "up"]
    admission.undrain(0)
    assert healths(admission) == ["up", "up"]
    admission.health(0, "drained")  # while a change of the deployment waits for its requests
    admission.refresh()
    assert healths(admission) == ["drained", "up"]
    admission.health(0, "up")
    assert healths(admission) == ["up", "up"]
