"""Limits of a deployment, on a simulated clock, in front of a real slot table; and what a queue does with them."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic import errors
from byzer_magic.catalog import prices
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.gateway import problems
from byzer_magic.plan import Plan, resolve
from byzer_magic.routing.rates import MINUTE
from byzer_magic.routing.table import SlotTable
from byzer_magic.runtime import admission as admission_module, limits as module
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.limits import SPAN, Limits
from byzer_magic.stat import LimitStat
from byzer_magic.types import ChatChunk, ChatRequest, Message, Usage
from tests.clock import Clock, simulated
from tests.waiting import PATIENCE

NOON = 20_000.5 * 86_400
"""A time of day that is far from midnight."""
PRICE = 2.5 / 1e6, 10 / 1e6
"""Of a token of gpt-4o's prompts and answers, in dollars."""


def plan(model: str = "gpt-4o", **options: Any) -> Plan:
    params = {"saas.api_key": "sk-test-1234567890abcd", "saas.model": model}
    spec = DeploySpec(model="m", pretrained_model_type="saas/openai", infer_params=params, **options)
    return resolve(spec, {}, {})


def chat(prompt: int = 0, answer: int = 0) -> ChatRequest:
    """Return a request with so many tokens, roughly."""
    content = "x" * max(0, prompt * 4 - len("user"))
    return ChatRequest(messages=[Message("user", content)], options={"max_tokens": answer})


async def items(*given: ChatChunk | Exception) -> AsyncIterator[ChatChunk]:
    for item in given:
        if isinstance(item, Exception):
            raise item
        yield item


class Deployment:
    """Limits and a slot table, without a pool."""

    def __init__(self, slots: int = 100, wall: float = NOON, **options: Any) -> None:
        self.wall = wall
        self.limits = Limits(plan(**options), wall=lambda: self.wall)
        self.table = SlotTable(1, slots, max_queue=10**6, gate=self.limits)
        self.tickets = 0

    def ask(self, now: float, request: ChatRequest | None = None) -> int:
        """Have a request come; return its ticket."""
        self.tickets += 1
        self.limits.expect(self.tickets, request or chat())
        self.table.acquire(self.tickets, now)
        return self.tickets

    def runs(self, ticket: int) -> bool:
        return self.table.worker_of(ticket) is not None

    async def answer(self, ticket: int, now: float, *given: ChatChunk | Exception) -> None:
        """Answer a request, and end it."""
        try:
            async for _item in self.limits.counted(ticket, items(*given)):
                pass
        finally:
            self.end(ticket, now)

    def end(self, ticket: int, now: float) -> None:
        self.limits.settle(ticket, now)
        self.table.withdraw(ticket, now)

    def stat(self, now: float) -> dict[str, LimitStat]:
        return {item.name: item for item in self.limits.stats(now, self.table.queued)}


@given(st.integers(1, 10), st.lists(st.floats(0, 40), max_size=40))
def test_provider_never_gets_more_requests_in_a_minute_and_none_waits_without_need(
    rpm: int, pauses: list[float]
) -> None:
    deployment = Deployment(rpm=rpm)
    waiting: deque[int] = deque()
    sent: list[float] = []
    now = 0.0

    def look(at: float) -> None:
        deployment.table.serve(at)
        while waiting and deployment.runs(waiting[0]):
            deployment.limits.counted(waiting.popleft(), items())
            sent.append(at)

    for pause in pauses:
        until = now + pause
        while waiting and (at := now + deployment.limits.wait(waiting[0], now)) <= until:
            look(now := at)
        now = until
        waiting.append(deployment.ask(now))
        look(now)
    for place, start in enumerate(sent):
        within = [at for at in sent[place:] if at < start + MINUTE]
        assert len(within) <= rpm
    for early, late in zip(sent, sent[rpm:], strict=False):
        assert late >= early + SPAN - 1e-6
    assert len(waiting) == 0 or len([at for at in sent if at > now - SPAN]) == rpm


async def test_tokens_count_as_estimated_before_and_as_reported_after() -> None:
    deployment = Deployment(tpm=1000)
    first = deployment.ask(0.0, chat(100, 300))
    assert deployment.stat(0.0)["tpm"].used == 400
    second = deployment.ask(0.0, chat(100, 300))
    third = deployment.ask(0.0, chat(100, 300))
    assert (deployment.runs(second), deployment.runs(third)) == (True, False)
    await deployment.answer(first, 1.0, ChatChunk("hi"), ChatChunk(usage=Usage(90, 10)))
    assert deployment.runs(third), "what was not used is free at once"
    assert deployment.stat(1.0)["tpm"].used == 900
    deployment.limits.settle(second, 2.0)
    assert deployment.stat(2.0)["tpm"].used == 500, "it was never sent"
    await deployment.answer(third, 3.0, ChatChunk("x" * 400))
    assert deployment.stat(3.0)["tpm"].used == 100 + 200, "where nothing is reported, what has arrived counts"
    assert deployment.stat(70.0)["tpm"].used == 0


