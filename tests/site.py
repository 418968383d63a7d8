"""Deployments of local engines on one machine, in a time of the test's own: real queues, real rules, no Ray."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

from byzer_magic import errors
from byzer_magic.backends.base import Setup
from byzer_magic.capabilities import Capability
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.plan import Plan
from byzer_magic.runtime import admission, making_room
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import controller_link, desired_state, placement
from byzer_magic.runtime.room import Amount
from byzer_magic.runtime.transport.messages import ScaleRequest, SleepRequest
from byzer_magic.runtime.upkeep import Upkeep
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.stat import ModelStat
from byzer_magic.types import Loading
from tests.clock import Loop


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test in a time of its own, without Ray and without threads."""
    with asyncio.Runner(loop_factory=Loop) as runner, _without_ray(runner.get_loop().time):
        runner.run(work)


@contextlib.contextmanager
def _without_ray(clock: Callable[[], float]) -> Iterator[None]:
    async def at_once(work: Callable[..., Any], *args: Any) -> Any:
        return work(*args)

    with (
        mock.patch.object(asyncio, "to_thread", at_once),
        mock.patch.object(admission, "time", SimpleNamespace(monotonic=clock)),
        mock.patch.object(desired_state, "load", lambda plan: desired_state.DesiredState(plan.spec.num_workers)),
        mock.patch.object(desired_state, "save"),
        mock.patch.object(placement, "check_resources", lambda *args: Site.current.check(*args)),
        mock.patch.object(placement, "nodes_for"),
        mock.patch.object(controller_link, "room", lambda *args, **more: Site.current.room(*args, **more)),
    ):
        yield


class Workers:
    """Workers that load for a while, and take a CPU each from then on."""

    capabilities = frozenset({Capability.CHAT})
    pids: ClassVar[dict[int, int]] = {}

    def __init__(self, site: Site, alias: str, admission: Admission) -> None:
        self.site, self.alias, self.admission = site, alias, admission
        self.present: set[int] = set()

    async def add(self, indices: Collection[int], _notify: Any) -> None:
        """Load them all at the same time."""
        new = set(indices) - self.present
        self.present |= new
        assert self.site.free().cpus >= 0, "more loaded than there is room for"
        self.site.loads.append((self.site.now, self.alias, len(new)))
        await asyncio.sleep(self.site.load_seconds)
        for index in new:
            self.admission.health(index, "up")

    async def remove(self, index: int) -> None:
        """Remove one, which must not have a request."""
        assert not self.admission.busy(index), f"a request of {self.alias} was cut"
        self.present.discard(index)

    async def close(self) -> None:
        """Remove all."""
        self.present.clear()


class Deployment:
    """One deployment, whose requests take as long as the test says."""

    def __init__(self, site: Site, spec: DeploySpec) -> None:
        plan = Plan(spec=spec, setup=Setup(model=spec.model), capabilities=("chat",))
        self.spec, self.served, self.failed = spec, 0, 0
        self.admission = Admission(spec.num_workers, spec.worker_concurrency, health="asleep")
        self.workers = Workers(site, spec.model, self.admission)
        self.lifecycle = Lifecycle(plan, self.admission, self.workers)  # type: ignore[arg-type]
        loop = asyncio.get_running_loop()
        self.upkeep = Upkeep(plan, self.lifecycle, self.admission, lambda _event: None, loop.time)
        self.counts: list[tuple[float, int]] = []
        """When the number of workers was another, and which."""
        self._ticking = loop.create_task(self._tick(loop))

    async def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            await asyncio.sleep(1)
            self.upkeep.tick()
            if not self.counts or self.counts[-1][1] != self.lifecycle.count:
                self.counts.append((loop.time(), self.lifecycle.count))

    async def ask(self, seconds: float) -> None:
        """Send a request that runs for so long."""
        self.upkeep.request_came()
        ticket = self.admission.ticket()
        try:
            async with asyncio.timeout(None) as deadline:
                async for _place in self.admission.admit(ticket, deadline):
                    pass
        except errors.ByzerError:
            self.failed += 1
            await asyncio.sleep(1)  # who tries again at once would do so for ever: no time passes here
            return
        await asyncio.sleep(seconds)
        self.admission.release(ticket, failed=False)
        self.served += 1

    async def ask_for(self, until: float, seconds: float) -> None:
        """Send one request after the other until a time."""
        while asyncio.get_running_loop().time() < until:
            await self.ask(seconds)

    def stat(self) -> ModelStat:
        """Return its counters."""
        return ModelStat(
            model=self.spec.model, kind="custom/auto", strategy="lru", capabilities=["chat"],
            workers=self.admission.snapshot({}), concurrency=self.spec.worker_concurrency,
            queued=self.admission.queued, **self.upkeep.stat(),
        )  # fmt: skip


class Site:
    """A machine with so many CPUs, and deployments that take one for each worker.

    Args:
        cpus: how many there are.
        load_seconds: how long a load takes.
    """

    current: Site

    def __init__(self, cpus: int, load_seconds: float = 3.0) -> None:
        Site.current = self
        self.cpus, self.load_seconds = cpus, load_seconds
        self.loads: list[tuple[float, str, int]] = []
        """When something was loaded, and how many workers."""
        self.deployments: dict[str, Deployment] = {}
        self.rooms = making_room.Rooms(self._stats, self._specs, self._sleep, self._shrink, self.free, self._clock)

    @property
    def now(self) -> float:
        """Return the time."""
        return asyncio.get_running_loop().time()

    async def deploy(self, alias: str, **options: Any) -> Deployment:
        """Create a deployment that is asleep."""
        known: dict[str, Any] = {"idle": 600.0, "cpus_per_worker": 1.0, "model_path": "/models/none.gguf"} | options
        spec = DeploySpec(model=alias, pretrained_model_type="custom/auto", infer_backend="llama_cpp", **known)
        made = self.deployments[alias] = Deployment(self, spec)
        await made.lifecycle.open(lambda _event: None)
        return made

    # ---- as the cluster does

    def _clock(self) -> float:
        return self.now

    async def _stats(self) -> list[ModelStat]:
        return [each.stat() for each in self.deployments.values()]

    def _specs(self) -> dict[str, DeploySpec]:
        return {alias: each.spec for alias, each in self.deployments.items()}

    async def _sleep(self, alias: str, why: Any, *, finish: bool) -> None:
        async for _done in self.deployments[alias].upkeep.sleep(SleepRequest(why, finish)):
            pass

    async def _shrink(self, alias: str, workers: int, why: Any) -> None:
        async for _event in self.deployments[alias].upkeep.scale(ScaleRequest(workers, why)):
            pass

    def free(self) -> Amount:
        """Return the CPUs that no worker takes."""
        return Amount(cpus=float(self.cpus - sum(len(each.workers.present) for each in self.deployments.values())))

    def check(self, what: Any, cpus: float, _gpus: float) -> None:
        """Raise NoRoom where fewer are free."""
        if cpus > self.free().cpus:
            raise errors.NoRoom(f"Not enough CPUs for {what}.")

    @asynccontextmanager
    async def room(self, spec: DeploySpec, notify: Any, *, waits: bool = True) -> AsyncIterator[None]:
        """Make room, as the controller does."""
        async with aclosing(self.rooms.enter(spec.model, spec, waits=waits)) as events:
            async for event in events:
                if not isinstance(event, Loading):
                    break
                notify(event)
            yield
