"""From a pool to the controller of its cluster."""

from __future__ import annotations

import asyncio

import ray

from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.cluster import discovery
from byzer_magic.runtime.cluster.attach import CONTROL_NAMESPACE
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.protocol import Endpoint

SECONDS = 10.0
"""How long the controller may take to say where it listens."""


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
