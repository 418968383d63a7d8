"""A process's way to one Ray cluster: found, started or left alone, and the links that lead to its deployments."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

from byzer_magic import config
from byzer_magic.runtime.loop import LOOP

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.client import Link

T = TypeVar("T")
Say = Callable[[str], None]
Watch = Callable[[Any], AbstractContextManager[None]]


class Connection:
    """What a manager stands on."""

    def __init__(self, settings: config.Settings | None = None, say: Say = lambda _: None) -> None:
        self.settings = settings or config.load()
        self.say = say
        self.watch: Watch = contextlib.nullcontext
        """Shows how far work is while its block runs, where a face can."""
        self._links: dict[str, Link] = {}
        self._address = ""
        self._connecting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of this manager to its end."""
        return LOOP.run(work)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Iterate over an async iterator of this manager; leaving the loop stops the work behind it."""
        return LOOP.iterate(items)

    def connect(self, address: str | None = None, say: Say | None = None) -> str:
        """Connect to Ray (see `byzer_magic.runtime.cluster.connect.connect`); return the cluster's address.

        `say` is told how it goes, instead of whoever this manager tells.
        """
        from byzer_magic.runtime.cluster import connect

        with self._connecting:  # threads may ask at the same moment
            where = connect.connect(address or self.settings.ray_address, self.settings, say or self.say)
            if where != self._address:  # links lead to the other cluster
                self._links.clear()
                self._address = where
                self._prestart()
        return where

    def _prestart(self) -> None:
        if self.settings.spare:
            from byzer_magic.runtime.cluster import prestart

            threading.Thread(target=prestart.prestart, name="byzer-spare", daemon=True).start()

    def ensure(self, address: str = "auto", say: Say | None = None) -> None:
        """Connect when this process is not connected yet, or when a given address must be checked."""
        if not self._address or address != "auto":
            self.connect(None if address == "auto" else address, say)

    def reach(self, alias: str, address: str = "auto") -> None:
        """Make sure that requests can reach `alias`: directly when it is on this machine, else by connecting to Ray.

        Raises:
            CannotConnect: there is no Ray to ask, and none can be started.
        """
        from byzer_magic.runtime.cluster import discovery

        usual = address == "auto" and self.settings.ray_address == "auto"
        if self._address or not usual:
            self.ensure(address)
        elif (link := self._links.get(alias)) is not None and link.connected:
            return
        elif discovery.announced(alias) is not None:
            self._links.setdefault(alias, discovery.link_to(alias))
        else:
            self._links.clear()  # direct ones; from now on Ray is asked
            self.ensure()

    def shutdown(self) -> bool:
        """Stop the local Ray; return whether there was one of ours."""
        from byzer_magic.runtime.cluster import connect

        self._links.clear()
        self._address = ""
        return connect.shutdown(self.say)

    @property
    def connected(self) -> bool:
        """Return whether this manager has a cluster already."""
        return bool(self._address)

    def is_alive(self) -> bool:
        """Return whether this manager is connected to a Ray that still accepts connections."""
        from byzer_magic.runtime.cluster import discovery

        host, _, port = self._address.rpartition(":")
        return port.isdigit() and discovery.listens(host, int(port))

    def room(self) -> dict[str, tuple[float, float]] | None:
        """Return how many CPUs and GPUs of a Ray that runs are free, and of how many; None where none runs."""
        from byzer_magic.runtime.cluster import discovery

        if not self._address and discovery.running_cluster() is None:
            return None
        from byzer_magic.runtime.cluster import connect

        self.ensure()
        return connect.room()
