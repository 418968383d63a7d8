"""Requests that a purse pays for: what is held for them, what they cost, and what happens when it is empty."""

from __future__ import annotations

import asyncio
import math
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic import errors, request_ids
from byzer_magic.catalog import prices
from byzer_magic.client import payments, spending, topping_up
from byzer_magic.client.collect import Complete
from byzer_magic.client.cost_bounds import Lengths, Watch, cost_bound
from byzer_magic.client.journaling import How, using
from byzer_magic.client.manager import Manager
from byzer_magic.client.pricing import Priced
from byzer_magic.client.replaying import REPLAY
from byzer_magic.client.reporter import Question, Silent
from byzer_magic.client.spending import Wallet, paid, paying
from byzer_magic.config import Settings
from byzer_magic.journal.entry import Origin
from byzer_magic.journal.purse import Purse, PurseFile
from byzer_magic.journal.store import Store
from byzer_magic.runtime.loop import LOOP
from byzer_magic.types import ChatChunk, ChatRequest, Dispatched, Message, Request, Usage
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
    monkeypatch.setattr(payments, "POLL_SECONDS", 0.001)
    return PurseFile(Store.open(tmp_path).path)


def request(**options: Any) -> ChatRequest:
    return ChatRequest(messages=[Message("user", "Why?")], options=options)


async def answer(
    _request: Any = None, *, usage: Usage | None = PAID, error: Exception | None = None, text: str = "So."
) -> AsyncIterator[Any]:
    yield Dispatched(0, 0.0)
    yield ChatChunk(text)
    if error:
        raise error
    yield ChatChunk("", finish="stop", usage=usage)


def ask(face: Face, asked: ChatRequest | None = None, send: spending.Send = answer) -> list[Any]:
    return list(LOOP.iterate(paying(cast("Manager", face), "m", asked or request(max_tokens=100), send)()))


def read(file: PurseFile) -> Purse:
    found = file.read()
    assert found
    return found


def test_without_a_purse_requests_go_as_they_are(file: PurseFile) -> None:
    def pays() -> bool:
        return getattr(paying(cast("Manager", Face()), "m", request(), answer), "func", None) is not answer

    assert not pays()
    file.put(0.5, "USD", strict=False)
    spending.WALLET.changed()
    assert pays()
    with using(How(origin=Origin("endpoint"))):
        assert not pays()
    tape = file.path.with_name("tape.jsonl")
    tape.write_bytes(b"")
    REPLAY.start(str(tape), 0.0)
    try:
        assert not pays()
    finally:
        REPLAY.as_set()


def test_request_costs_what_it_did(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)
    assert len(ask(Face())) == 3
    assert (read(file).spent, read(file).held) == (0.002, 0.0)
    with pytest.raises(errors.NotDeployed):
        ask(Face(), send=refused)
    assert (read(file).spent, read(file).held) == (0.002, 0.0)
    with pytest.raises(errors.StreamTruncated):
        ask(Face(), send=lambda _request: answer(error=errors.StreamTruncated("cut"), text="x" * 400))
    assert read(file).spent == pytest.approx(0.002 + 2 * 2.5e-6 + 100 * 10e-6, abs=2e-5), "no more than its limit"
    stopped = LOOP.iterate(paying(cast("Manager", Face()), "m", request(), endless)())
    next(stopped)
    assert read(file).held > 0
    stopped.close()  # type: ignore[attr-defined]  # a generator
    assert read(file).held == 0


def test_answer_that_goes_on_without_its_process_counts_as_it_probably_costs(file: PurseFile) -> None:
    file.put(0.5, "USD", strict=False)

    async def leave() -> None:
        payments.GOES_ON.set(True)
        items = paying(cast("Manager", Face()), "m", request(max_tokens=100), endless)()
        await anext(items)
        await items.aclose()  # type: ignore[attr-defined]  # a generator

    LOOP.run(leave())
    assert 100 * 10e-6 <= read(file).spent < 100 * 10e-6 + 100 * 2.5e-6


async def endless(_request: Any) -> AsyncIterator[Any]:
    yield Dispatched(0, 0.0)
    await asyncio.Event().wait()


async def refused(_request: Any) -> AsyncIterator[Any]:
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
    assert isinstance(running.result(PATIENCE)[-1], ChatChunk)
    assert not face.reporter.questions


async def whole(face: Face) -> list[Any]:
    return [item async for item in paying(cast("Manager", face), "m", request(max_tokens=100), answer)()]


