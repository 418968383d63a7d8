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
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import ray

from byzer_magic import errors
from byzer_magic.backends.http.retry import retried
from byzer_magic.capabilities import TABLE, Capability, needed_by
from byzer_magic.catalog import prices
from byzer_magic.log import get_logger, redact
from byzer_magic.plan import Plan
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import desired_state, discovery, prestart
from byzer_magic.runtime.cluster.node import attach_log, socket_folder, tail
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.metrics import Metrics
from byzer_magic.runtime.transport import protocol
from byzer_magic.runtime.transport.server import Server
from byzer_magic.runtime.workers.api_workers import ApiWorkers
from byzer_magic.runtime.workers.engine_workers import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, EngineWorkers
from byzer_magic.runtime.workers.lifecycle import Lifecycle, Workers
from byzer_magic.stat import Delta, ModelStat, Sample, delta
from byzer_magic.types import Dispatched, Event, Failed, Item, Loading, Placed, Ready, Request

FOLLOW_SECONDS = 0.3
"""How often somebody who follows a deployment is told what has changed."""
ALIVE_SECONDS = 1.5
"""How often at least, also when nothing has."""

log = get_logger("pool")


class Pool:
    """One deployment. Ray calls only `endpoint`; everything else comes over the socket."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        spec = plan.spec
        self._born = time.monotonic()
        self._node = ray.get_runtime_context().get_node_id()
        self._admission = Admission(
            spec.num_workers, spec.worker_concurrency, policy=spec.load_balance, health="loading"
        )
        self._lifecycle = Lifecycle(plan, self._admission, self._new_workers())
        self._capabilities: frozenset[Capability] = frozenset()
        self._title = str(plan.setup.params.get("saas.model") or Path(spec.model_path or spec.model).name)
        address = str(plan.setup.params.get("saas.base_url") or "")
        self._price = prices.find(spec.pretrained_model_type, self._title, address)
        self._metrics = Metrics(self._price)
        self._events: dict[Any, tuple[int, Event]] = {}
        """Numbered, in their order; of what repeats itself while a worker loads, the last."""
        self._numbers = itertools.count(1)
        self._event_added = asyncio.Event()
        self._undeploying = False
        self._error = ""
        """Why there is no model behind the alias."""
        self._tries: int = plan.setup.params.get("saas.max_retries", 0)
        self._tasks: set[asyncio.Task[None]] = set()
        attach_log(plan.hidden)
        self._server = Server(
            {
                **{capability.value: functools.partial(self._ask, capability) for capability in TABLE},
                "stat": self._stat,
                "follow": self._follow,
                "history": self._history,
                "watch": self._watch,
                "logs": self._logs,
                "scale": self._lifecycle.scale,
                "drain": self._lifecycle.drain,
                "restart": self._lifecycle.restart,
                "undeploy": self._undeploy,
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

    async def endpoint(self) -> protocol.Endpoint:
        """Return where clients connect."""
        await asyncio.wrap_future(self._started)
        return self._server.endpoint(self._node)

    async def _start(self) -> None:
        await self._server.start(tcp=len(ray.nodes()) > 1)
        discovery.announce(socket_folder(), self._plan.spec.model, self._server.endpoint(self._node))
        self._note(Placed(self._node, os.getpid()))
        self._spawn(self._open())
        self._spawn(self._tick())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- getting ready

    def _new_workers(self) -> Workers:
        return (EngineWorkers if self._plan.backend.info.local else ApiWorkers)(self._plan, self._health)

    def _health(self, worker: int, state: str) -> None:
        self._capabilities = self._lifecycle.workers.capabilities or self._capabilities
        self._admission.health(worker, state)

    async def _open(self) -> None:
        """Open the deployment; after a restart nobody waits who could deploy again, so it is tried until it works."""
        with warnings.catch_warnings(action="ignore"):  # Ray's, about itself
            restarted = ray.get_runtime_context().was_current_actor_reconstructed
        pause = FIRST_PAUSE_SECONDS
        while (err := await self._opened()) is not None and not self._undeploying:
            await self._lifecycle.workers.close()
            self._broken(err)
            if not restarted:
                self._note(Failed(errors.to_wire(err)))
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._lifecycle.workers = self._new_workers()
        if err is not None:  # undeployed meanwhile
            return
        if self._error:
            self._error = ""
            self._admission.reopen()
        self._note(Ready(time.monotonic() - self._born, self._lifecycle.count, sorted(self._capabilities)))
        if restarted:  # which has used up a spare process
            await asyncio.to_thread(prestart.prestart)

    async def _opened(self) -> errors.ByzerError | None:
        """Open the deployment, or return why it cannot be."""
        try:
            await self._lifecycle.open(self._note)
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
        self._error = err.message
        for worker in self._admission.workers:
            self._admission.health(worker, "down")
        alias = self._plan.spec.model
        hint = f"See logs --model {alias}; then deploy it again, with --replace."
        self._admission.close(errors.NotDeployed(f"{alias} could not be loaded: {self._error}", hint))

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

    async def _ask(self, capability: Capability, request: Request) -> AsyncIterator[Item | Dispatched]:
        if self._capabilities:  # unknown while it is loading
            self._check_capability(request)
        started = time.monotonic()
        ticket = self._admission.ticket()
        try:
            async with asyncio.timeout(request.timeout) as deadline:
                worker = await self._admission.admit(ticket, deadline)
                failed = True
                sent: Dispatched | None = Dispatched(worker, time.monotonic() - started)
                try:
                    self._check_capability(request)
                    async with aclosing(self._answer(worker, capability, request)) as chunks:  # type: ignore[type-var]  # a generator
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
                    self._admission.release(ticket, failed=failed)
                    self._metrics.ended(failed=failed)
        except TimeoutError as err:
            raise self._admission.why_cut(ticket) or errors.DeadlineExceeded(
                f"{self._plan.spec.model} did not finish within {request.timeout:g} s.", "Allow more with --timeout."
            ) from err

    def _check_capability(self, request: Request) -> None:
        if lacking := needed_by(request) - self._capabilities:
            can = ", ".join(sorted(self._capabilities))
            message = f"{self._plan.spec.model} cannot {' or '.join(sorted(lacking))}; it can {can}."
            raise errors.Unsupported(message, needs=sorted(needed_by(request)))

    def _answer(self, worker: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        start = functools.partial(self._lifecycle.workers.ask, worker, capability, request)
        return self._metrics.measured(retried(start, self._tries))

    # ---- looking after it

    def _look(self) -> ModelStat:
        spec = self._plan.spec
        return ModelStat(
            model=spec.model,
            kind=self._plan.backend.info.kind,
            title=self._title,
            strategy=spec.load_balance,
            capabilities=sorted(self._capabilities),
            workers=self._admission.snapshot(self._lifecycle.workers.pids),
            concurrency=spec.worker_concurrency,
            queued=self._admission.queued,
            uptime_seconds=time.monotonic() - self._born,
            error=self._error,
            ttft_p50=self._metrics.ttft(0.5),
            ttft_p99=self._metrics.ttft(0.99),
            tokens_per_second=self._metrics.tokens_per_second,
            prompt_tokens=self._metrics.usage.prompt_tokens,
            completion_tokens=self._metrics.usage.completion_tokens,
            cost=self._metrics.cost,
            currency=self._price.currency if self._price else "",
        )

    async def _stat(self, _: None) -> AsyncIterator[ModelStat]:
        yield self._look()

    async def _follow(self, _: None) -> AsyncIterator[Delta]:
        """Yield what changes, as it changes, for as long as somebody listens."""
        before: ModelStat | None = None
        moves = told = -ALIVE_SECONDS
        while True:
            if self._admission.moves != moves or time.monotonic() - told >= ALIVE_SECONDS:
                moves, told = self._admission.moves, time.monotonic()
                now = self._look()
                yield delta(before, now)
                before = now
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._metrics.tick(self._admission.running, self._admission.queued)

    async def _history(self, _: None) -> AsyncIterator[Sample]:
        for sample in list(self._metrics.history):
            yield sample

    async def _logs(self, request: protocol.LogsRequest) -> AsyncIterator[str]:
        for line in [*tail(os.getpid(), request.lines), *await self._lifecycle.workers.log(request.lines)]:
            yield redact(line, self._plan.hidden)  # also what came past our log: from an SDK, from Python itself

    async def _undeploy(self, request: protocol.UndeployRequest) -> AsyncIterator[protocol.UndeployResult]:
        """End the deployment; requests that run or wait may finish first."""
        self._undeploying = True
        alias = self._plan.spec.model
        self._admission.close(errors.NotDeployed(f"{alias} is being undeployed.", "Deploy it again."), at_once=False)
        if not self._capabilities:  # who waits for it is told now: this process ends soon
            undeployed = errors.NotDeployed(f"{alias} was undeployed while it loaded.")
            self._note(Failed(errors.to_wire(undeployed)))
        unfinished = await self._admission.empty(request.grace)
        pids = [os.getpid(), *self._lifecycle.workers.family()]
        await self._lifecycle.workers.close()
        await asyncio.to_thread(desired_state.delete, self._plan)
        self._server.stop()
        discovery.withdraw(socket_folder(), alias)
        yield protocol.UndeployResult(unfinished, pids)
