"""How a request gets its answer: from the journal, where it is there, else from a pool; counted in any case.

This is the one way of all faces.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from byzer_magic import errors, request_ids
from byzer_magic.capabilities import method_for
from byzer_magic.client import journaling, spending
from byzer_magic.client.adapters import with_adapter
from byzer_magic.client.capable import capable_of
from byzer_magic.client.collect import Complete
from byzer_magic.client.ledger import LEDGER, Counting
from byzer_magic.client.replaying import REPLAY
from byzer_magic.types import Request

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager


async def answered(manager: Manager, alias: str, request: Request) -> AsyncIterator[Any]:
    """Yield the response; see `Manager.ask`."""
    alias, adapter = await manager.named(alias)
    if adapter:
        request = with_adapter(request, adapter)
    request_id = request_ids.CURRENT.get() or request_ids.new()
    send = spending.paying(manager, alias, request, functools.partial(_sent, manager, alias, request_id))
    store = journaling.store_for(manager)
    items = send() if store is None else journaling.asked(manager, store, alias, request, request_id, send)
    with Counting(LEDGER, alias, request) as counting:
        async with aclosing(items) as found:  # type: ignore[type-var]  # a generator
            async for item in found:
                counting.add(item)
                yield item


async def is_known(manager: Manager, alias: str, request: Request) -> bool:
    """Return whether the journal has the answer that a request would get now."""
    alias, adapter = await manager.named(alias)
    return await journaling.is_known(manager, alias, with_adapter(request, adapter) if adapter else request)


async def is_recorded(manager: Manager, alias: str, request: Request) -> bool:
    """Return whether the journal, or the tape that is replayed, has the answer that a request would get now."""
    if (tape := REPLAY.connection(manager.settings)) is None:
        return await is_known(manager, alias, request)
    alias, adapter = await manager.named(alias)
    return tape.has(alias, with_adapter(request, adapter) if adapter else request)


async def _sent(manager: Manager, alias: str, request_id: str, request: Request) -> AsyncIterator[Any]:
    """Send a request to a pool, and yield what arrives; at the end, that this was all."""
    link = await manager.connection.link(alias)
    try:
        async with aclosing(link.stream(method_for(request).value, request, request_id)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                yield item
        yield Complete()
    except errors.ByzerError as err:
        err.details["id"] = request_id
        if isinstance(err, errors.Unsupported) and "needs" in err.details:  # else an engine's, about an option
            hint = await capable_of(manager, err.details["needs"])
            raise errors.Unsupported(err.message, hint, **err.details) from None
        raise