class Long:
    """A deployment whose answers have so many tokens; what it was asked, and how many tokens it has made."""

    def __init__(self, tokens: int, token: str = "word", at_once: int = 1) -> None:
        self.asked: list[dict[str, Any]] = []
        self.made = 0
        self.ended = False
        self._tokens, self._token, self._at_once = tokens, token, at_once

    async def __call__(self, asked: Request) -> AsyncIterator[Any]:
        self.asked.append(dict(asked.options))
        most = min(self._tokens, asked.options.get("max_tokens", self._tokens))
        yield Dispatched(0, 0.0)
        try:
            while self.made < most:
                count = min(self._at_once, most - self.made)
                self.made += count
                yield ChatChunk(self._token * count)
                await asyncio.sleep(0)
        finally:
            self.ended = True
        yield ChatChunk("", finish="length" if most < self._tokens else "stop", usage=PRICE.on(Usage(2, most)))
        yield Complete()


def cost(tokens: int) -> float:
    """Return what a request costs whose answer has so many tokens, at most."""
    return cost_bound(request(), PRICE).of(tokens)


def test_answer_that_outgrows_the_purse_is_ended(file: PurseFile) -> None:
    file.put(cost(4_200), "USD", strict=False)
    other = file.hold(cost(50), 0.0)
    file.settle(other.id, 0.0)
    endless = Long(1_000_000)
    with pytest.raises(errors.PurseEmpty, match="was ended: it may cost more than the purse has left") as caught:
        ask(Face("0.5"), request(), endless)
    assert "%byzer purse +" in caught.value.hint
    assert caught.value.details["final"]
    assert endless.asked == [{}], "there was enough for an answer of usual length"
    assert endless.ended
    assert 500 < endless.made < 2_100, "ended in time, with what may come in a second"
    found = read(file)
    assert cost(endless.made) < found.spent <= found.amount, "what has arrived is paid, and counted with care"
    assert found.held == 0


def test_answer_that_has_come_to_its_end_is_not_ended(file: PurseFile) -> None:
    async def at_once(_asked: Request) -> AsyncIterator[Any]:
        yield Dispatched(0, 0.0)
        yield ChatChunk("word" * 2_200, finish="stop")
        yield ChatChunk("", usage=PRICE.on(Usage(2, 2_200)))

    file.put(cost(4_200), "USD", strict=False)
    assert len(ask(Face(), request(), at_once)) == 3
    assert read(file).spent == pytest.approx(cost(2_200), abs=1e-3)


def test_near_its_end_the_purse_limits_what_is_not_limited(file: PurseFile) -> None:
    file.put(cost(700), "USD", strict=False)
    short, long = Long(10), Long(10_000)
    assert len(ask(Face(), request(), short)) == 13
    assert short.asked == [{"max_tokens": 700}], "all that is left"
    file.put(cost(700), "USD", strict=False, afresh=True)
    with pytest.raises(errors.PurseEmpty, match="was cut at 700 tokens: the purse had no money for more"):
        ask(Face(), request(), long)
    assert long.made == 700
    assert read(file).spent == pytest.approx(cost(700), abs=1e-3)
    file.put(cost(5_000), "USD", strict=False, afresh=True)
    both = Long(10)
    ask(Face(), request(n=2), both)
    assert 2_400 < both.asked[0]["max_tokens"] <= 2_500, "of each choice"


def test_limit_of_the_purse_is_noticed_where_a_provider_does_not_name_it(file: PurseFile) -> None:
    async def stopped(asked: Request) -> AsyncIterator[Any]:
        yield Dispatched(0, 0.0)
        yield ChatChunk("So", finish="stop", usage=PRICE.on(Usage(2, asked.options["max_tokens"])))

    file.put(cost(700), "USD", strict=False)
    with pytest.raises(errors.PurseEmpty, match="was cut at 700 tokens"):
        ask(Face(), request(), stopped)


def test_limit_of_the_deployment_counts_and_is_never_raised(file: PurseFile) -> None:
    file.put(cost(300), "USD", strict=False)
    small = Face(price=Priced(price=PRICE, limit=200))
    long = Long(200)
    ask(small, request(), long)
    assert long.asked == [{}]
    own = Long(10)
    ask(small, request(extra_body={"max_tokens": 50}), own)
    assert own.asked == [{"extra_body": {"max_tokens": 50}}]
    assert read(file).held == 0


def test_limit_of_the_purse_that_is_refused_is_not_shown_as_the_users(file: PurseFile) -> None:
    async def refuse(_asked: Request) -> AsyncIterator[Any]:
        raise errors.BadRequest("max_tokens must be greater than thinking.budget_tokens", "Leave max_tokens out.")
        yield

    file.put(cost(700), "USD", strict=False)
    with pytest.raises(errors.PurseEmpty, match="money for 700 tokens of an answer, and m refuses that limit"):
        ask(Face(), request(), refuse)
    with pytest.raises(errors.BadRequest):
        ask(Face(), request(max_tokens=10), refuse)
    assert (read(file).spent, read(file).held) == (0.0, 0.0)


