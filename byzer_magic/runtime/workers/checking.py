"""The check of a new deployment: a request as small as there is, before it is ready (`deploy --check`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from byzer_magic.backends import probe
from byzer_magic.backends.http.retry import retried
from byzer_magic.capabilities import purpose
from byzer_magic.errors import ByzerError, DeadlineExceeded
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.log import redact
from byzer_magic.plan import Plan
from byzer_magic.runtime.workers.engine_workers import Notify
from byzer_magic.runtime.workers.group import Workers
from byzer_magic.types import Item, Loading, Request

DEADLINE_SECONDS = 60.0
"""How long the provider of an API may take; a local engine on few cores may need longer for a token."""


async def check(plan: Plan, workers: Workers, indices: Sequence[int], notify: Notify, *, replaces: bool = False) -> str:
    """Ask an API once with each of its keys, or each worker of a local engine, and return in words what that showed.

    Args:
        plan: the deployment.
        workers: its workers, which are up.
        indices: those that it has.
        notify: receives the events.
        replaces: whether they are to take the place of others, which stay where the check fails.

    Raises:
        ByzerError: the model does not answer; neither text nor hint has a secret in it.
    """
    local = plan.backend.info.local
    chosen = indices if local else [indices[0]] * max(1, len(workers.keys))  # keys take turns
    notify(Loading(_("checking: a small request")))
    began = time.monotonic()
    try:
        async with asyncio.timeout(None if local else DEADLINE_SECONDS):
            asked = await asyncio.gather(*(_ask(plan, workers, index) for index in chosen))
    except TimeoutError as err:
        raise DeadlineExceeded(
            _("The check got no response within {seconds:g} s.", seconds=DEADLINE_SECONDS),
            join(_("Check the URL, and whether a proxy is needed."), _outcome(plan, replaces=replaces)),
        ) from err
    except ByzerError as err:
        err.message = redact(err.message, plan.hidden)
        err.hint = join(redact(err.hint, plan.hidden), _outcome(plan, replaces=replaces))
        raise
    if not all(asked):
        return _("not checked, since that would generate an image, which costs money")
    passed = _("check passed in {seconds} s", seconds=f"{time.monotonic() - began:.2f}")
    bad = (join(key.text, key.why, separator=": ") for key in workers.keys if key.state != "up")
    return join(passed, *bad, separator="; ")


async def _ask(plan: Plan, workers: Workers, index: int) -> bool:
    """Ask one worker; return whether anything was sent."""
    capability = purpose(workers.capabilities)

    def send(request: Request) -> AsyncIterator[Item]:
        tries = plan.setup.params.get("saas.max_retries", 0)
        return retried(lambda: workers.ask(index, capability, request), tries)

    return await probe.ask(capability, send)


def _outcome(plan: Plan, *, replaces: bool) -> str:
    alias = plan.spec.model
    if replaces:
        return _("{alias} stays as it is: the check failed. It can be changed without the check.", alias=alias)
    return _("{alias} is not deployed: the check failed. It can be deployed without the check.", alias=alias)
