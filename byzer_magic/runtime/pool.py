"""The actor behind one alias: owns the slot table, admits requests, and dispatches them to the workers.

API workers are slots of this process and share one backend. Each worker of a local engine is a process of its own,
called over the same protocol that clients use here. The pool is the only owner of its deployment's slot table, so
limits are strict and the load balancing policy is exact for any number of clients.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import ray

from byzer_magic import errors, request_ids
from byzer_magic.backends import registry
from byzer_magic.backends.http.retry import retried
from byzer_magic.capabilities import TABLE, Capability, needed_by
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.log import get_logger, redact
from byzer_magic.plan import Plan
from byzer_magic.routing.trace import Trace
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.cluster import desired_state, discovery, preload, prestart, spending
from byzer_magic.runtime.cluster.authority import identity
from byzer_magic.runtime.cluster.node import attach_log, has_others, hide_more, socket_folder, tail
from byzer_magic.runtime.event_log import EventLog
from byzer_magic.runtime.gather import Gathering
from byzer_magic.runtime.kept.verbs import Kept
from byzer_magic.runtime.limits import Limits
from byzer_magic.runtime.loop import LOOP
from byzer_magic.runtime.metrics import Metrics
from byzer_magic.runtime.model_identity import About
from byzer_magic.runtime.prompt_check import PromptCheck
from byzer_magic.runtime.slot import slot_of
from byzer_magic.runtime.transport import messages, plans, protocol
from byzer_magic.runtime.transport.server import Server
from byzer_magic.runtime.upkeep import Upkeep
from byzer_magic.runtime.workers import checking, making
from byzer_magic.runtime.workers.engine_workers import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from byzer_magic.runtime.workers.events import events_of
from byzer_magic.runtime.workers.group import Held, Workers
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.stat import Delta, ModelStat, delta
from byzer_magic.types import Dispatched, Event, Failed, Item, Placed, Ready, Request, Waiting

FOLLOW_SECONDS = 0.3
"""Shortest interval between two deltas to a client that follows the deployment."""
KEEPALIVE_SECONDS = 1.5
"""Longest interval: a delta is sent even when nothing has changed."""

log = get_logger("pool")


class Pool:
    """One deployment. Ray calls only `endpoint`; all other calls arrive over the socket."""

    def __init__(self, plan: Plan) -> None:
        created, self._plan = plan, desired_state.latest(plan)
        plan = self._plan
        spec = plan.spec
        self._created = time.monotonic()
        self._events = EventLog()
        self._node = ray.get_runtime_context().get_node_id()
        self._host = ray.util.get_node_ip_address()
        self._limits = Limits(plan, spending.load(plan.id))
        self._admission = Admission(
            spec.num_workers, spec.worker_concurrency, policy=spec.load_balance, health="loading",
            max_queue=spec.max_queue, limits=self._limits,
        )  # fmt: skip
        self._lifecycle = Lifecycle(plan, self._admission, self._new_workers(), created)
        self._upkeep = Upkeep(plan, self._lifecycle, self._admission, self._events.add)
        self._capabilities: frozenset[Capability] = frozenset(map(Capability, plan.capabilities))
        self._metrics = Metrics(plan.price)
        self._undeploying = False
        self._about = About(lambda: self._plan)
        self._error: str = ""
        """Why the model could not be loaded; empty while it can."""
        self._checked: str = ""
        """What the check has shown, in words; empty without one."""
        self._tries: int = plan.setup.params.get("saas.max_retries", 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept = Kept(lambda: self._plan.hidden)
        attach_log(plan.hidden)
        self._server = Server(
            {
                **self._kept.methods(self._ask),
                "stat": self._stat,
                "follow": self._follow,
                "history": self._metrics.samples,
                "trace": self._trace,
                "watch": lambda _nothing: self._events.follow(),
                "logs": self._logs,
                "scale": self._upkeep.scale,
                "drain": self._lifecycle.drain,
                "restart": self._lifecycle.restart,
                "sleep": self._upkeep.sleep,
                "update": self._update,
                "spec": self._spec,
                "model": self._about.model,
                "price": self._about.price,
                "undeploy": self._undeploy,
            },
            path=socket_folder() / f"{plan.id}.sock",
            host=self._host,
            token=plan.token.reveal(),
            hidden=plan.hidden,
            identify=identity,
        )
        # On our own loop, before Ray's first call: after a restart, clients reconnect to the socket directly.
        self._started = asyncio.run_coroutine_threadsafe(self._start(), LOOP.start(fast=True))

    def __repr__(self) -> str:
        return f"Pool({self._plan.spec.model})"

    def endpoint(self) -> protocol.Endpoint:
        """Return the address and token with which clients connect, from other nodes, too, where there are any."""
        self._started.result()
        if has_others():
            asyncio.run_coroutine_threadsafe(self._server.listen_on_tcp(), LOOP.start()).result()
        return self._server.endpoint(self._node)

    async def _start(self) -> None:
        await self._server.start(tcp=False)
        discovery.announce(socket_folder(), self._plan.spec.model, self._server.endpoint(self._node))
        self._events.add(Placed(self._node, os.getpid()))
        self._spawn(self._open())
        self._spawn(self._tick())

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- opening

    def _new_workers(self) -> Workers:
        return making.workers_of(self._plan, self._health)

    def _health(self, worker: int, state: str) -> None:
        self._capabilities = self._lifecycle.group.current.capabilities or self._capabilities
        self._admission.health(worker, state)

    async def _open(self) -> None:
        """Open the deployment. After a restart by Ray, no client waits for the result: retry until it succeeds."""
        with warnings.catch_warnings(action="ignore"):  # Ray warns about this attribute of its own
            restarted = ray.get_runtime_context().was_current_actor_reconstructed
        pause = FIRST_PAUSE_SECONDS
        check = self._plan.spec.check and not restarted
        while (err := await self._opened(check=check)) is not None and not self._undeploying:
            await self._lifecycle.group.close()
            self._fail(err)
            if not restarted:
                self._events.add(Failed(errors.to_wire(err)))
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            self._lifecycle.group.current = self._new_workers()
        if err is not None:  # undeployed in the meantime
            return
        if self._error:
            self._error = ""
            self._admission.reopen()
        took = time.monotonic() - self._created
        self._events.add(Ready(took, self._lifecycle.count, sorted(self._capabilities), self._checked))
        if restarted and preload.was_spare():  # the restart took the process that waited for the next deploy
            await asyncio.to_thread(prestart.prestart)

    async def _opened(self, *, check: bool) -> errors.ByzerError | None:
        """Open the deployment, and let it answer a request where that is wanted; return the error where that fails."""
        try:
            await self._lifecycle.open(self._events.add)
            if check:
                indices = range(self._lifecycle.count)
                self._checked = await checking.check(
                    self._plan, self._lifecycle.group.current, indices, self._events.add
                )
        except errors.ByzerError as err:
            log.error("the deployment could not be opened: %s", redact(str(err), self._plan.hidden))  # noqa: TRY400 - the text is complete without a traceback
            return err
        except Exception as err:  # a backend's code may raise anything
            log.exception("the deployment could not be opened")
            text = redact(f"{type(err).__name__}: {err}", self._plan.hidden)
            return errors.EngineFailed(text, _("See the traceback in the pool's log."))
        return None

    def _fail(self, err: errors.ByzerError) -> None:
        """Fail all queued and future requests: no model is loaded."""
        self._error = err.message
        for worker in self._admission.workers:
            self._admission.health(worker, "down")
        alias = self._plan.spec.model
        message = _("{alias} could not be loaded: {error}", alias=alias, error=self._error)
        hint = _("See logs --model {alias}, then deploy it again with --replace.", alias=alias)
        self._admission.close(errors.NotDeployed(message, hint))

    # ---- requests

    async def _ask(self, capability: Capability, request: Request) -> AsyncIterator[Item | Dispatched | Waiting]:
        if checked := self._capabilities:  # unknown until the model is loaded
            self._check_capability(request)
        started = time.monotonic()
        self._upkeep.request_came()
        ticket = self._admission.ticket()
        gathering = Gathering(request)
        try:
            async with self._metrics.outcomes, asyncio.timeout(request.timeout) as deadline:
                async with aclosing(self._admission.admit(ticket, deadline, request)) as places:  # type: ignore[type-var]  # a generator
                    async for place in places:
                        yield self._waiting(place)
                with slot_of(
                    self._admission, ticket, self._metrics.ended, judges=self._plan.backend.info.local
                ) as worker:
                    queued, request_id = time.monotonic() - started, request_ids.CURRENT.get()
                    is_told = False
                    if self._capabilities is not checked:
                        self._check_capability(request)
                    answer = gathering.items(self._limits.counted(ticket, self._answer(worker, capability, request)))
                    async with aclosing(answer) as chunks:  # type: ignore[type-var]  # async generators all
                        async for chunk in chunks:
                            if not is_told:  # together with the first chunk: one message on the socket
                                yield Dispatched(worker, queued, request_id, self._about.digest)
                                is_told = True
                            yield chunk
        except TimeoutError as err:
            for chunk in gathering.rest():
                yield chunk
            alias = self._plan.spec.model
            raise self._admission.why_cancelled(ticket) or errors.DeadlineExceeded(
                _("{alias} did not finish within {seconds:g} s.", alias=alias, seconds=request.timeout),
                _("Set a longer --timeout."),
            ) from err

    def _waiting(self, place: int) -> Waiting:
        """Return what a request at this place of the queue waits for."""
        loading = self._events.loading
        if loading and (self._upkeep.is_waking or self._lifecycle.is_changing):
            return Waiting(place, loading.stage, loading.fraction)
        return Waiting(place, self._limits.waiting_for(time.monotonic()))

    def _check_capability(self, request: Request) -> None:
        if self._plan.spec.pretrained_model_type == registry.ROUTE:
            return  # it asks its deployments, which may have changed
        if lacking := needed_by(request) - self._capabilities:
            message = _(
                "{alias} does not support {missing}; it supports: {capabilities}.",
                alias=self._plan.spec.model,
                missing=listed(sorted(lacking)),
                capabilities=listed(sorted(self._capabilities)),
            )
            raise errors.Unsupported(message, needs=sorted(needed_by(request)))

    def _answer(self, worker: int, capability: Capability, request: Request) -> AsyncIterator[Item]:
        start = functools.partial(self._lifecycle.group.ask, worker, capability, request)
        spec, info = self._plan.spec, self._plan.backend.info
        check = PromptCheck(request, info, spec.model)
        return self._metrics.measured(retried(start, self._tries), check)

    # ---- monitoring

    def _current_stat(self) -> ModelStat:
        spec = self._plan.spec
        return ModelStat(
            model=spec.model,
            kind=self._plan.backend.info.kind,
            title=self._plan.title,
            strategy=spec.load_balance,
            capabilities=sorted(self._capabilities),
            traits=sorted(self._plan.backend.info.all_traits),
            placement=spec.placement or "",
            node=self._host,
            workers=self._admission.snapshot(self._lifecycle.group.pids, self._lifecycle.group.nodes),
            concurrency=spec.worker_concurrency,
            arms=list(self._lifecycle.group.current.arms),
            queued=self._admission.queued,
            past_requests=self._admission.past[0],
            past_errors=self._admission.past[1],
            outcomes=self._metrics.outcomes.stat(),
            uptime_seconds=time.monotonic() - self._created,
            error=self._error,
            **self._upkeep.stat(),
            ttft_p50=self._metrics.ttft(0.5),
            ttft_p99=self._metrics.ttft(0.99),
            tokens_per_second=self._metrics.tokens_per_second,
            prompt_tokens=self._metrics.usage.prompt_tokens,
            completion_tokens=self._metrics.usage.completion_tokens,
            cost=self._metrics.cost,
            currency=self._plan.price.currency if self._plan.price else "",
            pool_cpu=self._metrics.pool_cpu,
            keys=list(self._lifecycle.group.current.keys),
            limits=self._limits.stats(time.monotonic(), self._admission.queued),
        )

    async def _stat(self, _nothing: None) -> AsyncIterator[ModelStat]:
        yield self._current_stat()

    async def _follow(self, _nothing: None) -> AsyncIterator[Delta]:
        """Yield deltas of the counters until the client closes the call."""
        before: ModelStat | None = None
        changes, sent_at = -1, -KEEPALIVE_SECONDS
        while True:
            if self._admission.changes != changes or time.monotonic() - sent_at >= KEEPALIVE_SECONDS:
                changes, sent_at = self._admission.changes, time.monotonic()
                now = self._current_stat()
                yield delta(before, now)
                before = now
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._metrics.tick(self._admission.running, self._admission.queued)
            if (spent := self._limits.unsaved()) and await spending.save(self._plan.id, spent):
                self._limits.saved(spent)
            self._upkeep.tick()
            self._kept.tick()
            self._admission.refresh()

    async def _spec(self, _nothing: None) -> AsyncIterator[DeploySpec]:
        """Yield the deployment as typed, with the secrets that were typed, for a command that changes a part of it."""
        spec = self._plan.spec
        yield spec if spec.scaling.auto else replace(spec, num_workers=self._lifecycle.count)

    async def _update(self, request: messages.DeployRequest) -> AsyncIterator[Event]:
        """Serve another plan, without a break; the last event is Ready.

        Raises:
            ByzerError: its workers do not come up; the deployment stays as it is.
        """
        plan = replace(plans.to_plan(request), id=self._plan.id, token=self._plan.token)
        hide_more(plan.hidden)
        self._server.hide_more(plan.hidden)
        started = time.monotonic()
        held = Held(self._health)
        workers = making.workers_of(plan, held)

        async def prove(indices: list[int]) -> None:
            self._checked = ""
            if plan.spec.check:
                self._checked = await checking.check(plan, workers, indices, self._events.add, replaces=True)

        def adopt() -> None:
            self._plan = plan
            self._metrics.use(plan.price)
            self._tries = plan.setup.params.get("saas.max_retries", 0)
            self._capabilities = workers.capabilities
            self._upkeep.use(plan)
            held.release()

        change = events_of(lambda notify: self._lifecycle.renew(plan, workers, prove, adopt, notify))
        async with aclosing(change) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event
        took = time.monotonic() - started
        yield Ready(took, self._lifecycle.count, sorted(self._capabilities), self._checked)

    async def _trace(self, _nothing: None) -> AsyncIterator[Trace]:
        yield self._admission.trace(self._plan.spec.capacity(self._lifecycle.count))

    async def _logs(self, request: messages.LogsRequest) -> AsyncIterator[str]:
        for line in [*tail(os.getpid(), request.lines), *await self._lifecycle.group.log(request.lines)]:
            yield redact(line, self._plan.hidden)  # an SDK or Python may have written to stderr past our filter

    async def _undeploy(self, request: messages.UndeployRequest) -> AsyncIterator[messages.UndeployResult]:
        """End the deployment, after a grace period for requests in flight and in the queue."""
        self._undeploying = True
        alias = self._plan.spec.model
        closing = errors.NotDeployed(_("{alias} is being undeployed.", alias=alias), _("Deploy it again."))
        self._admission.close(closing, at_once=False)
        if not self._capabilities:  # notify the client that deploys it before this process ends
            undeployed = errors.NotDeployed(_("{alias} was undeployed while it was loading.", alias=alias))
            self._events.add(Failed(errors.to_wire(undeployed)))
        unfinished = await self._admission.empty(request.grace)
        removed = errors.NotDeployed(
            _("{alias} was undeployed during the request.", alias=alias), _("The partial response is kept.")
        )
        self._server.end_calls([*map(str, TABLE), "attach"], removed)
        pids = [os.getpid(), *self._lifecycle.group.all_pids()]
        await self._lifecycle.group.close()
        await asyncio.to_thread(desired_state.delete, self._plan)
        await asyncio.to_thread(spending.delete, self._plan.id)
        self._server.stop()
        discovery.withdraw(socket_folder(), alias)
        yield messages.UndeployResult(unfinished, pids)
