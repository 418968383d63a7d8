"""What pools keep, without their processes and sockets; what is sent is encoded and decoded as on a socket."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from byzer_magic import errors, request_ids
from byzer_magic.capabilities import Capability
from byzer_magic.client.connection import Connection
from byzer_magic.client.manager import Manager
from byzer_magic.runtime.kept.verbs import Kept
from byzer_magic.runtime.transport import messages, protocol
from byzer_magic.runtime.transport.client import Link
from byzer_magic.runtime.transport.server import Handler
from byzer_magic.types import Request


async def nothing(_request: Request) -> AsyncIterator[Any]:
    """Answer nothing."""
    return
    yield


async def model(_nothing: None) -> AsyncIterator[messages.ModelIdentity]:
    """Say which model it is."""
    yield messages.ModelIdentity("digest", "saas/openai", "gpt-4o")


async def price(_nothing: None) -> AsyncIterator[messages.ModelPrice]:
    """Say that its price is unknown."""
    yield messages.ModelPrice("saas/openai", "gpt-4o")


class Pool:
    """One pool; has what clients use of a link to it.

    Args:
        answer: the handler of requests.
    """

    connected = True

    def __init__(self, answer: Handler = nothing) -> None:
        self.kept = Kept(lambda: ())
        self.methods: dict[str, Handler] = {"model": model, "price": price} | self.kept.methods(
            lambda _capability, request: answer(request)
        )

    async def stream(self, method: str, body: Any = None, request_id: str | None = None) -> AsyncIterator[Any]:
        """Yield what a method yields."""
        call = protocol.Call(1, method, protocol.pack(body))
        token = request_ids.CURRENT.set(request_ids.CURRENT.get() if request_id is None else request_id)
        try:
            items = self.methods[method](protocol.body_of(call))
        finally:
            request_ids.CURRENT.reset(token)
        try:
            async with aclosing(items) as arriving:  # type: ignore[type-var]  # a generator
                async for item in arriving:
                    yield protocol.item_of(method, protocol.Item(1, protocol.pack(item)))
        except errors.ByzerError as err:
            raise errors.from_wire(errors.to_wire(err)) from None

    async def call(self, method: str, body: Any = None) -> Any:
        """Return the last item that a method yields."""
        found = [item async for item in self.stream(method, body)]
        return found[-1] if found else None


class Pools(Connection):
    """A connection to pools by their aliases; an alias has one from its first use on.

    Args:
        answer: the handler of their requests.
    """

    def __init__(self, answer: Handler = nothing) -> None:
        super().__init__()
        self.pools: dict[str, Pool] = {}
        self._make = functools.partial(Pool, answer)

    async def link(self, alias: str) -> Link:
        if alias not in self.pools:
            self.pools[alias] = self._make()
        return cast("Link", self.pools[alias])

    async def names(self) -> list[str]:
        return sorted(self.pools)


class Near(Manager):
    """A face's manager on such a connection.

    Args:
        pools: shared with other faces.
    """

    def __init__(self, pools: Pools | None = None) -> None:
        super().__init__(connection=pools or Pools())

    @property
    def connected(self) -> bool:
        return True

    def reach(self, alias: str, address: str = "auto") -> None:
        """Nothing has to be reached."""

    def runs(self, _alias: str) -> bool:
        return True

    async def capabilities(self, _alias: str) -> frozenset[Capability]:
        return frozenset({Capability.CHAT})
