"""What a deployment does about its workers by itself: sleep and wake, grow and shrink."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import replace
from typing import Any

from byzer_magic import errors
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.plan import Plan
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.autoscaler import Autoscaler
from byzer_magic.runtime.cluster import controller_link
from byzer_magic.runtime.sleeper import Sleeper
from byzer_magic.runtime.transport import messages
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.types import Event


class Upkeep:
    """The sleeper and the autoscaler of a deployment.

    Args:
        plan: the deployment.
        lifecycle: its workers.
        admission: its requests.
        notify: receives the events of loads.
        clock: returns seconds, of any origin.
    """

    def __init__(
        self, plan: Plan, lifecycle: Lifecycle, admission: Admission, notify: Notify,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._plan = plan
        self._lifecycle = lifecycle
        self._notify = notify
        self._sleeper = Sleeper(lifecycle, admission, _sleeps_after(plan), self._room, notify, clock)
        self._autoscaler = Autoscaler(lifecycle, admission, plan.spec, self._room_for_more, clock)

    def use(self, plan: Plan) -> None:
        """Do it for another plan from now on."""
        self._plan = plan
        self._autoscaler.spec = plan.spec
        self._sleeper.idle = _sleeps_after(plan)

    def _room(self, tell: Notify) -> AbstractAsyncContextManager[None]:
        return controller_link.room(replace(self._plan.located, num_workers=self._lifecycle.count), tell)

    def _room_for_more(self, workers: int) -> AbstractAsyncContextManager[None]:
        if not self._plan.backend.info.local:  # Ray's resources are all that an API takes
            return nullcontext()
        return controller_link.room(replace(self._plan.located, num_workers=workers), self._notify, waits=False)

    @property
    def is_waking(self) -> bool:
        """Return whether the model is to be loaded, or is being loaded."""
        return self._sleeper.is_waking

    def tick(self) -> None:
        """Look whether something is to be done; called every second."""
        self._autoscaler.tick()
        self._sleeper.tick()

    def request_came(self) -> None:
        """Wake the workers if they sleep."""
        self._sleeper.request_came()

    def stat(self) -> dict[str, Any]:
        """Return the fields of `ModelStat` about it."""
        local, limits = self._plan.backend.info.local, self._plan.spec.scaling
        stage = self._sleeper.stage
        why = "" if self.is_waking else self._sleeper.why
        return {
            "local": local,
            "waking": self.is_waking,
            "note": stage.stage if stage is not None else why,
            "min_workers": (limits.low if local else limits.base) if limits.auto else 0,
            "max_workers": limits.high if limits.auto else 0,
            "scaled": self._autoscaler.why,
        }

    # ---- on request

    async def scale(self, request: messages.ScaleRequest) -> AsyncIterator[Event]:
        """Change the number of workers; yield events."""
        async with aclosing(self._autoscaler.scale(request)) as events:  # type: ignore[type-var]  # a generator
            async for event in events:
                yield event

    async def sleep(self, request: messages.SleepRequest) -> AsyncIterator[bool]:
        """Unload the model until the next request; yield whether that was done.

        Raises:
            Unsupported: the model runs elsewhere.
        """
        if not self._plan.backend.info.local:
            raise errors.Unsupported(
                _("{alias} is an API: no model is loaded for it here.", alias=self._plan.spec.model),
                _("Use undeploy to remove it."),
            )
        yield await self._sleeper.sleep(request.why or _("put to sleep by `sleep`"), finish=request.finish)


def _sleeps_after(plan: Plan) -> float:
    return plan.spec.scaling.sleeps_after if plan.backend.info.local else 0.0
