"""What a click does, and what the panel knows: against a fleet of plain data."""

from __future__ import annotations

from typing import Any

from byzer_magic.widgets.panel import actions as panel_actions
from tests.fleets import NotingManager


async def replies(manager: NotingManager, **message: Any) -> list[panel_actions.Reply]:
    return [reply async for reply in panel_actions.perform(manager, message)]  # type: ignore[arg-type]


async def test_perform_scale_reports_stages() -> None:
    manager = NotingManager()
    reported = await replies(manager, type="scale", model="m", value=4)
    assert [reply["state"] for reply in reported] == ["going", "going", "done"]
    assert "loading 50%" in reported[1]["text"]
    assert manager.asked[-1].num_workers == 4


async def test_perform_ends_with_an_error() -> None:
    reported = await replies(NotingManager(), type="scale", model="nobody", value=4)
    assert reported[-1]["state"] == "failed"
    assert "Deployed: m." in reported[-1]["text"]


async def test_perform_scale_rejects_invalid_numbers() -> None:
    reported = await replies(NotingManager(), type="scale", model="m", value=0)
    assert reported[-1]["state"] == "failed"


async def test_perform_does_not_start_ray() -> None:
    manager = NotingManager(ray=False)
    reported = await replies(manager, type="undeploy", model="m")
    assert reported[-1] == {"state": "failed", "text": "Ray is not running on this machine."}
    assert manager.asked == []


async def test_perform_drain_of_one_worker_or_all() -> None:
    manager = NotingManager()
    await replies(manager, type="restart", model="m", worker=3)
    assert manager.asked[-1].worker == 3
    await replies(manager, type="restart", model="m")
    assert manager.asked[-1].worker is None
    reported = await replies(manager, type="drain", model="m", worker=0)
    assert (manager.asked[-1].worker, reported[-1]["text"]) == (0, "No new requests are sent; 2 still in flight.")


async def test_perform_sleep_and_wake() -> None:
    manager = NotingManager()
    assert (await replies(manager, type="wake", model="m"))[-1]["text"] == "It is awake."
    assert (await replies(manager, type="sleep", model="m"))[-1]["text"] == "Asleep."
    assert (await replies(manager, type="sleep", model="m"))[-1]["text"] == "Not now: it has requests to finish."
    assert (await replies(manager, type="wake", model="m"))[-1] == {"state": "done", "text": "Done."}
    assert manager.asked[-1].model == "m"


async def test_perform_undeploy_and_logs() -> None:
    manager = NotingManager()
    assert (await replies(manager, type="undeploy", model="m"))[-1]["text"] == "Undeployed."
    assert manager.asked[0] == "ensure"
    assert (await replies(manager, type="logs", model="m"))[-1]["log"] == "m <line>\nm <line>"
