"""The actions of the panel's buttons: a message of the page in, replies out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import DrainSpec, RestartSpec, ScaleSpec, UndeploySpec
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, ngettext
from byzer_magic.rendering import progress
from byzer_magic.types import Event

LOG_LINES = 200

Reply = dict[str, Any]
"""What the page shows: `state` (going, done, failed), `text`, and `log` of `logs`."""


async def perform(manager: Manager, message: Mapping[str, Any]) -> AsyncIterator[Reply]:
    """Run the action of a button and yield its progress; an error is the last reply."""
    yield {"state": "going", "text": _("Working …")}
    try:
        async with aclosing(_run(manager, message)) as replies:  # type: ignore[type-var]  # a generator
            async for reply in replies:
                yield reply
    except ByzerError as err:
        yield {"state": "failed", "text": err.localized()}


async def _run(manager: Manager, message: Mapping[str, Any]) -> AsyncIterator[Reply]:
    alias, worker = str(message.get("model")), message.get("worker")
    await manager.names()  # a click where no Ray runs any more starts none
    await asyncio.to_thread(manager.ensure if message.get("type") == "undeploy" else lambda: manager.reach(alias))
    match message.get("type"):
        case "scale":
            number = int(message.get("value") or 0)
            events = manager.scale(ScaleSpec(model=alias, num_workers=number))
            async for reply in _progress(events):
                yield reply
        case "restart":
            events = manager.restart(RestartSpec(model=alias, worker=worker))
            async for reply in _progress(events):
                yield reply
        case "sleep" | "wake" as which:
            async for reply in _sleep_or_wake(manager, alias, which):
                yield reply
        case "drain":
            left = await manager.drain(DrainSpec(model=alias, worker=worker))
            yield {"state": "done", "text": _("No new requests are sent; {count} still in flight.", count=left)}
        case "undeploy":
            cancelled = await manager.undeploy(UndeploySpec(model=alias))
            text = (
                ngettext(
                    "Undeployed; {count} request was cancelled.",
                    "Undeployed; {count} requests were cancelled.",
                    count=cancelled,
                )
                if cancelled
                else _("Undeployed.")
            )
            yield {"state": "done", "text": text}
        case "logs":
            lines = await manager.logs(alias, LOG_LINES)
            yield {"state": "done", "text": "" if lines else _("The log is empty."), "log": "\n".join(lines)}


async def _sleep_or_wake(manager: Manager, alias: str, which: str) -> AsyncIterator[Reply]:
    if which == "sleep":
        slept = await manager.sleep(alias)
        yield {"state": "done", "text": _("Asleep.") if slept else _("Not now: it has requests to finish.")}
    elif (await manager.stat(alias)).is_asleep:
        async for reply in _progress(manager.restart(RestartSpec(model=alias))):
            yield reply
    else:
        yield {"state": "done", "text": _("It is awake.")}


async def _progress(events: AsyncIterator[Event]) -> AsyncIterator[Reply]:
    async with aclosing(events) as stages:  # type: ignore[type-var]  # a generator
        async for event in stages:
            yield {"state": "going", "text": progress.event_text(event)}
    yield {"state": "done", "text": _("Done.")}
