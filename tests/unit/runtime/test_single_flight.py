"""What is looked up once for all that want it at the same time."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from byzer_magic.client.connection import Connection
from byzer_magic.runtime.single_flight import SingleFlight
from byzer_magic.runtime.transport.client import Link
from tests.clock import simulated


@simulated
async def test_caller_that_leaves_does_not_end_the_work_for_the_others() -> None:
    flights: SingleFlight[str] = SingleFlight()

    async def work() -> str:
        await asyncio.sleep(0.01)
        return "found"

    first, second = (asyncio.create_task(flights.do("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    assert await second == "found"


@simulated
async def test_error_reaches_every_caller_and_the_next_one_tries_again() -> None:
    flights: SingleFlight[str] = SingleFlight()
    tries = 0

    async def work() -> str:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0)
        raise ValueError(tries)

    ends = await asyncio.gather(*(flights.do("a", work) for _ in range(3)), return_exceptions=True)
    assert [str(end) for end in ends] == ["1"] * 3
    with pytest.raises(ValueError, match="2"):
        await flights.do("a", work)


@simulated
async def test_a_thousand_first_requests_share_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Link] = []

    async def located(_self: Connection, alias: str, _known: Link | None = None) -> Link:
        await asyncio.sleep(0.01)
        made.append(Link(alias, lambda: None))  # type: ignore[arg-type, return-value]  # never used
        return made[-1]

    monkeypatch.setattr(Connection, "_located", located)
    connection = Connection()
    links = await asyncio.gather(*(connection.link("m") for _ in range(1000)))
    assert set(links) == {*made}
    assert len(made) == 1
