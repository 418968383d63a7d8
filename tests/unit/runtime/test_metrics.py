"""What a pool counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st

from byzer_magic.catalog import prices
from byzer_magic.runtime.metrics import CPU_SECONDS, HISTORY_SECONDS, CpuShare, Metrics
from byzer_magic.types import ChatChunk, EmbeddingBatch, Usage

PRICE = prices.find("saas/openai", "gpt-4o")


async def items(*given: ChatChunk | EmbeddingBatch) -> AsyncIterator[ChatChunk | EmbeddingBatch]:
    for item in given:
        yield item


async def answered(metrics: Metrics, *given: ChatChunk | EmbeddingBatch) -> list[Any]:
    found = [item async for item in metrics.measured(items(*given))]
    metrics.ended(failed=False)
    return found


async def test_metrics_add_up_tokens_and_costs() -> None:
    metrics = Metrics(PRICE)
    assert metrics.cost == 0.0
    await answered(metrics, ChatChunk(text="a"), ChatChunk(text="b"), ChatChunk(usage=Usage(1_000_000, 5)))
    await answered(metrics, EmbeddingBatch(0, 1, b"", usage=Usage(1_000_000, 0)))
    assert metrics.usage == Usage(2_000_000, 5)
    assert metrics.cost == pytest.approx(5.0 + 5 * 10 / 1_000_000)
    metrics.tick(3, 4)
    [sample] = metrics.history
    assert (sample.requests, sample.tokens, sample.busy, sample.queued) == (2, 5, 3, 4)
    assert sample.cost == pytest.approx(metrics.cost)
    metrics.tick(0, 0)
    assert (metrics.history[-1].cost, metrics.history[-1].requests) == (0.0, 0)


async def test_metrics_count_the_last_of_cumulative_usages() -> None:
    metrics = Metrics(PRICE)
    await answered(metrics, *(ChatChunk(text="a", usage=Usage(1_000_000, number)) for number in range(1, 6)))
    assert metrics.usage == Usage(1_000_000, 5)
    assert metrics.cost == pytest.approx(2.5 + 5 * 10 / 1_000_000)


async def test_cost_is_unknown_once_one_response_has_no_price() -> None:
    assert PRICE
    metrics = Metrics(replace(PRICE, up_to=10))
    await answered(metrics, ChatChunk(usage=Usage(11, 1)))
    await answered(metrics, ChatChunk(usage=Usage(1, 1)))
    metrics.tick(0, 0)
    assert (metrics.cost, metrics.history[-1].cost) == (None, None)


async def test_cost_is_unknown_without_a_price() -> None:
    metrics = Metrics()
    assert await answered(metrics, ChatChunk(usage=Usage(1, 1))) == [ChatChunk(usage=Usage(1, 1))]
    assert metrics.cost is None


async def test_response_carries_its_cost() -> None:
    assert PRICE
    text, end = await answered(Metrics(PRICE), ChatChunk("hi"), ChatChunk(finish="stop", usage=Usage(1_000_000, 0)))
    assert text == ChatChunk("hi")
    assert (end.finish, end.usage) == ("stop", Usage(1_000_000, 0, PRICE.input, "USD"))
    [part] = await answered(Metrics(PRICE), EmbeddingBatch(0, 1, b"", usage=Usage(0, 1_000_000)))
    assert part.usage.cost == PRICE.output
    [long] = await answered(Metrics(replace(PRICE, up_to=10)), ChatChunk(usage=Usage(11, 1)))
    assert long.usage == Usage(11, 1), "a price that does not hold is none"


def test_history_keeps_ten_minutes() -> None:
    metrics = Metrics()
    for _ in range(HISTORY_SECONDS + 5):
        metrics.tick(0, 0)
    assert len(metrics.history) == HISTORY_SECONDS == 600


def test_cpu_share_of_seconds_and_of_the_last_five() -> None:
    share = CpuShare()
    used = [0.0, 0.5, 1.0, 1.25, 1.25, 2.25, 3.25]
    assert [share.add(100.0 + second, 7.0 + cpu) for second, cpu in enumerate(used[:5])] == [None, 0.5, 0.5, 0.25, 0.0]
    assert share.lasting is None, "four seconds do not say that it lasts"
    assert [share.add(105.0 + second, 7.0 + cpu) for second, cpu in enumerate(used[5:])] == [1.0, 1.0]
    assert share.lasting == pytest.approx((3.25 - 0.5) / 5)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 100)), max_size=20))
def test_cpu_share_is_between_nothing_and_one_core(steps: list[tuple[float, float]]) -> None:
    share, wall, cpu = CpuShare(), 0.0, 0.0
    for later, used in steps:
        wall, cpu = wall + later, cpu + used
        assert 0.0 <= (share.add(wall, cpu) or 0.0) <= 1.0
        assert 0.0 <= (share.lasting or 0.0) <= 1.0


def test_cpu_share_with_late_seconds_is_of_the_time_that_passed() -> None:
    share = CpuShare()
    share.add(0.0, 0.0)
    assert share.add(4.0, 1.0) == 0.25


def test_metrics_read_the_cpu_time_of_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = {"wall": 50.0, "cpu": 3.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(time, "process_time", lambda: clock["cpu"])
    metrics = Metrics()
    for _ in range(CPU_SECONDS + 1):
        metrics.tick(0, 0)
        clock["wall"] += 1.0
        clock["cpu"] += 0.9
    assert [sample.pool_cpu for sample in metrics.history] == [None, *[pytest.approx(0.9)] * CPU_SECONDS]
    assert metrics.pool_cpu == pytest.approx(0.9)


async def slowly(*given: ChatChunk | EmbeddingBatch) -> AsyncIterator[ChatChunk | EmbeddingBatch]:
    for item in given:
        yield item
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "given",
    [
        (ChatChunk("The whole answer.", finish="stop", usage=Usage(10, 20)),),
        (ChatChunk("The whole answer."), ChatChunk(finish="stop", usage=Usage(10, 20))),
        (EmbeddingBatch(0, 1, b"", usage=Usage(10, 0)),),
    ],
    ids=["one chunk", "usage apart", "embeddings"],
)
async def test_response_in_one_piece_has_no_speed_and_no_first_token(given: Any) -> None:
    metrics = Metrics()
    await answered(metrics, *given)
    metrics.tick(0, 0)
    assert (metrics.tokens_per_second, metrics.ttft(0.5), metrics.history[-1].ttft) == (None, None, None)
    assert metrics.history[-1].latency is not None


async def test_response_whose_pieces_come_at_once_has_no_speed() -> None:
    metrics = Metrics()
    await answered(metrics, ChatChunk(reasoning="Hm."), ChatChunk("The answer.", finish="stop", usage=Usage(10, 20)))
    assert metrics.tokens_per_second is None


async def test_response_in_pieces_has_the_speed_after_the_first() -> None:
    metrics = Metrics()
    chunks = [ChatChunk("word " * 8), ChatChunk("word " * 2), ChatChunk(finish="stop", usage=Usage(10, 100))]
    async for _item in metrics.measured(slowly(*chunks)):
        pass
    metrics.tick(0, 0)
    assert metrics.ttft(0.5) is not None
    assert metrics.history[-1].ttft is not None
    assert metrics.tokens_per_second is not None
    assert metrics.tokens_per_second <= 20 / 0.05, "a fifth of the tokens came after the first piece"
