"""Connection to one Ray cluster, with the cached links to its deployments.

The managers of a process share one `Connection`; what differs between them (settings, where they report) is passed in.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.config import Settings
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime import forks

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link
    from byzer_magic.stat import ModelStat

Say = Callable[[str], None]

POLL_SECONDS = 0.1
"""How often a deployment that is still loading is asked for its capabilities."""


_connections: WeakValueDictionary[str, Connection] = WeakValueDictionary()
"""Those of this process, by name: a copy by pickle, as multiprocessing makes it, finds the one that a fork has left."""
_copies: list[Connection] = []
"""Those that came by pickle, one of each name; they live as long as the process, and so do their links."""


class Connection:
    """A process's connection to one cluster; safe to share between threads.

    A forked child continues with the endpoints that its parent knew, and with deployments of this machine. It cannot
    use the parent's connection to Ray.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name or secrets.token_hex(8)
        self._address = ""
        self._parents_address = ""
        """Of the cluster that the parent of this forked process was connected to."""
        self._links: dict[str, Link] = {}
        self._capabilities: WeakKeyDictionary[Link, frozenset[Capability]] = WeakKeyDictionary()
        self._connecting = threading.Lock()
        _connections[self._name] = self
        forks.register(self)

    def forked(self) -> None:
        """Leave the parent's connection to Ray; the links look after themselves."""
        self._parents_address = self._address or self._parents_address
        self._address = ""
        self._connecting = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (self._name,)

    # ---- the cluster

    @property
    def connected(self) -> bool:
        """Return whether this process is connected to a cluster."""
        return bool(self._address)

    def settings_elsewhere(self, settings: Settings) -> Settings:
        """Return the settings with which another process of this machine connects to the same cluster."""
        return settings if self._is_usual() else replace(settings, ray_address=self._address or self._parents_address)

    def _is_usual(self) -> bool:
        """Return whether its cluster, or that of the parent, is the one that any process finds by itself."""
        from byzer_magic.runtime.cluster import discovery

        address = self._address or self._parents_address
        return not address or address == discovery.usual_cluster()

    def connect(self, address: str, settings: Settings, say: Say) -> str:
        """Connect to Ray (see `byzer_magic.runtime.cluster.connect.connect`); return the cluster's address."""
        from byzer_magic.runtime.cluster import connect

        with self._connecting:  # threads may ask at the same moment
            found = connect.connect(address, settings, say)
            if found != self._address:  # the links lead to the other cluster
                self._links.clear()
                self._address = found
                self.prestart(settings)
        return found

    def prestart(self, settings: Settings) -> None:
        """Start the process that the next deployment will use, unless the settings forbid it."""
        if settings.spare:
            from byzer_magic.runtime.cluster import prestart

            threading.Thread(target=prestart.prestart, name="byzer-spare", daemon=True).start()

    def ensure(self, address: str, settings: Settings, say: Say) -> None:
        """Connect when this process is not connected yet, or when a given address must be checked."""
        if not self._address or address != "auto":
            self.connect(address, settings, say)

    def reach(self, alias: str, address: str, settings: Settings, say: Say) -> None:
        """Make sure that requests can reach `alias`: directly when it is on this machine, else by connecting to Ray.

        Raises:
            CannotConnect: no Ray is running, and none can be started.
        """
        from byzer_magic.runtime.cluster import discovery

        if self._parents_address and address == "auto" and self._inherits(alias):
            return
        default = address == "auto" and settings.ray_address == "auto"
        if self._address or not default:
            self.ensure(address, settings, say)
        elif (link := self._links.get(alias)) is not None and link.connected:
            return
        elif discovery.announced(alias) is not None:
            self._links.setdefault(alias, discovery.link_to(alias))
        else:
            self._links.clear()  # direct ones; from now on Ray is asked
            self.ensure("auto", settings, say)

    def _inherits(self, alias: str) -> bool:
        """Return whether this forked child can reach `alias` without Ray: on this machine, or where its parent did."""
        from byzer_magic.runtime.cluster import discovery

        link = self._links.get(alias)
        if link is not None and link.connected:
            return True
        if self._is_usual() and discovery.announced(alias) is not None:
            if link is None or link.peer:  # the parent has found it by Ray
                self._links[alias] = discovery.link_to(alias)
            return True
        return link is not None and link.located

    def shutdown(self, say: Say) -> bool:
        """Stop the local Ray; return whether there was one that byzer-magic had started."""
        from byzer_magic.runtime.cluster import connect

        self._links.clear()
        self._address = ""
        return connect.shutdown(say)

    def is_alive(self) -> bool:
        """Return whether this process is connected to a Ray that still accepts connections."""
        from byzer_magic.runtime.cluster import listeners

        return listeners.is_up(self._address)

    # ---- deployments

    async def aliases(self) -> list[str]:
        """Return the aliases of all deployments."""
        from byzer_magic.runtime.cluster import deployments

        return await asyncio.to_thread(deployments.aliases)

    async def names(self) -> list[str]:
        """Return the aliases of all deployments, without starting a Ray or waiting for one that has ended.

        Raises:
            CannotConnect: no Ray runs here, or nothing listens at the address that RAY_ADDRESS names.
        """
        from byzer_magic.runtime.cluster import address, discovery

        local = await asyncio.to_thread(discovery.aliases)
        alive = await asyncio.to_thread(self.is_alive)  # a Ray that has ended would block for a minute
        if local is None and not alive:
            if not (target := address.from_environment()).is_here:
                await asyncio.to_thread(address.check, target)
            raise errors.CannotConnect(_("Ray is not running on this machine."), _("Deploy a model to start Ray."))
        return sorted({*(local or []), *(await self.aliases() if alive else [])})

    async def link(self, alias: str) -> Link:
        """Return the link that requests to an alias share.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        link = self._links.get(alias)
        if link is not None and (link.connected or not self._address):  # without an address: a direct one
            return link
        from byzer_magic.runtime.cluster import deployments

        found = await asyncio.to_thread(
            deployments.link_to, alias, link
        )  # the deployment may have been removed or replaced
        if link is not None and found is not link:
            await link.close()
        self._links[alias] = found
        return found

    async def open_link(self, alias: str) -> Link:
        """Return a new link to a deployment, which the caller closes.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        from byzer_magic.runtime.cluster import discovery

        local = await asyncio.to_thread(lambda: discovery.announced(alias) is not None)
        if local or not self.connected:
            return discovery.link_to(alias)
        from byzer_magic.runtime.cluster import deployments

        return await asyncio.to_thread(deployments.link_to, alias)

    def cached(self, alias: str) -> Link | None:
        """Return the link to an alias where one is open."""
        link = self._links.get(alias)
        return link if link is not None and link.connected else None

    def keep(self, alias: str, link: Link) -> None:
        """Use this link for requests to an alias from now on."""
        self._links[alias] = link

    async def forget(self, alias: str) -> None:
        """Close the link to an alias that was removed."""
        if link := self._links.pop(alias, None):
            await link.close()

    async def capabilities(self, alias: str) -> frozenset[Capability]:
        """Return the capabilities of a deployment, asked once and cached; wait while it is loading.

        Raises:
            NotDeployed: nothing is deployed as this alias, or its model could not be loaded.
        """
        link = await self.link(alias)
        while link not in self._capabilities:
            stat: ModelStat = await link.call("stat")
            if stat.error:
                raise errors.NotDeployed(
                    _("{alias} could not be loaded: {error}", alias=alias, error=stat.error),
                    _("See logs --model {alias}; then deploy it again.", alias=alias),
                )
            if stat.capabilities:
                self._capabilities[link] = frozenset(map(Capability, stat.capabilities))
            else:
                await asyncio.sleep(POLL_SECONDS)
        return self._capabilities[link]


def _copy(name: str) -> Connection:
    """Return this process's connection of that name, which is a new one unless the process was forked."""
    found = _connections.get(name)
    if found is None:
        found = Connection(name)
        _copies.append(found)
    return found
