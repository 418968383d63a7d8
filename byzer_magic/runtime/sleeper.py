"""Puts a deployment to sleep when nobody asks it, and wakes it for the next request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from byzer_magic import errors
from byzer_magic.commands import durations
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.runtime.admission import Admission
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.lifecycle import Lifecycle
from byzer_magic.types import Event, Loading

log = get_logger("sleeper")


class Sleeper:
    """Decides when the workers of a deployment unload their model, and when they load it again.

    Args:
        lifecycle: the workers.
        admission: the requests.
        idle: seconds without a request after which the workers sleep; 0 for never.
        room: makes room for the model, while its block loads it; what it waits for is notified.
        notify: receives the events of a load.
        clock: returns seconds, of any origin.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        admission: Admission,
        idle: float,
        room: Callable[[Notify], AbstractAsyncContextManager[None]],
        notify: Notify,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.why: Text | str = ""
        """Why the workers sleep, or why they could not be woken; empty while they are awake."""
        self.stage: Loading | None = None
        """What waking them waits for, or does."""
        self._lifecycle = lifecycle
        self._admission = admission
        self.idle = idle
        """Seconds without a request after which they sleep; 0 for never."""
        self._room = room
        self._notify = notify
        self._clock = clock
        self._used = clock()
        self._waking = False
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        lifecycle.waking = self.wake

    @property
    def is_waking(self) -> bool:
        """Return whether the model is to be loaded, or is being loaded."""
        return self._waking or self._loading.locked()

    def tick(self) -> None:
        """Put the workers to sleep if they have been unused for long enough; called every second."""
        if self._admission.running or self._admission.queued or self._lifecycle.is_changing:
            self._used = self._clock()
        elif self.idle and self._clock() - self._used >= self.idle and not self._lifecycle.is_asleep:
            self._start(self._fall_asleep(_("no requests for {time}", time=durations.written(self.idle))))

    def request_came(self) -> None:
        """Wake the workers if they sleep; where that fails, the requests that wait for them are refused."""
        self._used = self._clock()
        if self._lifecycle.is_asleep and not self._waking:
            self._waking = True
            self._start(self._wake_up())

    async def sleep(self, why: Text | str, *, finish: bool = False) -> bool:
        """Put the workers to sleep; return whether that was done.

        Args:
            why: shown by `stat` and the panel.
            finish: also where they have something to do: requests that run end first, those in the queue wake them
                again. Without it, nothing happens then.

        Raises:
            NotDeployed: the deployment is being undeployed.
        """
        if done := await self._lifecycle.sleep(finish=finish):
            self.why = why
            log.info("asleep: %s", why)
            if self._admission.queued:
                self.request_came()
        return done

    async def wake(self, notify: Notify | None = None) -> None:
        """Load the model again.

        Args:
            notify: receives the events, beside those who follow the deployment.

        Raises:
            ByzerError: it could not be loaded; the workers sleep on.
        """

        def tell(event: Event) -> None:
            self.stage = event if isinstance(event, Loading) else None
            self._notify(event)
            if notify is not None:
                notify(event)

        async with self._loading:
            if not self._lifecycle.is_asleep:
                return
            try:
                async with self._room(tell):
                    await self._lifecycle.wake(tell)
            finally:
                self.stage = None
        self.why = ""
        self._used = self._clock()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fall_asleep(self, why: Text | str) -> None:
        with suppress(errors.ByzerError):  # it is being undeployed
            await self.sleep(why)

    async def _wake_up(self) -> None:
        try:
            await self.wake()
        except errors.ByzerError as err:
            self._refuse(err)
        except Exception as err:  # a backend's code may raise anything
            log.exception("the model could not be loaded again")
            self._refuse(errors.EngineFailed(f"{type(err).__name__}: {err}", _("See the traceback in the pool's log.")))
        finally:
            self._waking = False

    def _refuse(self, err: errors.ByzerError) -> None:
        log.error("the model could not be loaded again: %s", err)
        self.why = err.message
        self._admission.refuse(err)
