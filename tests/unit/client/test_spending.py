"""Requests that a purse pays for: what is held for them, what they cost, and what happens when it is empty."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from byzer_magic import errors
from byzer_magic.catalog import prices
from byzer_magic.client import spending, topping_up
from byzer_magic.client.cost_bounds import Lengths, cost_bound
from byzer_magic.client.journaling import How, using
from byzer_magic.client.manager import Manager
from byzer_magic.client.pricing import Priced
from byzer_magic.client.replaying import REPLAY
from byzer_magic.client.reporter import Question, Silent
from byzer_magic.client.spending import Wallet, paying
from byzer_magic.config import Settings
from byzer_magic.journal.entry import Origin
from byzer_magic.journal.purse import Purse, PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Message, Usage
from tests.waiting import PATIENCE

PRICE = cast("prices.Price", prices.find("saas/openai", "gpt-4o"))
PAID = Usage(100, 10, 0.002, "USD")


class Asked(Silent):
    """A reporter with a user who gives these answers."""

    def __init__(self, *answers: str) -> None:
        self.answers = [*answers]
        self.questions: list[Question] = []
        self.said: list[str] = []

    def say(self, text: str, /) -> None:
        self.said.append(text)

    def ask(self, question: Question, /) -> str | None:  # type: ignore[override]  # this one does answer
        self.questions.append(question)
        return self.answers.pop(0) if self.answers else None


class Face:
    """What the purse needs of a manager: who is asked, and the pools."""

    def __init__(self, *answers: str, price: Priced | None = None) -> None:
        self.reporter = Asked(*answers)
        self._price = price or Priced(price=PRICE)
        self.settings = Settings()

    async def price(self, _alias: str) -> Priced:
        return self._price

    def warn(self, text: str) -> None:
        self.reporter.say(text)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PurseFile:
    """The file of a project of its own, in which this process works; it has no purse yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spending, "WALLET", Wallet())
    monkeypatch.setattr(spending, "POLL_SECONDS", 0.001)
    return PurseFile(Store.open(tmp_path).path)


def request(**options: Any) -> ChatRequest:
    return ChatRequest(messages=[Message("user", "Why?")], options=options)


async def answer(usage: Usage | None = PAID, error: Exception | None = None, text: str = "So.") -> AsyncIterator[Any]:
    yield Dispatched(0, 0.0)
    yield ChatChunk(text)
    if error:
        raise error
    yield ChatChunk("", finish="stop", usage=usage)


def ask(face: Face, asked: ChatRequest | None = None, send: Callable[[], AsyncIterator[Any]] = answer) -> list[Any]:
    return list(LOOP.iterate(paying(cast("Manager", face), "m", asked or request(max_tokens=100), send)()))


def read(file: PurseFile) -> Purse:
    found = file.read()
    assert found
    return found


def test_without_a_purse_requests_go_as_they_are(file: PurseFile) -> None:
    assert paying(cast("Manager", Face()), "m", request(), answer) is answer
    file.put(0.5, "USD", strict=False)
    spending.WALLET.changed()
    assert paying(cast("Manager", Face()), "m", request(), answer) is not answer
    with using(How(origin=Origin("endpoint"))):
        assert paying(cast("Manager", Face()), "m", request(), answer) is answer
    tape = file.path.with_name("tape.jsonl")
    tape.write_bytes(b"")
    REPLAY.start(str(tape), 0.0)
    try:
        assert paying(cast("Manager", Face()), "m", request(), answer) is answer
    finally:
        REPLAY.as_set()


