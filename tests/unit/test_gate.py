"""Who is let in, and who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from byzer_magic import errors
from byzer_magic.runtime.gate import Gate

RESTS = errors.NotDeployed("m is drained")


async def test_a_slot_goes_to_who_waits_longest() -> None:
    gate = Gate(1, 1)
    first, second, third = (gate.ticket() for _ in range(3))
    assert await gate.admit(first) == 0
    waiting = [asyncio.create_task(gate.admit(ticket)) for ticket in (second, third)]
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
    await gate.admit(held)
    waiting = asyncio.create_task(gate.admit(gate.ticket()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.release(held, failed=False)
    assert (gate.running, gate.queued) == (0, 0)


async def test_a_closed_gate_sends_away_who_comes_and_who_waits() -> None:
    gate = Gate(1, 1, health="loading")
    waiting = asyncio.create_task(gate.admit(gate.ticket()))
    await asyncio.sleep(0)
    gate.close(RESTS)
    with pytest.raises(errors.NotDeployed):
        await waiting
    with pytest.raises(errors.NotDeployed):
        await gate.admit(gate.ticket())
    gate.reopen()
    gate.health(0, "up")
    assert await gate.admit(gate.ticket()) == 0


async def test_a_drained_worker_that_comes_back_stays_drained() -> None:
    gate = Gate(2, 1)
    gate.drain(1, RESTS)
    gate.health(1, "down")
    gate.health(1, "up")
    assert [worker.health for worker in gate.snapshot({})] == ["up", "drained"]
    gate.undrain(1)
    gate.health(1, "up")
    assert {await gate.admit(gate.ticket()) for _ in range(2)} == {0, 1}


async def test_when_all_are_drained_nobody_waits_in_vain() -> None:
    gate = Gate(2, 1)
    gate.drain(0, RESTS)
    gate.drain(1, RESTS)
    with pytest.raises(errors.NotDeployed, match="drained"):
        await gate.admit(gate.ticket())


async def test_a_worker_that_goes_finishes_what_it_does() -> None:
    gate = Gate(2, 1)
    tickets = [gate.ticket(), gate.ticket()]
    assert [await gate.admit(ticket) for ticket in tickets] == [0, 1]
    gate.resize(1, "up")
    assert gate.workers == [0, 1]
    assert not await gate.idle(1, 0.05)
    gate.release(tickets[1], failed=False)
    assert await gate.idle(1, 0.05)
    assert gate.workers == [0]
