"""The state of a panel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect, NotDeployed
from byzer_magic.stat import Sample
from byzer_magic.types import Event, Loading
from byzer_magic.widgets.panel.state import PanelState
from tests.fleets import fleet, model, steady


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


async def test_state_fetches_histories_once_and_opened_ones_again() -> None:
    manager = Fleet()
    state = PanelState(manager)  # type: ignore[arg-type]
    state.take(fleet(model("a"), model("b")))
    state.take(fleet(model("a"), model("b")))
    await asyncio.sleep(0.2)
    assert sorted(ask for ask in manager.asked if ask.startswith("history")) == ["history a", "history b"]
    state.open("a", wanted=True)
    state.take(fleet(model("a"), model("b")))
    await asyncio.sleep(0.2)
    assert manager.asked.count("history a") == 2
    assert "a/0" in state.view().rows
    state.close()


async def test_state_fetches_nothing_without_ray() -> None:
    manager = Fleet()
    state = PanelState(manager)  # type: ignore[arg-type]
    state.take(fleet(model("a"), error="No Ray is running here."))
    state.take(fleet(model("b"), age=10))
    await asyncio.sleep(0.1)
    assert manager.asked == []