def test_request_costs_what_it_did(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    assert len(ask(Face())) == 3
    assert (read(file).spent, read(file).held) == (0.002, 0.0)
    with pytest.raises(errors.NotDeployed):
        ask(Face(), send=lambda: refused())
    assert (read(file).spent, read(file).held) == (0.002, 0.0)
    with pytest.raises(errors.StreamTruncated):
        ask(Face(), send=lambda: answer(error=errors.StreamTruncated("cut"), text="x" * 400))
    assert read(file).spent == pytest.approx(0.002 + 2 * 2.5e-6 + 100 * 10e-6, abs=2e-5), "what arrived is estimated"
    stopped = LOOP.iterate(paying(cast("Manager", Face()), "m", request(), endless)())
    next(stopped)
    assert read(file).held > 0
    stopped.close()  # type: ignore[attr-defined]  # a generator
    assert read(file).held == 0


def test_answer_that_goes_on_without_its_process_counts_as_it_probably_costs(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)

    async def leave() -> None:
        spending.GOES_ON.set(True)
        items = paying(cast("Manager", Face()), "m", request(max_tokens=100), endless)()
        await anext(items)
        await items.aclose()  # type: ignore[attr-defined]  # a generator

    LOOP.run(leave())
    assert 100 * 10e-6 <= read(file).spent < 100 * 10e-6 + 100 * 2.5e-6


async def endless() -> AsyncIterator[Any]:
    yield Dispatched(0, 0.0)
    await asyncio.Event().wait()


async def refused() -> AsyncIterator[Any]:
    raise errors.NotDeployed("m is not deployed.")
    yield


def test_empty_purse_asks_and_goes_on_with_more(file: PurseFile) -> None:
    file.put(0.0001, "USD", strict=False)
    face = Face("what?", "0.5")
    ask(face)
    assert read(file).amount == pytest.approx(0.5001)
    [question, _again] = face.reporter.questions
    assert question.text == "Purse: $0.0001 left; this request to m may cost up to $0.00119."
    assert question.choices == ("Add $0.002", "Add $0.005", "Stop")
    file.put(0.0021, "USD", strict=False)
    ask(Face("Add $0.002"))
    assert read(file).amount == pytest.approx(0.0041)
    file.put(0.0021, "USD", strict=False)
    ask(Face(""))
    assert read(file).left > 0


def test_empty_purse_is_an_error_where_nobody_adds_money(file: PurseFile) -> None:
    file.put(0.0001, "USD", strict=False)
    for face in (Face("Stop"), Face("no"), Face("?", "?", "?"), Face()):
        with pytest.raises(
            errors.PurseEmpty, match=r"has \$0.0001 left, and this request to m may cost up to"
        ) as caught:
            ask(face)
        assert "%byzer purse +0.002" in caught.value.hint
        assert isinstance(caught.value, errors.BudgetSpent)
    face = Face("0.5")
    send = paying(cast("Manager", face), "m", request(max_tokens=100), answer)

    async def drain() -> None:
        async for _ in LOOP.adopt_iterate(send()):
            pass

    with pytest.raises(errors.PurseEmpty):
        asyncio.run(drain())
    assert not face.reporter.questions, "no thread waits that could ask"


def test_many_requests_at_once_ask_once(file: PurseFile) -> None:
    file.put(0.0001, "USD", strict=False)

    async def all_of(face: Face) -> list[Any]:
        async def one() -> list[Any]:
            return [item async for item in paying(cast("Manager", face), "m", request(max_tokens=100), answer)()]

        return await asyncio.gather(*(one() for _ in range(20)), return_exceptions=True)

    face = Face("stop", "stop")
    found = LOOP.run(all_of(face))
    assert {type(each) for each in found} == {errors.PurseEmpty}
    assert len(face.reporter.questions) == 1
    face = Face("0.5")
    found = LOOP.run(all_of(face))
    assert all(isinstance(each, list) for each in found)
    assert len(face.reporter.questions) == 1
    assert read(file).spent == pytest.approx(20 * 0.002)
    assert read(file).held == 0


def test_requests_wait_for_those_in_flight_in_place_of_asking(file: PurseFile) -> None:
    file.put(0.005, "USD", strict=False)
    other = file.hold(0.0045, 0.0)
    face = Face()
    running = asyncio.run_coroutine_threadsafe(whole(face), LOOP.start())
    LOOP.run(asyncio.sleep(0.05))
    assert not running.done()
    file.settle(other.id, 0.001)
    assert len(running.result(PATIENCE)) == 3
    assert not face.reporter.questions


async def whole(face: Face) -> list[Any]:
    return [item async for item in paying(cast("Manager", face), "m", request(max_tokens=100), answer)()]


def test_answer_without_a_limit_holds_more_while_it_grows(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    held: list[float] = []

    async def long() -> AsyncIterator[Any]:
        yield Dispatched(0, 0.0)
        for _ in range(64):
            yield ChatChunk("x" * 400)
            await asyncio.sleep(0.001)
            held.append(read(file).held)
        yield ChatChunk("", finish="stop", usage=PAID)

    ask(Face(), request(), long)
    assert held[0] < 0.006 < 0.06 < max(held)
    assert read(file).held == 0
    longest = spending.WALLET._lengths["m"]
    assert list(longest.tokens) == [10]
    assert cost_bound(request(), PRICE, longest.tokens).answer == 10, "the next ones are expected to be as long"


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (Priced(), "The price of m is unknown"),
        (Priced(price=replace(PRICE, currency="CNY")), "is not in USD"),
        (Priced(is_free=True), ""),
    ],
)
def test_model_without_a_price_is_not_counted_or_refused(file: PurseFile, price: Priced, said: str) -> None:
    file.put(1e-9, "USD", strict=False)
    face = Face(price=price)
    for _ in range(2):
        ask(face)
    assert len(face.reporter.said) == bool(said)
    assert said in "".join(face.reporter.said)
    file.put(1e-9, "USD", strict=True)
    if not said:
        ask(face)
        return
    with pytest.raises(errors.PurseEmpty, match=said):
        ask(face)


def test_estimate_is_an_upper_bound_of_the_tokens() -> None:
    found = cost_bound(request(max_tokens=7, n=3), PRICE)
    assert found.answer == 21
    assert found.limited
    assert found.prompt >= len(b"Why?") + 8, "with what the roles become"
    chinese = ChatRequest(messages=[Message("user", "为" * 100)])
    assert cost_bound(chinese, PRICE).prompt >= 300, "a token has a byte at least"
    assert not cost_bound(chinese, PRICE).limited
    assert list(Lengths(range(200)).tokens) == list(range(99, -1, -1))


@pytest.mark.parametrize(
    ("amount", "spent", "cost"), [(0.5, 0.5, 0.01), (1e-5, 0.0, 2e-5), (3.0, 2.0, 900.0), (0.5, 0.9, 0.01)]
)
def test_offers_are_round_and_enough(amount: float, spent: float, cost: float) -> None:
    purse = Purse(amount=amount, spent=spent)
    least, more = topping_up.offers(purse, cost)
    assert purse.amount - purse.spent + least >= cost
    assert least < more
    assert f"{least:.0e}"[0] in "125"
