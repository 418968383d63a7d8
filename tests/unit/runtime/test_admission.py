"""Who is let in, and who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from byzer_magic import errors
from byzer_magic.runtime.admission import Gate

RESTS = errors.NotDeployed("m is drained")


async def admit(gate: Gate, ticket: int) -> int:
    async with asyncio.timeout(None) as deadline:
        return await gate.admit(ticket, deadline)


async def test_a_slot_goes_to_who_waits_longest() -> None:
    gate = Gate(1, 1)
    first, second, third = (gate.ticket() for _ in range(3))
    assert await admit(gate, first) == 0
    waiting = [asyncio.create_task(admit(gate, ticket)) for ticket in (second, third)]
    await asyncio.sleep(0)
    assert gate.queued == 2
    gate.release(first, failed=False)
    assert await waiting[0] == 0
    assert not waiting[1].done()
    gate.release(second, failed=False)
    assert await waiting[1] == 0


async def test_who_gives_up_waiting_holds_nothing() -> None:
    gate = Gate(1, 1)
    held = gate.ticket()
    await admit(gate, held)
    waiting = asyncio.create_task(admit(gate, gate.ticket()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.release(held, failed=False)
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_closed_gate_sends_away_who_comes_and_who_waits() -> None:
    gate = Gate(1, 1, health="loading")
    waiting = asyncio.create_task(admit(gate, gate.ticket()))
    await asyncio.sleep(0)
    gate.close(RESTS)
    with pytest.raises(errors.NotDeployed):
        await waiting
    with pytest.raises(errors.NotDeployed):
        await admit(gate, gate.ticket())
    gate.reopen()
    gate.health(0, "up")
    assert await admit(gate, gate.ticket()) == 0


async def test_a_drained_worker_that_comes_back_stays_drained() -> None:
    gate = Gate(2, 1)
    gate.drain(1, RESTS)
    gate.health(1, "down")
    gate.health(1, "up")
    assert [worker.health for worker in gate.snapshot({})] == ["up", "drained"]
    gate.undrain(1)
    gate.health(1, "up")
    assert {await admit(gate, gate.ticket()) for _ in range(2)} == {0, 1}


async def test_when_all_are_drained_nobody_waits_in_vain() -> None:
    gate = Gate(2, 1)
    gate.drain(0, RESTS)
    gate.drain(1, RESTS)
    with pytest.raises(errors.NotDeployed, match="drained"):
        await admit(gate, gate.ticket())


async def test_a_worker_that_goes_finishes_what_it_does() -> None:
    gate = Gate(2, 1)
    tickets = [gate.ticket(), gate.ticket()]
    assert [await admit(gate, ticket) for ticket in tickets] == [0, 1]
    gate.resize([0], "up")
    assert gate.workers == [0, 1]
    assert not await gate.idle(1, 0.05)
    gate.release(tickets[1], failed=False)
    assert await gate.idle(1, 0.05)
    assert gate.workers == [0]


async def test_new_workers_open_a_gate_whose_workers_are_all_drained() -> None:
    gate = Gate(1, 1)
    gate.drain(0, RESTS)
    gate.resize([0, 1], "up")
    assert await admit(gate, gate.ticket()) == 1
    waiting = asyncio.create_task(admit(gate, gate.ticket()))
    await asyncio.sleep(0)
    gate.resize([0], "up")
    with pytest.raises(errors.NotDeployed, match="drained"):  # nobody is left who could answer
        await waiting


async def test_a_deployment_that_is_gone_does_not_come_back_by_a_restart() -> None:
    gate = Gate(1, 1)
    gate.drain(0, RESTS)
    gate.close(errors.NotDeployed("m is being undeployed"), at_once=False)
    gate.undrain(0)
    with pytest.raises(errors.NotDeployed, match="undeployed"):
        await admit(gate, gate.ticket())


async def test_a_worker_that_is_drained_while_it_loads_is_still_loading() -> None:
    gate = Gate(1, 1, health="loading")
    gate.drain(0, RESTS)
    assert gate.state(0) == "loading"
    gate.health(0, "up")
    assert gate.state(0) == "drained"


async def test_a_request_that_is_cut_is_told_why() -> None:
    gate = Gate(1, 2)
    held, cut = gate.ticket(), gate.ticket()

    async def work(ticket: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(60) as deadline:
                await gate.admit(ticket, deadline)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    gate.release(ticket, failed=False)
        except TimeoutError as err:
            raise gate.why_cut(ticket) or errors.DeadlineExceeded("too late") from err

    tasks = [asyncio.create_task(work(held, 0.0)), asyncio.create_task(work(cut, 60.0))]
    await asyncio.sleep(0.05)
    gate.cut(0, errors.WorkerLost("m worker 0 was restarted"))
    await tasks[0]
    with pytest.raises(errors.WorkerLost, match="restarted"):
        await tasks[1]
    assert gate.busy(0) == 0


async def test_an_error_that_many_are_told_does_not_grow() -> None:
    gate = Gate(1, 1)
    gate.drain(0, RESTS)
    depths = []
    for _ in range(3):
        with pytest.raises(errors.NotDeployed) as caught:
            await admit(gate, gate.ticket())
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1