async def test_cost_counts_and_the_budget_of_a_day_is_renewed_at_midnight_utc() -> None:
    deployment = Deployment(budget_usd=0.01, budget_per="day")
    await deployment.answer(deployment.ask(0.0), 1.0, ChatChunk(usage=Usage(1000, 1000, 0.0125, "USD")))
    with pytest.raises(errors.BudgetSpent, match=r"m has spent \$0.0125 of its budget of \$0.01 for today") as caught:
        deployment.ask(1.0)
    assert "Try again in 12h, or raise it" in str(caught.value)
    assert caught.value.details == {
        "limit": "budget_usd", "value": 0.01, "used": 0.0125, "retry_after": 43_200, "final": True,
    }  # fmt: skip
    deployment.wall -= 43_201  # yesterday, of which nothing is known
    deployment.ask(1.0)
    deployment.wall += 43_201
    with pytest.raises(errors.BudgetSpent):
        deployment.ask(1.0)
    deployment.wall += 43_200
    assert deployment.runs(deployment.ask(1.0))


async def test_many_at_once_do_not_overshoot_the_budget() -> None:
    deployment = Deployment(budget_usd=0.1)
    each = 100 * PRICE[0] + 900 * PRICE[1]
    asked = [deployment.ask(0.0, chat(100, 900)) for _ in range(50)]
    running = [ticket for ticket in asked if deployment.runs(ticket)]
    assert len(running) == int(0.1 / each)
    assert deployment.limits.wait(asked[-1], 0.0) == math.inf
    await deployment.answer(running[0], 1.0, ChatChunk(usage=Usage(100, 900, each, "USD")))
    assert sum(map(deployment.runs, asked)) == len(running) - 1, "as much as was expected: no room for another one"
    for ticket in running[1:]:
        await deployment.answer(ticket, 1.0, ChatChunk(usage=Usage(100, 0, 100 * PRICE[0], "USD")))
    assert sum(map(deployment.runs, asked)) > 0, "less than was expected: others run"
    unsaved = deployment.limits.unsaved()
    assert unsaved
    assert unsaved.total <= 0.1
    assert deployment.limits.unsaved() == unsaved, "it could not be stored: the next second tries again"
    deployment.limits.saved(unsaved)
    assert deployment.limits.unsaved() is None


@pytest.mark.parametrize(
    ("given", "cost"),
    [
        ([ChatChunk("x" * 400)], 1000 * PRICE[0] + 100 * PRICE[1]),
        ([ChatChunk("x" * 400), errors.ProviderUnavailable("gone")], 1000 * PRICE[0] + 100 * PRICE[1]),
        ([errors.ProviderUnavailable("down")], 0.0),
        ([ChatChunk(usage=Usage(2000, 10))], 2000 * PRICE[0] + 10 * PRICE[1]),
    ],
    ids=["nothing reported", "broken off", "not answered", "no cost reported"],
)
async def test_cost_that_is_not_known_is_estimated(given: list[Any], cost: float) -> None:
    deployment = Deployment(budget_usd=1.0)
    with contextlib.suppress(errors.ProviderUnavailable):
        await deployment.answer(deployment.ask(0.0, chat(1000)), 1.0, *given)
    assert deployment.stat(1.0)["budget_usd"].used == pytest.approx(cost, rel=1e-3)


def test_stat_shows_limits_that_are_set() -> None:
    assert Limits(plan()).stats(0.0, 3) == []
    deployment = Deployment(rpm=2, max_queue=7)
    for _ in range(3):
        deployment.ask(0.0)
    assert deployment.stat(20.0) == {
        "rpm": LimitStat("rpm", 2, 2, "minute", 41), "max_queue": LimitStat("max_queue", 1, 7, "", 0),
    }  # fmt: skip
    assert "limit of 2 a minute reached (--rpm), next in 41 s" in str(deployment.limits.waiting_for(20.0))
    assert deployment.limits.waiting_for(61.0) == ""


def test_limits_of_an_update_hold_at_once_and_what_was_used_counts_on() -> None:
    deployment = Deployment(rpm=5, budget_usd=1.0)
    for _ in range(5):
        deployment.ask(0.0)
    deployment.limits.use(plan(rpm=6, tpm=10))
    assert deployment.runs(deployment.ask(1.0))
    assert not deployment.runs(deployment.ask(1.0))
    assert deployment.stat(1.0)["rpm"].used == 6
    deployment.limits.use(plan())
    deployment.table.serve(1.0)
    assert deployment.table.queued == 0
    for ticket in range(1, 8):
        deployment.end(ticket, 2.0)


@pytest.mark.parametrize(
    ("model", "words"),
    [("qwen-max-of-nobody", "none is known for qwen-max-of-nobody"), ("local", "none is known")],
)
def test_budget_without_a_price_is_refused(model: str, words: str) -> None:
    with pytest.raises(errors.BadParameter, match=words) as caught:
        plan(model, budget_usd=5.0)
    assert "--tpm" in caught.value.hint


