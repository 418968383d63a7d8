"""The endpoint and the cluster: starting its replicas there, finding and stopping them; staying connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from byzer_magic import errors
from byzer_magic.client.manager import Manager
from byzer_magic.commands.spec import ServeSpec
from byzer_magic.i18n import join, lazy_gettext as _, lazy_ngettext, listed

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.messages import Served


async def start(manager: Manager, spec: ServeSpec, key: str, keys: str, *, closed: bool) -> list[Served]:
    """Start the endpoint as actors of the cluster, which outlive this process; return where it serves.

    Args:
        manager: is connected to the cluster.
        spec: the command; its `num_replicas` says how many.
        key: the key that may use everything; empty for none.
        keys: the path of the stored keys, on each node.
        closed: whether a key is needed, also where that file is missing.

    Raises:
        NameTaken: it is running already.
        ConfigError: a replica cannot listen there.
    """
    from byzer_magic.runtime.transport import messages

    request = messages.ServeRequest(replace(spec, api_key=None), key, keys, spec.num_replicas or 0, closed)
    found: list[Served] = await manager.connection.control().call("serve", request)
    return found


async def running(manager: Manager) -> list[Served]:
    """Return where the endpoint's replicas serve, or that one does not answer; none where none runs in the cluster."""
    found: list[Served] = await manager.connection.control().call("serving")
    return found


def shown(replicas: Sequence[Served]) -> str:
    """Return where an endpoint serves, in words; empty where none does.

    Args:
        replicas: as `running` returns them.
    """
    urls = listed(dict.fromkeys(one.url for one in replicas if not one.error))
    if not (lost := sum(one.error is not None for one in replicas)):
        return urls
    silent = lazy_ngettext("{count} process does not respond", "{count} processes do not respond", count=lost)
    return join(urls, silent, separator=_(", "))


async def stop(manager: Manager, grace: float) -> int:
    """Stop the replicas of the endpoint; return how many there were.

    Args:
        manager: is connected to the cluster.
        grace: seconds for the requests that run.
    """
    from byzer_magic.runtime.transport import messages

    count: int = await manager.connection.control().call("stop_serving", messages.StopRequest(grace))
    return count


def reconnect(manager: Manager) -> None:
    """Connect again to a cluster that was restarted; one that has been stopped is not started again.

    Args:
        manager: was connected to it.

    Raises:
        CannotConnect: the cluster does not run.
    """
    from byzer_magic.runtime.cluster import address, this_machine

    if address.resolve("auto", manager.settings).is_here and this_machine.current_cluster() is None:
        raise errors.CannotConnect(_("Ray is not running on this machine."), _("Deploy a model to start Ray."))
    manager.ensure()
