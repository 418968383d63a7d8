"""From a pool to the controller of its cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

import ray

from byzer_magic import errors
from byzer_magic.commands.spec import DeploySpec
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.log import get_logger
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.attach import CONTROL_NAMESPACE
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.messages import RoomRequest
from byzer_magic.runtime.transport.protocol import Endpoint
from byzer_magic.types import Event

SECONDS = 10.0
"""How long the controller may take to say where it listens."""

log = get_logger("controller_link")


async def to_controller() -> Link:
    """Return a link to the controller, which the caller closes.

    Raises:
        ConnectionError: there is none.
    """
    try:
        actor = await asyncio.to_thread(ray.get_actor, discovery.CONTROLLER, CONTROL_NAMESPACE)
    except ValueError as err:
        raise ConnectionError(str(err)) from err

    async def where() -> Endpoint:
        try:
            endpoint: Endpoint = await asyncio.wait_for(actor.endpoint.remote(), SECONDS)
        except ray.exceptions.RayError as err:
            raise ConnectionError(str(err).splitlines()[0]) from err
        return endpoint

    return Link(_("the controller"), where)


@asynccontextmanager
async def room(spec: DeploySpec, notify: Callable[[Event], None], *, waits: bool = True) -> AsyncIterator[None]:
    """Have the controller make room for a model, while the block loads it; without a controller, it may.

    Args:
        spec: the deployment that loads it, with the number of workers that are to load it.
        notify: receives what it waits for.
        waits: until others that are in use make room.

    Raises:
        NoRoom: it would have to wait, and does not.
    """
    request = RoomRequest(spec.model, spec, waits)
    async with AsyncExitStack() as stack:
        try:
            link = await to_controller()
            stack.push_async_callback(link.close)
            events = await stack.enter_async_context(aclosing(link.stream("make_room", request)))  # type: ignore[type-var]  # a generator
            async for event in events:
                if event is True:
                    break
                notify(event)
        except errors.NoRoom:
            raise
        except (errors.ByzerError, ConnectionError, TimeoutError) as err:
            log.warning("the controller cannot be asked for room: %s", err)
        yield
