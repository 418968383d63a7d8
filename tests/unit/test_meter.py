"""What a pool counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from byzer_magic import prices
from byzer_magic.runtime.meter import HISTORY_SECONDS, Meter
from byzer_magic.types import ChatChunk, Usage, Vectors

PRICE = prices.find("saas/openai", "gpt-4o")


async def items(*given: ChatChunk | Vectors) -> AsyncIterator[ChatChunk | Vectors]:
    for item in given:
        yield item


async def answered(meter: Meter, *given: ChatChunk | Vectors) -> None:
    async for _ in meter.measured(items(*given)):
        pass
    meter.ended(failed=False)


async def test_tokens_and_costs_are_added_up() -> None:
    meter = Meter(PRICE)
    assert meter.cost == 0.0
    await answered(meter, ChatChunk(text="a"), ChatChunk(text="b"), ChatChunk(usage=Usage(1_000_000, 5)))
    await answered(meter, Vectors(0, 1, b"", usage=Usage(1_000_000, 0)))
    assert meter.usage == Usage(2_000_000, 5)
    assert meter.cost == pytest.approx(5.0 + 5 * 10 / 1_000_000)
    meter.tick(3, 4)
    [sample] = meter.history
    assert (sample.requests, sample.tokens, sample.busy, sample.queued) == (2, 5, 3, 4)
    assert sample.cost == pytest.approx(meter.cost)
    meter.tick(0, 0)
    assert (meter.history[-1].cost, meter.history[-1].requests) == (0.0, 0)


async def test_one_answer_of_an_unknown_price_leaves_the_sum_unknown() -> None:
    assert PRICE
    meter = Meter(replace(PRICE, up_to=10))
    await answered(meter, ChatChunk(usage=Usage(11, 1)))
    await answered(meter, ChatChunk(usage=Usage(1, 1)))
    meter.tick(0, 0)
    assert (meter.cost, meter.history[-1].cost) == (None, None)


async def test_without_a_price_nothing_costs_anything() -> None:
    meter = Meter()
    await answered(meter, ChatChunk(usage=Usage(1, 1)))
    assert meter.cost is None


def test_the_history_is_no_longer_than_ten_minutes() -> None:
    meter = Meter()
    for _ in range(HISTORY_SECONDS + 5):
        meter.tick(0, 0)
    assert len(meter.history) == HISTORY_SECONDS == 600
