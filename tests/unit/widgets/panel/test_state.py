"""The state of a panel."""

from __future__ import annotations

import asyncio

import pytest

from byzer_magic.widgets.panel.state import PanelState
from tests.fleets import NotingManager, fleet, model
from tests.waiting import happens


async def test_state_fetches_histories_once_and_opened_ones_again() -> None:
    manager = NotingManager()
    state = PanelState(manager)  # type: ignore[arg-type]
    state.take(fleet(model("a"), model("b")))
    state.take(fleet(model("a"), model("b")))
    assert await happens(lambda: {"history a", "history b"} <= {*manager.asked})
    await asyncio.sleep(0.1)  # another one would follow
    assert sorted(ask for ask in manager.asked if ask.startswith("history")) == ["history a", "history b"]
    state.open("a", wanted=True)
    state.take(fleet(model("a"), model("b")))
    assert await happens(lambda: "a/0" in state.view().rows)
    assert await happens(lambda: manager.asked.count("history a") == 2)
    state.close()


async def test_state_fetches_nothing_without_ray() -> None:
    manager = NotingManager()
    state = PanelState(manager)  # type: ignore[arg-type]
    state.take(fleet(model("a"), error="Ray is not running on this machine."))
    state.take(fleet(model("b"), age=10))
    await asyncio.sleep(0.1)
    assert manager.asked == []


async def test_state_logs_the_failure_of_a_background_task(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("no such field")

    state = PanelState(NotingManager())  # type: ignore[arg-type]
    with caplog.at_level("ERROR", logger="byzer_magic"):
        state.spawn(fail())
        while not caplog.text:
            await asyncio.sleep(0.01)
    assert "no such field" in caplog.text
    state.close()
