"""Connection to one Ray cluster, with the cached links to its deployments.

The managers of a process share one `Connection`; what differs between them (settings, where they report) is passed in.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from msgspec.structs import replace as replace_struct

from byzer_magic import errors
from byzer_magic.capabilities import Capability
from byzer_magic.commands.aliases import ADAPTER, readings
from byzer_magic.config import Settings
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime import forks
from byzer_magic.runtime.single_flight import SingleFlight

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link
    from byzer_magic.runtime.transport.messages import ModelIdentity
    from byzer_magic.runtime.transport.protocol import Endpoint
    from byzer_magic.stat import ModelStat

Say = Callable[[str], None]

PRESTART_SECONDS = 1.0
"""How long the controller may take to note that a process is to wait for the next deployment."""
NAMES_SECONDS = 5.0
"""How old it may be what a name with a colon stands for: such an alias may be deployed later."""
MOST_NAMES = 1000
"""Names with a colon that are remembered: clients of the endpoint choose them."""
IDENTITY_SECONDS = 1.0
"""How old it may be which model a deployment is, where its answers are kept."""
POLL_SECONDS = 0.1
"""How often a deployment that is still loading is asked for its capabilities."""


_connections: WeakValueDictionary[str, Connection] = WeakValueDictionary()
"""Those of this process, by name: a copy by pickle, as multiprocessing makes it, finds the one that a fork has left."""
_copies: list[Connection] = []
"""Those that came by pickle, one of each name; they live as long as the process, and so do their links."""


class Connection:
    """A process's connection to one cluster; safe to share between threads.

    A forked child continues with the endpoints that its parent knew.
    """

    def __init__(self, name: str = "") -> None:
        self._name = name or secrets.token_hex(8)
        self._address = ""
        self._control: Link | None = None
        """Leads to the cluster's controller."""
        self._endpoint: Endpoint | None = None
        """Where that listened when this process connected."""
        self._links: dict[str, Link] = {}
        self._linking: SingleFlight[Link] = SingleFlight()
        self._names: dict[str, tuple[tuple[str, str], float]] = {}
        """What names with a colon stand for, and when that was found out."""
        self._learnt: WeakKeyDictionary[Link, set[str]] = WeakKeyDictionary()
        self._models: WeakKeyDictionary[Link, tuple[str, str]] = WeakKeyDictionary()
        """The models, kind and title, that this is about."""
        self._identities: WeakKeyDictionary[Link, tuple[ModelIdentity | None, float]] = WeakKeyDictionary()
        self._identifying: SingleFlight[ModelIdentity | None] = SingleFlight()
        """Which models they are, and when they said so."""
        self._connecting = threading.Lock()
        _connections[self._name] = self
        forks.register(self)

    def forked(self) -> None:
        """The links look after themselves."""
        self._connecting = threading.Lock()
        self._linking.clear()
        self._identifying.clear()

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (self._name,)

    # ---- the cluster

    @property
    def connected(self) -> bool:
        """Return whether this process is connected to a cluster."""
        return bool(self._address)

    def settings_elsewhere(self, settings: Settings) -> Settings:
        """Return the settings with which another process of this machine connects to the same cluster."""
        return settings if self._is_usual() else replace(settings, ray_address=self._address)

    def _is_usual(self) -> bool:
        """Return whether its cluster is the one that any process finds by itself."""
        from byzer_magic.runtime.cluster import discovery

        return not self._address or self._address == discovery.usual_cluster()

    def connect(self, address: str, settings: Settings, say: Say) -> str:
        """Connect to a cluster (see `byzer_magic.runtime.cluster.connect.connect`); return its address."""
        from byzer_magic.runtime.cluster import connect
        from byzer_magic.runtime.loop import LOOP
        from byzer_magic.runtime.transport.client import Link

        with self._connecting:  # threads may ask at the same moment
            found = connect.connect(address, settings, say)
            if self._control is None or found.address != self._address or found.controller != self._endpoint:
                if found.address != self._address:  # the links lead to the other cluster
                    self._links.clear()
                    self._linking.clear()
                endpoint = found.controller

                async def where() -> Endpoint:
                    from byzer_magic.runtime.cluster import discovery

                    return discovery.controller(found.address) or endpoint

                self._control = Link(_("The controller"), where)
                self._endpoint = endpoint
                self._address = found.address
                if settings.spare:
                    LOOP.run(self._prestart(self._control))
        return found.address

    async def _prestart(self, control: Link) -> None:
        """Ask for the process that the next deployment will use; a shell may end right after it."""
        with contextlib.suppress(errors.ByzerError, TimeoutError):
            await asyncio.wait_for(control.call("prestart"), PRESTART_SECONDS)

    def ensure(self, address: str, settings: Settings, say: Say) -> None:
        """Connect when this process is not connected yet, when its cluster has ended, or to a given address."""
        if not self._address or address != "auto" or not self.is_alive():
            self.connect(address, settings, say)

    def reach(self, alias: str, address: str, settings: Settings, say: Say) -> None:
        """Make sure that requests can reach `alias`: directly when it is on this machine, else by the controller.

        Raises:
            CannotConnect: no Ray is running, and none can be started.
        """
        from byzer_magic.runtime.cluster import discovery

        link = self._links.get(self._alias(alias))
        if address == "auto" and link is not None and link.connected:
            return
        default = address == "auto" and settings.ray_address == "auto"
        if default and discovery.announced(alias, self._address) is not None:
            return
        self.ensure(address, settings, say)

    def shutdown(self, say: Say) -> bool:
        """Stop the local Ray; return whether there was one that byzer-magic had started."""
        from byzer_magic.runtime.cluster import connect

        self._links.clear()
        self._linking.clear()
        self._control = None
        self._address = ""
        return connect.shutdown(say)

    def is_alive(self) -> bool:
        """Return whether this process is connected to a Ray that still accepts connections."""
        from byzer_magic.runtime.cluster import listeners

        return listeners.is_up(self._address)

    def control(self) -> Link:
        """Return the link to the cluster's controller.

        Raises:
            CannotConnect: this process is not connected to a cluster.
        """
        if self._control is None:
            raise errors.CannotConnect(_("Ray is not running on this machine."), _("Deploy a model to start Ray."))
        return self._control

    # ---- deployments

    async def aliases(self) -> list[str]:
        """Return the aliases of all deployments."""
        found: list[str] = await self.control().call("aliases")
        return found

    async def names(self) -> list[str]:
        """Return the aliases of all deployments, without starting a Ray or waiting for one that has ended.

        Raises:
            CannotConnect: no Ray runs here, or nothing listens at the address that RAY_ADDRESS names.
        """
        from byzer_magic.runtime.cluster import address, discovery

        local = await asyncio.to_thread(discovery.aliases)
        alive = await asyncio.to_thread(self.is_alive)
        if local is None and not alive:
            if not (target := address.from_environment()).is_here:
                await asyncio.to_thread(address.check, target)
            raise errors.CannotConnect(_("Ray is not running on this machine."), _("Deploy a model to start Ray."))
        return sorted({*(local or []), *(await self.aliases() if alive else [])})

    async def named(self, name: str) -> tuple[str, str]:
        """Return the alias and the LoRA adapter that a name stands for: ``alias``, or ``alias:adapter``.

        An alias with a colon in it goes before an alias and an adapter. A name that stands for nothing is an alias.
        """
        if ADAPTER not in name:
            return name, ""
        known = self._names.get(name)
        if known is None or time.monotonic() - known[1] > NAMES_SECONDS:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            known = self._names[name] = (await self._read(name), time.monotonic())
        return known[0]

    def _alias(self, name: str) -> str:
        """Return the alias that a name was last found to stand for."""
        (alias, _adapter), _when = self._names.get(name, ((name, ""), 0.0))
        return alias

    async def _read(self, name: str) -> tuple[str, str]:
        for alias, adapter in readings(name):
            with contextlib.suppress(errors.NotDeployed):
                try:
                    await self._locate(alias)
                except ConnectionError:  # it is being restarted, or nobody knows: so it is where it was before
                    if alias not in self._links:
                        continue
                return alias, adapter
        return name, ""

    async def link(self, alias: str) -> Link:
        """Return the link that requests to an alias share.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        link = self._links.get(alias)
        if link is not None and link.connected:
            return link
        return await self._linking.do(alias, functools.partial(self._link, alias))

    async def _link(self, alias: str) -> Link:
        """Look where an alias is; those that ask for it in the meantime share what is found, and its connection."""
        link = self._links.get(alias)
        found = await self._located(alias, link)
        if link is not None and found is not link:  # the deployment was replaced
            link.retire()
        self._links[alias] = found
        return found

    async def open_link(self, alias: str) -> Link:
        """Return a new link to a deployment, which the caller closes.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        return await self._located(alias)

    async def _located(self, alias: str, known: Link | None = None) -> Link:
        """Return a link to the pool of an alias: `known` if it leads there, else a new one."""
        from byzer_magic.runtime.transport.client import Link

        try:
            peer = (await self._locate(alias)).path
        except ConnectionError:  # its pool is being restarted, perhaps: the link waits for it
            peer = known.peer if known is not None else ""
        if known is not None and known.peer == peer:
            return known
        return Link(alias, lambda: self._locate(alias), peer=peer)

    async def _locate(self, alias: str) -> Endpoint:
        """Return where a pool listens: on this machine as it has announced, elsewhere as the controller says.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            ConnectionError: its process is being restarted, or nobody knows.
        """
        from byzer_magic.runtime.cluster import discovery
        from byzer_magic.runtime.transport import messages

        if here := await asyncio.to_thread(discovery.announced, alias, self._address):
            return here
        if self._control is None:
            raise ConnectionError(alias)
        try:
            found: Endpoint = await self._control.call("locate", messages.AliasRequest(alias))
        except errors.WorkerLost as err:
            raise ConnectionError(alias) from err
        return found

    def cached(self, alias: str) -> Link | None:
        """Return the link to an alias where one is open."""
        link = self._links.get(alias)
        return link if link is not None and link.connected else None

    def learnt(self, alias: str) -> set[str]:
        """Return what requests have shown about a deployment, to be added to.

        It belongs to the link and its model, so that another deployment or model begins anew. Where this matters, ask
        for the capabilities before: an update, by any process, shows in them.
        """
        link = self._links.get(self._alias(alias))
        return set() if link is None else self._learnt.setdefault(link, set())

    def keep(self, alias: str, link: Link) -> None:
        """Use this link for requests to an alias from now on."""
        self._links[alias] = link

    async def forget(self, alias: str) -> None:
        """Have the next request look the alias up again; requests in flight continue."""
        if link := self._links.pop(alias, None):
            link.retire()

    async def capabilities(self, alias: str) -> frozenset[Capability]:
        """Return the capabilities of a deployment, which an update may change at any time; wait while it is loading.

        Raises:
            NotDeployed: nothing is deployed as this alias, or its model could not be loaded.
        """
        link = await self.link(alias)
        while True:
            stat: ModelStat = await link.call("stat")
            if stat.error:
                raise errors.NotDeployed(
                    _("{alias} could not be loaded: {error}", alias=alias, error=stat.error),
                    _("See logs --model {alias}; then deploy it again.", alias=alias),
                )
            if stat.capabilities:
                break
            await asyncio.sleep(POLL_SECONDS)
        if self._models.get(link) != (model := (stat.kind, stat.title)):
            self._models[link] = model
            self._learnt.pop(link, None)
        return frozenset(map(Capability, stat.capabilities))

    async def identity(self, alias: str, since: float | None = None) -> ModelIdentity | None:
        """Return which model a deployment is, as it was at most `IDENTITY_SECONDS` ago; see `Manager.identity`.

        Args:
            alias: the deployment.
            since: not as it was before this time of `time.monotonic`.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        link = await self.link(alias)
        known = self._identities.get(link)
        if known is not None and known[1] >= (time.monotonic() - IDENTITY_SECONDS if since is None else since):
            return known[0]
        if since is not None:  # one that is on its way may say what was before
            return await self._identify(link, since)
        return await self._identifying.do(alias, functools.partial(self._identify, link, since))

    async def _identify(self, link: Link, since: float | None) -> ModelIdentity | None:
        now = time.monotonic()
        found = await self._identified(link, since)
        self._identities[link] = found, now
        return found

    async def _identified(self, link: Link, since: float | None) -> ModelIdentity | None:
        try:
            found: ModelIdentity = await link.call("model")
        except (errors.BadRequest, errors.MalformedResponse, errors.CommandError):  # of a pool that has no such method
            return None
        members = []
        for alias in found.members:  # they may be updated, while the route stays the same
            with contextlib.suppress(errors.ByzerError):
                members.append(await self.identity(alias, since))
        if not members:
            return found
        text = "\n".join([found.digest, *(member.digest for member in members if member)])
        return replace_struct(found, digest=hashlib.sha256(text.encode()).hexdigest())


def _copy(name: str) -> Connection:
    """Return this process's connection of that name, which is a new one unless the process was forked."""
    found = _connections.get(name)
    if found is None:
        found = Connection(name)
        _copies.append(found)
    return found
