"""A deploy or an update, from the face that asks for it to the controller."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from byzer_magic import config, errors
from byzer_magic.client.connection import Connection
from byzer_magic.files import paths
from byzer_magic.i18n import join, lazy_gettext as _
from byzer_magic.runtime.loop import with_deadline
from byzer_magic.types import Event, Ready

if TYPE_CHECKING:
    from byzer_magic.plan import Plan

ABANDON_SECONDS = 15.0
"""How long it may take to remove what there is of a deployment that was interrupted or has failed."""
LOAD_SECONDS = 3600.0
"""Without any progress for an hour, a deployment has failed."""


async def deploying(connection: Connection, plan: Plan, how: str, settings: config.Settings) -> AsyncIterator[Event]:
    """Yield the events of a deployment that is made or changed; the last one is Ready.

    Args:
        connection: to the cluster.
        plan: what to deploy.
        how: the controller's method, `deploy` or `update`.
        settings: of the face.

    Raises:
        ByzerError: see `Manager.deploy` and `Manager.update`.
    """
    from byzer_magic.runtime.cluster import discovery
    from byzer_magic.runtime.transport import plans

    alias = plan.spec.model
    discovery.forget_log(alias)  # of an older failure
    control = connection.control()
    ready = False
    message = plans.to_message(plan, spare=bool(settings.spare), folder=paths.working_folder())
    try:
        async with aclosing(with_deadline(control.stream(how, message), LOAD_SECONDS)) as events:
            async for event in events:
                ready = isinstance(event, Ready)
                yield event
    except errors.WorkerLost as err:
        if control.connected:  # so it is the deployment's own process that was lost
            raise _failure(alias, err) from None
        raise errors.DeployError(
            _("The controller of the cluster ended while it was deploying {alias}.", alias=alias),
            _("Nothing of that deployment is kept; deploy it again."),
        ) from err
    except errors.ByzerError as err:
        raise _failure(alias, err) from None
    finally:
        await asyncio.shield(_deployed(connection, plan, ready=ready))


async def _deployed(connection: Connection, plan: Plan, *, ready: bool) -> None:
    """Forget an older deployment of the alias; after one that failed, wait until nothing is left of it."""
    from byzer_magic.runtime.transport import messages

    if not ready:
        with contextlib.suppress(errors.ByzerError, TimeoutError):
            await asyncio.wait_for(
                connection.control().call("abandon", messages.AbandonRequest(plan.id)), ABANDON_SECONDS
            )
    await connection.forget(plan.spec.model)


def _failure(alias: str, err: errors.ByzerError) -> errors.ByzerError:
    """Return the error of a deploy that failed, its log stored where `logs` finds it."""
    from byzer_magic.runtime.cluster import discovery

    if log := err.details.pop("log", None):
        discovery.keep_log(alias, log)
        err.hint = join(err.hint, _("See its log: logs --model {alias}", alias=alias))
    return err
