"""The actor behind one alias: owns the slots, admits requests, and runs or reaches the workers.

SaaS workers are slots of this process and share one backend. A local engine is a process of its own per worker,
reached over the same wire that clients use here. The pool is the only owner of its deployment's slot table, so
limits are strict and LRU is exact for any number of clients.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

import ray

from byzer_magic import errors
from byzer_magic.backends.wires.retry import retried
from byzer_magic.capabilities import METHODS, Capability, needed_by
from byzer_magic.log import get_logger, redact
from byzer_magic.routing.table import Grant, SlotTable
from byzer_magic.runtime import places, spare, wire
from byzer_magic.runtime.crew import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Crew
from byzer_magic.runtime.engine import EngineWorker
from byzer_magic.runtime.host import attach_log, calm_garbage_collector, socket_folder, tail
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.meter import Meter
from byzer_magic.runtime.plan import MAX_QUEUED, Plan
from byzer_magic.runtime.service import Service
from byzer_magic.stat import ModelStat
from byzer_magic.types import Dispatched, Event, Failed, Item, Loading, Placed, Ready, Request

log = get_logger("pool")


class Worker(Protocol):
    """What the pool sends requests to: a SaaS backend itself, or the far end of an engine process."""

    def ask(self, ability: Capability, request: Request) -> AsyncIterator[Item]:
        """Yield the answer's items."""
        ...

    async def close(self) -> None:
        """End the worker."""
        ...


