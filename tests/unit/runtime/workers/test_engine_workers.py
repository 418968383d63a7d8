"""Watching a load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from byzer_magic import errors
from byzer_magic.runtime.workers.engine_workers import loads_at_once, with_stall_timeout
from byzer_magic.types import Loading
from tests.clock import simulated


def test_workers_that_share_a_gpu_load_one_by_one() -> None:
    assert [loads_at_once(gpus) > 1 for gpus in (0, 0.25, 0.5, 1, 2)] == [True, False, False, True, True]


async def loads(*details: str) -> AsyncIterator[Loading]:
    for detail in details:
        await asyncio.sleep(0.03)
        yield Loading("reading", detail=detail)


@simulated
async def test_stall_timeout_allows_a_long_load_with_progress() -> None:
    assert len([event async for event in with_stall_timeout(loads(*"abcdefgh"), 0.1)]) == 8


@simulated
async def test_stall_timeout_aborts_a_load_without_progress() -> None:
    with pytest.raises(errors.EngineFailed, match="no progress"):
        [event async for event in with_stall_timeout(loads("1 MB", *["2 MB"] * 20), 0.2)]