def test_budget_in_another_currency_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    yuan = prices.find("saas/openai", "gpt-4o")
    assert yuan
    monkeypatch.setattr(prices, "load", lambda: (replace(yuan, currency="CNY"),))
    plan()
    with pytest.raises(errors.BadParameter, match="in US dollars, and the price of gpt-4o is in CNY"):
        plan(budget_usd=5.0)


# ---- in the queue


async def admit(admission: Admission, timeout: float | None = None) -> int:
    ticket = admission.ticket()
    try:
        async with asyncio.timeout(timeout) as deadline:
            async for _place in admission.admit(ticket, deadline, chat(10, 10)):
                pass
    except TimeoutError:
        raise admission.why_cancelled(ticket) or errors.DeadlineExceeded("late") from None
    return ticket


async def test_queue_goes_on_by_itself_when_the_minute_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPAN", 0.05)
    admission = Admission(1, 9, limits=Limits(plan(rpm=1)))
    assert await asyncio.gather(*(admit(admission) for _ in range(3))) == [0, 1, 2]
    assert (admission.running, admission.queued) == (3, 0)


@simulated
async def test_queue_goes_on_when_the_minute_ends_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, acquire = Clock(), Admission._acquire

    def slowly(*given: Any) -> bool:
        found = acquire(*given)
        clock.sleep(SPAN)
        return found

    monkeypatch.setattr(admission_module, "time", clock)
    admission = Admission(1, 9, limits=Limits(plan(rpm=1)))
    assert await admit(admission) == 0
    monkeypatch.setattr(Admission, "_acquire", slowly)
    assert await admit(admission, 90) == 1


async def test_more_workers_are_not_for_requests_that_a_limit_keeps() -> None:
    for limits, wanted in (({"rpm": 1}, 0), ({"rpm": 9}, 1), ({"budget_usd": 1e-4}, 0)):
        admission = Admission(1, 1, limits=Limits(plan(**limits)))
        waiting = [asyncio.create_task(admit(admission)) for _ in range(2)]
        await asyncio.sleep(0)
        assert (admission.queued, admission.queued_for_slots) == (1, wanted)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert admission.queued_for_slots == 0


async def test_request_whose_turn_comes_too_late_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    admission = Admission(1, 9, limits=Limits(plan(rpm=1)))
    await admit(admission, 30)
    with pytest.raises(errors.LimitReached, match=r"limit of requests a minute \(--rpm 1\)") as caught:
        await admit(admission, 30)
    assert caught.value.details["retry_after"] == SPAN
    problem = problems.of(caught.value)
    assert (problem.status, problem.code, problem.again) == (429, "rate_limit_exceeded", True)
    waiting = asyncio.create_task(admit(admission, 90))
    await asyncio.sleep(0)
    with pytest.raises(errors.LimitReached):
        await admit(admission, 90)  # another one is before it
    assert admission.queued == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert admission.queued == 0


async def test_deadline_that_passes_because_of_a_limit_says_so() -> None:
    admission = Admission(1, 9, limits=Limits(plan(tpm=30)))
    await admit(admission)
    with pytest.raises(errors.LimitReached, match=r"limit of tokens a minute \(--tpm 30\)"):
        await admit(admission, 0.01)
    assert admission.queued == 0


async def test_full_queue_says_which_limit_it_waits_for() -> None:
    limited = Admission(1, 9, max_queue=0, limits=Limits(plan(rpm=1)))
    await admit(limited)
    with pytest.raises(errors.LimitReached, match="requests a minute"):
        await admit(limited)
    busy = Admission(1, 1, max_queue=0, limits=Limits(plan(rpm=9)))
    await admit(busy)
    with pytest.raises(errors.Overloaded, match=r"0 requests are queued \(--max_queue 0\)"):
        await admit(busy)
    assert problems.of(errors.Overloaded("full", retry_after=3)).status == 503


async def test_thousands_that_wait_are_refused_when_the_budget_is_spent() -> None:
    limits = Limits(plan(budget_usd=0.001))
    admission = Admission(1, 1, limits=limits)
    first = await admit(admission)
    waiting = [asyncio.create_task(admit(admission)) for _ in range(3000)]
    await asyncio.sleep(0)
    assert admission.queued == 3000
    async for _item in limits.counted(first, items(ChatChunk(usage=Usage(10, 10, 0.5, "USD")))):
        pass
    admission.release(first, failed=False)
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(err) for err in refused} == {errors.BudgetSpent}
    assert (admission.running, admission.queued) == (0, 0)
    with pytest.raises(errors.BudgetSpent, match=r"\$0.50 of its budget of \$0.001") as caught:
        await admit(admission)
    problem = problems.of(caught.value)
    assert (problem.status, problem.code, problem.again) == (429, "insufficient_quota", False)


async def test_update_lets_those_that_wait_go_on() -> None:
    admission = Admission(1, 9, limits=Limits(plan(rpm=1)))
    await admit(admission)
    waiting = asyncio.create_task(admit(admission))
    await asyncio.sleep(0)
    admission.use(plan(rpm=2))
    admission.resize([0], "up")  # as an update does
    await asyncio.wait_for(waiting, PATIENCE)