class Pool:
    """One deployment. Ray calls only `endpoint`; everything else comes over the socket."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        spec = plan.spec
        self._born = time.monotonic()
        self._node = ray.get_runtime_context().get_node_id()
        self._table = SlotTable(spec.num_workers, spec.worker_concurrency, max_queue=MAX_QUEUED, now=self._born)
        for worker in range(spec.num_workers):
            self._table.set_health(worker, "loading", self._born)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._tickets = itertools.count()
        self._workers: dict[int, Worker] = {}
        self._crew = self._new_crew()
        self._capabilities: frozenset[Capability] = frozenset()
        self._events: dict[Any, tuple[int, Event]] = {}
        """Numbered, in their order; of what repeats itself while a worker loads, the last."""
        self._numbers = itertools.count(1)
        self._event_added = asyncio.Event()
        self._draining = False
        self._trouble = ""
        """Why there is no model behind the alias."""
        self._tries: int = plan.setup.params.get("saas.max_retries", 0)
        self._meter = Meter()
        self._tasks: set[asyncio.Task[None]] = set()
        attach_log(plan.hidden)
        self._service = Service(
            {
                **{ability.value: functools.partial(self._ask, ability) for ability in METHODS},
                "stat": self._stat,
                "watch": self._watch,
                "logs": self._logs,
                "drain": self._drain,
            },
            path=socket_folder() / f"{plan.id}.sock",
            host=ray.util.get_node_ip_address(),
            token=plan.token.reveal(),
            hidden=plan.hidden,
        )
        # On our own loop, and now: after a restart, clients dial the socket before Ray calls anything.
        self._started = asyncio.run_coroutine_threadsafe(self._start(), LOOP.start())

    def __repr__(self) -> str:
        return f"Pool({self._plan.spec.model})"

    async def endpoint(self) -> wire.Endpoint:
        """Return where clients connect."""
        await asyncio.wrap_future(self._started)
        return self._service.endpoint(self._node)

    async def _start(self) -> None:
        await self._service.start(tcp=len(ray.nodes()) > 1)
        places.announce(socket_folder(), self._plan.spec.model, self._service.endpoint(self._node))
        self._note(Placed(self._node, os.getpid()))
        self._spawn(self._open())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- getting ready

    def _new_crew(self) -> Crew:
        return Crew(self._plan, self._note, self._health)

    async def _open(self) -> None:
        """Open the deployment; after a restart nobody waits who could deploy again, so it is tried until it works."""
        restarted = ray.get_runtime_context().was_current_actor_reconstructed
        pause = FIRST_PAUSE_SECONDS
        while (err := await self._opened()) is not None and not self._draining:
            await self._close_workers()
            self._workers.clear()
            self._broken(err)
            if not restarted:
                self._note(Failed(errors.to_wire(err)))
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._crew = self._new_crew()
        if err is not None:  # undeployed meanwhile
            return
        self._trouble = ""
        self._note(Ready(time.monotonic() - self._born, self._plan.spec.num_workers, sorted(self._capabilities)))
        if restarted:  # which has used up a spare process
            await asyncio.to_thread(spare.prestart)

    async def _opened(self) -> errors.ByzerError | None:
        """Open the deployment, or return why it cannot be."""
        try:
            await (self._crew.open(self._engine_up) if self._plan.backend.info.local else self._open_saas())
        except errors.ByzerError as err:
            log.error("the deployment could not be opened: %s", redact(str(err), self._plan.hidden))  # noqa: TRY400 - its text says all
            return err
        except Exception as err:
            log.exception("the deployment could not be opened")
            text = redact(f"{type(err).__name__}: {err}", self._plan.hidden)
            return errors.EngineFailed(text, "The lines above it in the pool's log say more.")
        return None

    def _broken(self, err: errors.ByzerError) -> None:
        """Tell everyone who asks, and those who wait, that there is no model."""
        self._trouble = err.message
        for worker in range(self._plan.spec.num_workers):
            self._health(worker, "down")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._unusable())

    def _unusable(self) -> errors.NotDeployed:
        alias = self._plan.spec.model
        hint = f"See logs --model {alias}; then deploy it again, with --replace."
        return errors.NotDeployed(f"{alias} could not be loaded: {self._trouble}", hint)

    async def _open_saas(self) -> None:
        setup = self._plan.setup

        def report(stage: str, fraction: float | None = None, detail: str = "", /) -> None:
            self._note(Loading(stage, fraction=fraction, detail=detail))

        backend = await self._plan.backend.open(setup, report)
        self._capabilities = backend.abilities()
        for index in range(self._plan.spec.num_workers):
            self._workers[index] = backend
            self._up(index)
        calm_garbage_collector()

    def _engine_up(self, index: int, worker: EngineWorker, abilities: frozenset[Capability]) -> None:
        self._capabilities = abilities
        self._workers[index] = worker
        self._up(index)

    def _health(self, index: int, state: str) -> None:
        self._grant(self._table.set_health(index, state, time.monotonic()))

    def _up(self, index: int) -> None:
        self._health(index, "up")

    def _note(self, event: Event) -> None:
        number = next(self._numbers)
        key = (event.worker, event.stage) if isinstance(event, Loading) else number
        self._events.pop(key, None)
        self._events[key] = (number, event)
        self._event_added.set()

    async def _watch(self, _: None) -> AsyncIterator[Event]:
        seen = 0
        while True:
            self._event_added.clear()
            for number, event in [new for new in self._events.values() if new[0] > seen]:
                seen = number
                yield event
                if isinstance(event, Ready | Failed):
                    return
            await self._event_added.wait()

    # ---- requests

    async def _ask(self, ability: Capability, request: Request) -> AsyncIterator[Item | Dispatched]:
        if self._capabilities:  # unknown while it is loading
            self._check_ability(request)
        started = time.monotonic()
        ticket = next(self._tickets)
        try:
            async with asyncio.timeout(request.timeout):
                worker = await self._admit(ticket)
                failed = True
                sent: Dispatched | None = Dispatched(worker, time.monotonic() - started)
                try:
                    self._check_ability(request)
                    async with aclosing(self._answer(worker, ability, request)) as chunks:  # type: ignore[type-var]  # a generator
                        async for chunk in chunks:
                            if sent is not None:  # with the first chunk, in one message
                                yield sent
                                sent = None
                            yield chunk
                    failed = False
                except (GeneratorExit, asyncio.CancelledError):
                    failed = False  # the client's wish, not the worker's fault
                    raise
                finally:
                    self._grant(self._table.release(ticket, time.monotonic(), failed=failed))
        except TimeoutError as err:
            raise errors.DeadlineExceeded(
                f"{self._plan.spec.model} did not finish within {request.timeout:g} s.", "Allow more with --timeout."
            ) from err

    def _check_ability(self, request: Request) -> None:
        if lacking := needed_by(request) - self._capabilities:
            can = ", ".join(sorted(self._capabilities))
            message = f"{self._plan.spec.model} cannot {' or '.join(sorted(lacking))}; it can {can}."
            raise errors.Unsupported(message, needs=sorted(needed_by(request)))

    def _answer(self, worker: int, ability: Capability, request: Request) -> AsyncIterator[Item]:
        start = functools.partial(self._workers[worker].ask, ability, request)
        return self._meter.measured(retried(start, self._tries))

    async def _admit(self, ticket: int) -> int:
        """Wait for a slot, first come first served; return its worker."""
        if self._draining:
            raise errors.NotDeployed(f"{self._plan.spec.model} is being undeployed.", "Deploy it again.")
        if self._trouble:
            raise self._unusable()
        grant = self._table.acquire(ticket, time.monotonic())
        if grant is not None:
            return grant.worker
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = future
        try:
            return await future
        except (asyncio.CancelledError, errors.NotDeployed):
            self._grant(self._table.withdraw(ticket, time.monotonic()))
            raise
        finally:
            del self._waiting[ticket]

    def _grant(self, grants: list[Grant]) -> None:
        for grant in grants:
            future = self._waiting[grant.ticket]
            if not future.done():
                future.set_result(grant.worker)

    # ---- looking after it

    async def _stat(self, _: None) -> AsyncIterator[ModelStat]:
        now = time.monotonic()
        spec = self._plan.spec
        pids = {index: worker.pid for index, worker in enumerate(self._crew.workers)}
        yield ModelStat(
            model=spec.model,
            kind=self._plan.backend.info.kind,
            strategy="lru",
            capabilities=sorted(self._capabilities),
            workers=self._table.snapshot(now, pids=pids),
            concurrency=spec.worker_concurrency,
            queued=self._table.queued,
            uptime_seconds=now - self._born,
            trouble=self._trouble,
            first_token_p50=self._meter.first_token(0.5),
            first_token_p99=self._meter.first_token(0.99),
            tokens_per_second=self._meter.tokens_per_second,
        )

    async def _close_workers(self) -> None:
        """Close every worker, also those that are still loading."""
        await self._crew.close()
        for worker in {
            id(worker): worker for worker in self._workers.values() if worker not in self._crew.workers
        }.values():
            await worker.close()

    async def _logs(self, request: wire.LogsRequest) -> AsyncIterator[str]:
        for line in [*tail(os.getpid(), request.lines), *self._crew.log(request.lines)]:
            yield redact(line, self._plan.hidden)  # also what came past our log: from an SDK, from Python itself

    async def _drain(self, request: wire.DrainRequest) -> AsyncIterator[wire.DrainResult]:
        self._draining = True
        if not self._capabilities:  # who waits for it is told now: this process ends soon
            undeployed = errors.NotDeployed(f"{self._plan.spec.model} was undeployed while it loaded.")
            self._note(Failed(errors.to_wire(undeployed)))
        deadline = time.monotonic() + request.grace
        while (self._table.running or self._table.queued) and time.monotonic() < deadline:  # noqa: ASYNC110 - see below
            await asyncio.sleep(0.02)  # the slot table is pure: it tells nobody
        pids = [os.getpid(), *self._crew.family()]
        unfinished = self._table.running
        await self._close_workers()
        self._service.stop()
        places.withdraw(socket_folder(), self._plan.spec.model)
        yield wire.DrainResult(unfinished, pids)
