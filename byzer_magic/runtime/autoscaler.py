"""Changes the number of a deployment's workers by its queue, where it is deployed with limits for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing

from byzer_magic import errors
from byzer_magic.commands import durations
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import Text, lazy_gettext as _, lazy_ngettext
from byzer_magic.log import get_logger
from byzer_magic.routing.autoscale import Scaler
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.transport.messages import ScaleRequest
from byzer_magic.runtime.workers import reasons
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.types import Event

log = get_logger("autoscaler")


class Autoscaler:
    """Has a `Scaler` look at the queue every second, and does what it decides.

    Args:
        lifecycle: the workers.
        admission: the requests.
        spec: the deployment.
        room: makes room for a number of workers, while its block loads them; raises NoRoom where there is none now.
        clock: returns seconds, of any origin.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        admission: Admission,
        spec: DeploySpec,
        room: Callable[[int], AbstractAsyncContextManager[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        """The deployment, as last updated."""
        self.why: Text | str = ""
        """Why the number has last changed, or why it cannot grow."""
        self._lifecycle = lifecycle
        self._admission = admission
        self._room = room
        self._clock = clock
        self._scaler = Scaler(clock())
        self._known = lifecycle.count
        self._work: asyncio.Task[None] | None = None

    def tick(self) -> None:
        """Look whether there are too few workers, or too many; called every second."""
        limits, count = self.spec.scaling, self._lifecycle.count
        busy = self._lifecycle.is_changing or (self._work is not None and not self._work.done())
        if not limits.auto or busy or self._lifecycle.is_asleep or self._admission.broken:
            return
        if count != self._known:  # others have changed it
            self._changed()
        running, queued = self._admission.running, self._admission.queued_for_slots
        slots = self.spec.worker_concurrency
        wanted = self._scaler.wanted(self._clock(), limits, count, slots, running=running, queued=queued)
        if wanted == count:
            return
        if limits.within(count) != count:
            why: Text = _("its limits have changed")
        elif wanted > count:
            why = lazy_ngettext("{count} request was waiting", "{count} requests were waiting", count=queued)
        else:
            why = _("no more were needed for {time}", time=durations.written(limits.idle))
        self._work = asyncio.create_task(self._scale_to(wanted, why))

    async def _scale_to(self, wanted: int, why: Text) -> None:
        before, started = self._lifecycle.count, self._clock()
        try:
            if wanted > before:
                await self._grow(wanted - before)
            else:
                await self._apply(wanted)
        except Exception as err:  # noqa: BLE001 - a backend's code may raise anything; the others serve those who wait
            self._known = self._lifecycle.count
            reason = err.message if isinstance(err, errors.ByzerError) else f"{type(err).__name__}: {err}"
            pause = durations.written(self._scaler.failed(self._clock()))
            self.why = _("no more than {count} for now: {reason} Next attempt in {time}.",
                         count=self._known, reason=reason, time=pause)  # fmt: skip
            log.warning("not scaled to %s workers: %s", wanted, err)
        else:
            self._changed(self._clock() - started if wanted > before else 0.0)
            self.why = _("from {before} to {after}: {reason}", before=before, after=self._known, reason=why)
            log.info("scaled from %s to %s workers: %s", before, self._known, why)

    async def _grow(self, more: int) -> None:
        """Add workers, or as many of them as there is room for.

        Raises:
            NoRoom: there is none for a single one.
        """
        try:
            async with self._room(more):
                await self._apply(self._lifecycle.count + more)
        except errors.NoRoom:
            if more == 1:
                raise
            await self._grow(more // 2)

    async def _apply(self, workers: int) -> None:
        async with aclosing(self._lifecycle.scale(ScaleRequest(workers))) as events:  # type: ignore[type-var]  # a generator
            async for _event in events:
                pass

    def _changed(self, took: float = 0.0) -> None:
        self._known = self._lifecycle.count
        self._scaler.changed(self._clock(), took)

    async def scale(self, request: ScaleRequest) -> AsyncIterator[Event]:
        """Have as many workers as somebody says, until the queue says otherwise; yield the events.

        Raises:
            CommandError: the deployment has limits, and these do not allow that number.
            ByzerError: see `Lifecycle.scale`.
        """
        limits, before = self.spec.scaling, self._lifecycle.count
        if limits.auto and limits.within(request.workers) != request.workers:
            raise reasons.beyond(self.spec.model, limits)
        async with aclosing(self._lifecycle.scale(request)) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event
        self._changed()
        if request.why:  # others need the room: they get some time
            self._scaler.failed(self._clock())
        if limits.auto:
            why = request.why or _("by `scale`")
            self.why = _("from {before} to {after}: {reason}", before=before, after=self._known, reason=why)
