"""What requests would take: those that the journal has cost nothing, and prices are those of the models."""

from __future__ import annotations

from pathlib import Path

import pytest

from byzer_magic.catalog import prices
from byzer_magic.client import estimates, journaling, pricing
from byzer_magic.client.estimates import Wanted
from byzer_magic.journal import keys
from byzer_magic.journal.entry import COMPLETE, Entry, Origin
from byzer_magic.journal.store import Store
from byzer_magic.runtime.transport.messages import ModelIdentity
from byzer_magic.stat import ModelStat
from byzer_magic.types import ChatRequest, Message, Request
from tests.answering import Answering
from tests.fleets import model, worker
from tests.waiting import PATIENCE


class Priced(Answering):
    """`paid` is a model with a price, `free` one without."""

    async def price(self, alias: str) -> pricing.Priced:
        return pricing.Priced(price=prices.find("saas/openai", "gpt-4o") if alias == "paid" else None)

    async def named(self, name: str) -> tuple[str, str]:
        alias, _colon, adapter = name.partition(":")
        return alias, adapter

    async def identity(self, alias: str, since: float | None = None) -> ModelIdentity | None:
        return ModelIdentity(f"digest of {alias}", "saas/openai", "gpt-4o")


def chat(text: str, **options: object) -> ChatRequest:
    return ChatRequest(messages=[Message("user", text)], options=dict(options))


async def test_estimated_has_the_price_of_each_model() -> None:
    wanted = [Wanted("paid", chat("x" * 4_000, max_tokens=100)), Wanted("free", chat("hi"))]
    found = await estimates.estimated(Priced(), wanted)
    assert (found.requests, found.to_ask, found.unpriced) == (2, 2, ("free",))
    assert found.answer_tokens == 100 + 500
    assert found.prompt_tokens == pytest.approx(1_000, rel=0.05)
    assert found.costs["USD"] == pytest.approx((1_000 * 2.5 + 100 * 10) / 1e6, rel=0.05)


async def test_known_are_the_same_model_request_and_sample(tmp_path: Path) -> None:
    store = Store.open(tmp_path)

    def write(request: Request, sample: int, digest: str = "digest of paid", status: str = COMPLETE) -> None:
        key = keys.key_of(digest, keys.canonical(request), sample)
        about = {"provider": "", "title": "", "method": "chat", "request": "", "prompt": "", "request_id": ""}
        entry = Entry(
            key=key, asked="", sample=sample, at=0.0, alias="paid", origin=Origin("x"), status=status, **about
        )
        store.add(entry).result(PATIENCE)

    write(chat("one"), 0)
    write(chat("one"), 1)
    write(chat("cut"), 0, status="interrupted")
    write(chat("one", lora="poet"), 0)
    wanted = [Wanted("paid", chat("one"), sample) for sample in range(3)]
    wanted += [Wanted("paid", chat("cut")), Wanted("other", chat("one")), Wanted("paid:poet", chat("one"))]
    with journaling.using(journaling.How(store=store)):
        assert await estimates.known(Priced(), wanted) == [True, True, False, False, False, True]
        found = await estimates.estimated(Priced(), wanted[:3])
        assert (found.known, found.to_ask) == (2, 1)
    with journaling.using(journaling.How(store=store, fresh=True)):
        assert not any(await estimates.known(Priced(), wanted))
    assert not any(await estimates.known(Priced(), wanted)), "no journal is on"
    store.close()


def test_in_flight_is_as_many_as_there_are_or_may_be_slots() -> None:
    assert estimates.in_flight(model(workers=2, concurrency=4)) == 8
    assert estimates.in_flight(model(workers=2, concurrency=4, max_workers=5)) == 20
    assert estimates.in_flight(model(workers=0, concurrency=0)) == 1
    assert estimates.in_flight(
        ModelStat(model="m", kind="k", strategy="", capabilities=[], workers=[worker()] * 9, concurrency=999)
    ) == (estimates.MOST_IN_FLIGHT)
