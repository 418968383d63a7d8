"""Deployments as plain data, for what draws them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.config import Settings
from byzer_magic.errors import CannotConnect, NoRoom, NotDeployed
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.transport.messages import FleetEntry, FleetView
from byzer_magic.stat import Fleet, Followed, ModelStat, Sample, WorkerStat
from byzer_magic.types import Event, Loading


def worker(index: int = 0, busy: int = 0, limit: int = 4, **more: Any) -> WorkerStat:
    """A worker that is up and has done something."""
    known = {"requests": 10, "errors": 0, "idle_seconds": 5.0, "pid": 100 + index} | more
    return WorkerStat(index=index, free=limit - busy, limit=limit, **known)


def model(alias: str = "m", workers: int = 2, busy: int = 1, **more: Any) -> ModelStat:
    """A deployment whose workers are up."""
    known: dict[str, Any] = {"kind": "saas/openai", "title": "gpt-4o", "strategy": "lru", "capabilities": ["chat"]}
    known |= {"workers": [worker(index, busy) for index in range(workers)], "concurrency": 4}
    known |= {
        "ttft_p50": 0.21,
        "ttft_p99": 12.3,
        "tokens_per_second": 52.4,
        "cost": 1.5,
        "currency": "USD",
        "pool_cpu": 0.12,
    }
    return ModelStat(model=alias, **(known | more))


def fleet(*models: ModelStat, error: str = "", age: float = 0.0) -> Fleet:
    """These deployments, last updated `age` seconds ago."""
    seen = time.monotonic() - age
    return Fleet({each.model: Followed(each, seen) for each in models}, error)


def ill(stat: ModelStat, *healths: str) -> ModelStat:
    """The deployment with the first of its workers in these states."""
    changed = [msgspec.structs.replace(each, health=how) for each, how in zip(stat.workers, healths, strict=False)]
    return msgspec.structs.replace(stat, workers=[*changed, *stat.workers[len(changed) :]])


def steady(end: float, seconds: int = 600, requests: int = 2) -> list[Sample]:
    """A past in which every second had the same number of requests."""
    return [
        Sample(
            at=end - seconds + number,
            requests=requests,
            tokens=40,
            ttft=0.2,
            latency=1.5,
            busy=2,
            cost=0.001,
            pool_cpu=0.4,
        )
        for number in range(1, seconds + 1)
    ]


class Pretended:
    """A manager of deployments that are only data: fifty of them fit into a test."""

    connected = False

    def __init__(self, *models: ModelStat) -> None:
        self.models = {each.model: each for each in models}
        self.settings = Settings()
        self.error = ""
        self.silent: dict[str, float] = {}
        """When these were last updated."""
        self.following = 0
        """How many follow it at this moment."""
        self.held = False
        """Whether changes stop half way, until this is over."""
        self.absent: list[FleetEntry] = []
        """What the cluster should have besides."""

    def ensure(self, *_: Any) -> None:
        """No Ray is running."""

    reach = ensure

    def reporting_to(self, *_: Any) -> Pretended:
        """It reports nothing, whatever the face."""
        return self

    def run(self, work: Any) -> Any:
        return LOOP.run(work)

    async def names(self) -> list[str]:
        return list(self.models)

    async def stat(self, alias: str) -> ModelStat:
        return self.models[alias]

    async def stats(self) -> list[ModelStat]:
        return list(self.models.values())

    async def fleet(self) -> FleetView:
        return FleetView([*(FleetEntry(each, "saas/openai", 1) for each in self.models), *self.absent], "")

    async def history(self, alias: str) -> list[Sample]:
        return steady(time.time())

    async def follow(self, alias: str | None = None) -> AsyncIterator[Fleet]:
        self.following += 1
        try:
            while True:
                for name, stat in self.models.items():
                    workers = [msgspec.structs.replace(each, requests=each.requests + 1) for each in stat.workers]
                    self.models[name] = msgspec.structs.replace(stat, workers=workers)
                seen = {
                    name: Followed(stat, self.silent.get(name, time.monotonic())) for name, stat in self.models.items()
                }
                yield Fleet(seen, self.error)
                await asyncio.sleep(0.3)
        finally:
            self.following -= 1

    async def scale(self, spec: ScaleSpec) -> AsyncIterator[Event]:
        if spec.num_workers > 20:
            raise NoRoom("There is room for 20 workers.", "Undeploy something.")
        for index in range(len(self.models[spec.model].workers), spec.num_workers):
            yield Loading(worker=index, stage="loading", fraction=0.5)
            await self._goes_on()
        workers = [worker(index) for index in range(spec.num_workers)]
        self.models[spec.model] = msgspec.structs.replace(self.models[spec.model], workers=workers)

    async def _goes_on(self) -> None:
        while self.held:
            await asyncio.sleep(0.05)

    async def sleep(self, alias: str) -> bool:
        self.models[alias] = msgspec.structs.replace(ill(self.models[alias], "asleep", "asleep"), note="told to")
        return True

    async def restart(self, spec: RestartSpec) -> AsyncIterator[Event]:
        self.models[spec.model] = msgspec.structs.replace(self.models[spec.model], waking=True, note="")
        yield Loading(stage="reading", fraction=0.5)
        await self._goes_on()
        self.models[spec.model] = msgspec.structs.replace(ill(self.models[spec.model], "up", "up"), waking=False)

    async def undeploy(self, spec: UndeploySpec) -> int:
        del self.models[spec.model]
        return 0

    async def logs(self, alias: str, lines: int) -> list[str]:
        return [f"{alias} wrote <b>line {number}</b>" for number in range(lines)]


class NotingManager:
    """A manager that notes what it is asked; `m` is deployed, if Ray runs."""

    settings = Settings(lang="en")

    connected = False

    def __init__(self, *, ray: bool = True) -> None:
        self.asked: list[Any] = []
        self.asleep = False
        self.ray = ray

    async def names(self) -> list[str]:
        if not self.ray:
            raise CannotConnect("Ray is not running on this machine.")
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

    async def sleep(self, alias: str) -> bool:
        self.asked.append(f"sleep {alias}")
        self.asleep, before = True, self.asleep
        return not before

    async def stat(self, alias: str) -> ModelStat:
        return ill(model(alias), *(["asleep"] * 2 if self.asleep else []))

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


def pretend(count: int = 3, workers: int = 2) -> Pretended:
    """Let this process's magics look after deployments that are only data; return their manager."""
    import byzer_magic

    manager = Pretended(*(model(f"model_{number:02}", workers, local=number == 1) for number in range(count)))
    byzer_magic.default_manager = lambda: manager  # type: ignore[assignment,return-value]  # it has what screens need
    return manager
