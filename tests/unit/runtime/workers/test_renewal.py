"""Another plan for a deployment that serves: its workers take over when all are up, or nothing has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Any

import pytest

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan, resolve
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import desired_state, placement
from byzer_magic.runtime.workers.group import Held
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.types import ChatChunk, ChatRequest
from tests.waiting import happens


class Named:
    """Workers that answer with their name; with an error, they do not come up."""

    capabilities = frozenset({Capability.CHAT})

    def __init__(self, name: str, health: Any, error: Exception | None = None) -> None:
        self.name, self.health, self.error = name, health, error
        self.present: set[int] = set()
        self.closed = False
        self.pids: dict[int, int] = {}
        self.nodes: dict[int, str] = {}

    async def add(self, indices: Collection[int], _notify: Any) -> None:
        for index in indices:
            await asyncio.sleep(0)
            self.present.add(index)
            self.health(index, "up")
        if self.error:
            raise self.error

    async def restart(self, index: int, notify: Any, *, first: bool) -> None:
        raise NotImplementedError

    async def remove(self, index: int) -> None:
        self.present.discard(index)

    async def close(self) -> None:
        self.present.clear()
        self.closed = True

    async def ask(self, index: int, _capability: Any, _request: Any) -> AsyncIterator[ChatChunk]:
        assert index in self.present
        yield ChatChunk(self.name)

    def all_pids(self) -> list[int]:
        return []

    async def log(self, _lines: int) -> list[str]:
        return [self.name]


class Case:
    """A deployment with two workers, each with a slot."""

    def __init__(self) -> None:
        self.plan = plan(num_workers=2)
        self.admission = Admission(2, 1, health="loading")
        self.before = Named("old", self.admission.health)
        self.lifecycle = Lifecycle(self.plan, self.admission, self.before)
        self.adopted = False

    async def renew(
        self, num_workers: int = 1, error: Exception | None = None, proof: Exception | None = None, **options: Any
    ) -> Named:
        held = Held(self.admission.health)
        workers = Named("new", held, error)

        def adopt() -> None:
            self.adopted = True
            held.release()

        async def prove(indices: list[int]) -> None:
            assert not {*indices} & {*self.admission.workers}  # they serve nobody yet
            if proof:
                raise proof

        other = replace(plan(num_workers=num_workers, worker_concurrency=3, **options), id=self.plan.id)
        await self.lifecycle.renew(other, workers, prove, adopt, lambda _event: None)
        return workers

    async def enter(self) -> int:
        """Take a slot; return the ticket."""
        ticket = self.admission.ticket()
        async with asyncio.timeout(60) as deadline:
            async for _place in self.admission.admit(ticket, deadline):
                pass
        return ticket

    async def answer(self, ticket: int) -> str:
        """Return the name of the workers that serve a ticket."""
        index = self.admission.worker_of(ticket)
        items = self.lifecycle.group.ask(index, Capability.CHAT, ChatRequest(messages=[]))
        return "".join([item.text async for item in items if isinstance(item, ChatChunk)])


def plan(**options: Any) -> Plan:
    params = {"saas.model": "gpt-4o", "saas.api_key": "sk-test-1234567890"}
    return resolve(DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params, **options), {}, {})


@pytest.fixture
async def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    """A case that is open; what Ray's store would have is kept nowhere."""
    monkeypatch.setattr(desired_state, "load", lambda known: desired_state.DesiredState(known.spec.num_workers))
    monkeypatch.setattr(desired_state, "save", lambda *_: None)
    monkeypatch.setattr(desired_state, "keep_plan", lambda _plan: None)
    made = Case()
    await made.lifecycle.open(lambda _event: None)
    return made


async def test_new_workers_take_over_and_old_ones_finish_their_requests(case: Case) -> None:
    running = await case.enter()
    new = await case.renew()
    assert await case.answer(running) == "old"
    tickets = [await case.enter() for _ in range(3)]
    assert [await case.answer(ticket) for ticket in tickets] == ["new"] * 3
    case.admission.release(running, failed=False)
    assert await happens(lambda: case.before.closed)
    assert case.admission.workers == [2]
    assert new.present == {2}


async def test_queued_requests_go_to_the_new_workers(case: Case) -> None:
    running = [await case.enter(), await case.enter()]
    waiting = asyncio.create_task(case.enter())
    await asyncio.sleep(0)
    await case.renew()
    assert await case.answer(await waiting) == "new"
    assert [await case.answer(ticket) for ticket in running] == ["old", "old"]


@pytest.mark.parametrize("how", ["error", "proof"])
async def test_nothing_changes_where_the_new_workers_do_not_come_up(case: Case, how: str) -> None:
    with pytest.raises(errors.EngineFailed, match="no memory"):
        await case.renew(**{how: errors.EngineFailed("no memory")})  # type: ignore[arg-type]
    assert not case.adopted
    assert case.admission.workers == [0, 1]
    assert await case.answer(await case.enter()) == "old"
    assert not case.before.closed


async def test_without_room_for_more_workers_of_an_api_nothing_changes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any) -> None:
        raise errors.NoRoom("Not enough CPUs.")

    monkeypatch.setattr(placement, "reserve_extra", full)
    with pytest.raises(errors.NoRoom):
        await case.renew(num_workers=5)
    assert not case.adopted
    assert case.admission.workers == [0, 1]
    assert await case.answer(await case.enter()) == "old"


async def test_room_for_more_workers_of_an_api_is_reserved_before_they_start_and_freed_where_they_fail(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserved: list[list[dict[str, float]]] = [[]]

    async def reserve(_plan: Plan, needs: list[dict[str, float]], before: list[dict[str, float]]) -> None:
        assert before == reserved[-1]
        reserved.append(needs)

    monkeypatch.setattr(placement, "reserve_extra", reserve)
    with pytest.raises(errors.EngineFailed):
        await case.renew(num_workers=5, error=errors.EngineFailed("no memory"))
    await case.renew(num_workers=4)
    await case.renew(num_workers=3)
    assert [len(needs) for needs in reserved] == [0, 3, 0, 2, 1]
    await case.renew(num_workers=2, cpus_per_worker=1.5)
    assert [needs["CPU"] for needs in reserved[-1]] == [1.49, 1.49]


@pytest.mark.parametrize("steps", range(12))
async def test_cancelled_renewal_is_complete_or_has_not_begun(case: Case, steps: int) -> None:
    task = asyncio.create_task(case.renew(num_workers=2))
    for _step in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert await case.answer(await case.enter()) == ("new" if case.adopted else "old")
    assert len(case.admission.workers) == 2


async def test_two_renewals_at_once_leave_the_workers_of_one(case: Case) -> None:
    await asyncio.gather(case.renew(1), case.renew(2))
    assert len(case.admission.workers) == 2
    assert await case.answer(await case.enter()) == "new"


async def test_pool_that_is_restarted_while_asleep_is_asleep_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stored: dict[str, desired_state.DesiredState] = {}
    monkeypatch.setattr(desired_state, "save", lambda of, wanted: stored.update({of.id: wanted}))
    monkeypatch.setattr(desired_state, "find", stored.get)
    monkeypatch.setattr(desired_state.internal_kv, "_internal_kv_get", lambda *_, **__: None)
    assert not desired_state.latest(case.plan).capabilities
    assert await case.lifecycle.sleep()
    assert desired_state.latest(case.plan).capabilities == ("chat",)  # with which an engine starts asleep
    await case.lifecycle.wake(lambda _event: None)
    assert not desired_state.latest(case.plan).capabilities
