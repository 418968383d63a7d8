"""What a click does, and what the panel knows: against a fleet of plain data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect, NotDeployed
from byzer_magic.stat import Sample
from byzer_magic.types import Event, Loading
from byzer_magic.widgets.panel import actions as panel_actions
from tests.fleets import steady


class Fleet:
    """Notes what it is asked; `m` is deployed, if Ray runs."""

    settings = Settings(lang="en")

    def __init__(self, *, ray: bool = True) -> None:
        self.asked: list[Any] = []
        self.ray = ray

    async def names(self) -> list[str]:
        if not self.ray:
            raise CannotConnect("No Ray is running here.")
        return ["m"]

    def ensure(self) -> None:
        self.asked.append("ensure")

    def reach(self, alias: str) -> None:
        self.asked.append(f"reach {alias}")

    async def scale(self, spec: ScaleSpec) -> AsyncIterator[Event]:
        self.asked.append(spec)
        yield Loading("loading", 1, 0.5)
        if spec.model != "m":
            raise NotDeployed(f"No model is deployed as {spec.model!r}.", "Deployed: m.")

    async def restart(self, spec: RestartSpec) -> AsyncIterator[Event]:
        self.asked.append(spec)
        yield Loading("restarting", 0)

    async def drain(self, spec: DrainSpec) -> int:
        self.asked.append(spec)
        return 2

    async def undeploy(self, spec: UndeploySpec) -> int:
        self.asked.append(spec)
        return 0

    async def logs(self, alias: str, lines: int) -> list[str]:
        return [f"{alias} <line>"] * 2

    async def history(self, alias: str) -> list[Sample]:
        self.asked.append(f"history {alias}")
        return steady(1000.0)


async def replies(manager: Fleet, **message: Any) -> list[panel_actions.Reply]:
    return [reply async for reply in panel_actions.perform(manager, message)]  # type: ignore[arg-type]


async def test_perform_scale_reports_stages() -> None:
    manager = Fleet()
    reported = await replies(manager, type="scale", model="m", value=4)
    assert [reply["state"] for reply in reported] == ["going", "going", "done"]
    assert "loading 50%" in reported[1]["text"]
    assert manager.asked[-1].num_workers == 4


async def test_perform_ends_with_an_error() -> None:
    reported = await replies(Fleet(), type="scale", model="nobody", value=4)
    assert reported[-1]["state"] == "failed"
    assert "Deployed: m." in reported[-1]["text"]


async def test_perform_scale_rejects_invalid_numbers() -> None:
    reported = await replies(Fleet(), type="scale", model="m", value=0)
    assert reported[-1]["state"] == "failed"


async def test_perform_does_not_start_ray() -> None:
    manager = Fleet(ray=False)
    reported = await replies(manager, type="undeploy", model="m")
    assert reported[-1] == {"state": "failed", "text": "No Ray is running here."}
    assert manager.asked == []


async def test_perform_drain_of_one_worker_or_all() -> None:
    manager = Fleet()
    await replies(manager, type="restart", model="m", worker=3)
    assert manager.asked[-1].worker == 3
    await replies(manager, type="restart", model="m")
    assert manager.asked[-1].worker is None
    reported = await replies(manager, type="drain", model="m", worker=0)
    assert (manager.asked[-1].worker, reported[-1]["text"]) == (0, "No new requests are sent; 2 still in flight.")


async def test_perform_undeploy_and_logs() -> None:
    manager = Fleet()
    assert (await replies(manager, type="undeploy", model="m"))[-1]["text"] == "Undeployed."
    assert manager.asked[0] == "ensure"
    assert (await replies(manager, type="logs", model="m"))[-1]["log"] == "m <line>\nm <line>"