def test_request_says_that_it_waits_for_what_others_hold(file: PurseFile) -> None:
    file.put(cost(700), "USD", strict=False)
    other = file.hold(cost(650), 0.0)
    items = LOOP.iterate(paying(cast("Manager", Face()), "m", request(), Long(10))())
    assert "held for requests in flight" in next(items).stage
    file.settle(other.id, 0.0)
    assert len(list(items)) == 13


async def test_background_answer_that_outgrows_the_purse_is_ended_in_its_deployment(file: PurseFile) -> None:
    file.put(cost(4_200), "USD", strict=False)
    called: list[Any] = []

    class Link:
        async def call(self, method: str, body: Any) -> None:
            called.append((method, body.id))

    class Connected(Face):
        @property
        def connection(self) -> Any:
            return self

        async def link(self, _alias: str) -> Link:
            return Link()

    async def background() -> None:
        payments.GOES_ON.set(True)
        request_ids.CURRENT.set("req_1")
        async for _item in paying(cast("Manager", Connected()), "m", request(), Long(1_000_000))():
            pass

    with pytest.raises(errors.PurseEmpty):
        await background()
    assert called == [("cancel_answer", "req_1")]


def test_lengths_tell_how_much_an_answer_needs() -> None:
    lengths = Lengths()
    assert (lengths.reach, lengths.per_byte, lengths.unseen) == (4_096, 0.5, 0)
    for _ in range(20):
        lengths.add(10, 40)
    assert (lengths.reach, lengths.per_byte) == (512, 0.5), "so short a text shows nothing"
    lengths.add(400, 1_600)
    assert (lengths.reach, lengths.per_byte) == (1_600, 0.25)
    lengths.add(6_000, 200)
    assert (lengths.reach, lengths.per_byte, lengths.unseen) == (6_000, 1.0, 5_800), "most of it was not shown"
    known = Lengths([(40, 160)] * 20)
    known.add(40, 160, whole=True)
    assert known.reach == 4_096, "what comes in one piece cannot be ended"
    many = Lengths([(number, 4 * number) for number in range(1, 201)])
    assert (many.longest, many.usual) == (100, 90), "of the newest hundred"


@settings(max_examples=30, deadline=None)
@given(
    tokens=st.integers(1, 30_000),
    speed=st.floats(1.0, 400.0),
    size=st.integers(2, 8),
    left=st.integers(4_096, 20_000),
    late=st.floats(0.0, 0.3),
)
def test_answer_is_ended_before_more_has_been_made_than_is_held(
    tokens: int, speed: float, size: int, left: int, late: float
) -> None:
    """A provider goes on while the news of its pieces, and of the end, are on their way."""
    watch = Watch(cost_bound(request(), PRICE), Lengths(), room=4_096)
    for arrived in range(1, tokens + 1):
        now = arrived / speed
        watch.add(arrived * size, 0, now)
        if watch.is_short:
            watch.room = min(watch.wanted, left)
        if watch.is_short:
            made = arrived + math.ceil(2 * late * speed)
            assert min(made, tokens) <= left
            return
    assert tokens <= watch.room


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 20_000), st.integers(3, 8)), min_size=1, max_size=30),
    amount=st.integers(600, 30_000),
    at_once=st.integers(1, 6),
)
def test_unlimited_answers_of_several_notebooks_never_overspend(
    lengths: list[tuple[int, int]], amount: int, at_once: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Store.open(Path(folder)).path
        files = [PurseFile(path), PurseFile(path)]
        files[0].put(cost(amount), "USD", strict=False)
        made: list[Long] = []

        async def one(number: int, tokens: int, size: int, turn: asyncio.Semaphore) -> None:
            deployment = Long(tokens, "x" * size, at_once=50)
            face = cast("Manager", Face())
            async with turn:
                made.append(deployment)
                payment = paid(face, files[number % 2], read(files[0]), "m", request(), deployment)
                with suppress(errors.PurseEmpty):
                    async for _item in payment:
                        await asyncio.sleep(0)

        async def all_of() -> None:
            turn = asyncio.Semaphore(at_once)
            await asyncio.gather(*(one(number, *item, turn) for number, item in enumerate(lengths)))

        LOOP.run(all_of())
        asked = [each for each in made if each.asked]
        found = read(files[0])
        assert sum(PRICE.at_any_length(Usage(2, each.made)) for each in asked) <= found.amount + 1e-9
        assert found.spent <= found.amount + 1e-9
        assert found.held == 0


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


@pytest.mark.parametrize(
    ("amount", "spent", "cost"), [(0.5, 0.5, 0.01), (1e-5, 0.0, 2e-5), (3.0, 2.0, 900.0), (0.5, 0.9, 0.01)]
)
def test_offers_are_round_and_enough(amount: float, spent: float, cost: float) -> None:
    purse = Purse(amount=amount, spent=spent)
    least, more = topping_up.offers(purse, cost)
    assert purse.amount - purse.spent + least >= cost
    assert least < more
    assert f"{least:.0e}"[0] in "125"
