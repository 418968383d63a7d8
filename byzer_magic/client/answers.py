"""Answers that deployments keep: a request that goes on without its process, and continuing it from another one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic import request_ids
from byzer_magic.capabilities import TABLE, Capability
from byzer_magic.client import journaling, payments
from byzer_magic.client.collect import AnyCollector
from byzer_magic.client.converse import Exchange
from byzer_magic.client.manager import Manager
from byzer_magic.errors import ByzerError, CommandError, JournalError, RequestError
from byzer_magic.i18n import Text, lazy_gettext as _, listed
from byzer_magic.request_ids import PREFIX, short
from byzer_magic.results import Result
from byzer_magic.types import Request

if TYPE_CHECKING:
    from byzer_magic.runtime.transport.messages import KeptAnswer, Piece

SECONDS = 5.0
"""How long a deployment may take to list its answers."""
MOST_NAMES = 10
"""Answers that an error names."""
BEGIN_SECONDS = 0.02
"""How often it is asked whether a request has come."""


def folder() -> str:
    """Return what sets the answers of this project apart: the working directory."""
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return ""


def look(manager: Manager, address: str = "auto") -> None:
    """Connect to the Ray that runs, here or at an address, so that all its deployments are found; start none.

    Args:
        manager: connects.
        address: the Ray cluster, ``auto`` or ``host:port``.

    Raises:
        CannotConnect: no Ray responds at the address.
    """
    from byzer_magic.runtime.cluster import address as addresses, this_machine

    target = addresses.resolve(address, manager.settings)
    if address != "auto" or not (manager.connected or (target.is_here and this_machine.current_cluster() is None)):
        manager.ensure(address)


class Background:
    """A request that goes on in its deployment when this process ends.

    Args:
        manager: connects to the deployment.
        exchange: the request, not sent yet.
        session: the conversation that the turn is added to at its end.
        turn: where in the messages of the request the turn begins.
    """

    def __init__(self, manager: Manager, exchange: Exchange, session: str = "", turn: int = 0) -> None:
        self.id = request_ids.new()
        self.exchange = exchange
        self._manager = manager
        self._session = session
        self._turn = turn

    async def run(self, show: Callable[[Any], object] = lambda _item: None) -> Result:
        """Send the request and return the complete result; cancelling this leaves the answer going.

        Raises:
            RequestError: the response is incomplete, or is larger than what is kept.
        """
        from byzer_magic.runtime.transport.messages import KeepRequest

        request_ids.CURRENT.set(self.id)  # of this task alone
        payments.GOES_ON.set(True)
        about = KeepRequest(self.id, folder(), self._session, self._turn)
        link = await self._manager.connection.link(await _alias(self._manager, self.exchange.alias))
        await link.call("keep", about)
        return await self.exchange.run(show)

    async def begin(self) -> Result | None:
        """Send the request, and return once its deployment has it; return the result where the journal knew it.

        Raises:
            ByzerError: it was refused.
        """
        task = asyncio.create_task(self.run())
        try:
            while not await self._has_begun():
                await asyncio.wait([task], timeout=BEGIN_SECONDS)
                if task.done():
                    break
        except BaseException:  # it is raised again
            task.cancel()
            raise
        if task.done() and (result := task.result()).journal is not None:
            return result
        task.cancel()
        return None

    async def _has_begun(self) -> bool:
        found = await _listed(self._manager, await _alias(self._manager, self.exchange.alias))
        return any(answer.id == self.id for answer in found)


@dataclass(frozen=True)
class Found:
    """An answer that a deployment keeps."""

    alias: str
    answer: KeptAnswer


async def everywhere(manager: Manager, alias: str = "") -> list[Found]:
    """Return the answers of all deployments that respond, newest first; of one alone if there is an `alias`.

    Raises:
        CannotConnect: no Ray runs here.
    """
    aliases = [await _alias(manager, alias)] if alias else await manager.names()
    asked = [asyncio.wait_for(_listed(manager, name), SECONDS) for name in aliases]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found = [
        Found(name, answer)
        for name, some in zip(aliases, answers, strict=True)
        if isinstance(some, list)
        for answer in some
    ]
    return sorted(found, key=lambda item: item.answer.age)


async def find(manager: Manager, name: str = "") -> Found:
    """Return the answer that a name stands for: an id or its beginning, or an alias, of which it is the newest.

    Without a name it is the newest one that was asked for in this folder, or the only one.

    Raises:
        CommandError: there is none, or more than one.
        RequestError: it is no longer kept; the message has the reason.
        CannotConnect: no Ray runs here.
    """
    found = chosen(await everywhere(manager), name, folder())
    if found.answer.state == "dropped":
        message = _("The answer {id} is no longer kept: {why}.", id=short(found.answer.id), why=found.answer.error)
        raise RequestError(message, _("Ask again."))
    return found


def chosen(known: list[Found], name: str, here: str) -> Found:
    """Return the answer that is meant.

    Args:
        known: all answers, newest first.
        name: an id or its beginning, or an alias; empty for the newest of this folder.
        here: the folder.

    Raises:
        CommandError: there is none, or more than one.
    """
    identity = name.removeprefix(PREFIX)
    kept = [item for item in known if item.answer.state != "dropped"]
    if name:
        if of_alias := [item for item in kept if item.alias == name]:
            return of_alias[0]
        matching = [item for item in known if identity and item.answer.id.removeprefix(PREFIX).startswith(identity)]
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise CommandError(
                _("Several answers begin with {id}.", id=name), _("Name one of: {names}.", names=_names(matching))
            )
    elif mine := [item for item in kept if item.answer.folder == here]:
        return mine[0]
    elif len(kept) == 1:
        return kept[0]
    if not kept:
        raise CommandError(_("No deployment keeps an answer."), _("Ask for one with %%chat ALIAS --background."))
    names = _names(kept)
    if name:
        raise CommandError(_("There is no answer {id}.", id=name), _("Answers: {names}.", names=names))
    raise CommandError(_("None of the answers was asked for in this folder."), _("Name one of: {names}.", names=names))


def _names(found: list[Found]) -> Text:
    return listed(f"{short(item.answer.id)} ({item.alias})" for item in found[:MOST_NAMES])


async def attached(manager: Manager, found: Found) -> Exchange:
    """Return the exchange of an answer that goes on, or has ended, in its deployment; closing it leaves it going.

    Raises:
        RequestError: it is no longer kept.
    """
    from byzer_magic.runtime.transport.messages import AnswersRequest

    link = await manager.connection.link(found.alias)
    answer: KeptAnswer = await link.call("answers", AnswersRequest(found.answer.id))
    kind = TABLE[Capability(answer.capability)].request
    request: Request = msgspec.msgpack.decode(answer.request, type=kind)
    pieces = _Pieces(manager, answer, request)
    exchange = Exchange(pieces, found.alias, request)
    pieces.collector = exchange.collector
    return exchange


async def cancel(manager: Manager, found: Found) -> bool:
    """End an answer; return whether it was running.

    Raises:
        RequestError: it is no longer kept.
    """
    from byzer_magic.runtime.transport.messages import AnswersRequest

    link = await manager.connection.link(found.alias)
    ended: bool = await link.call("cancel_answer", AnswersRequest(found.answer.id))
    return ended


class _Pieces:
    """What was kept of an answer, and then what comes, with the times at which it came."""

    collector: AnyCollector

    def __init__(self, manager: Manager, answer: KeptAnswer, request: Request) -> None:
        self._manager = manager
        self._answer = answer
        self._request = request
        self._at = time.time() - answer.age  # a date

    async def ask(self, alias: str, _request: Request, /) -> AsyncIterator[Any]:
        """Yield the items; the collector's clock shows when each of them came."""
        from byzer_magic.runtime.transport.messages import AttachRequest

        collector, played = self.collector, list[tuple[float, Any]]()
        collector.start(ago=self._answer.age)
        link = await self._manager.connection.link(alias)
        try:
            async with aclosing(link.stream("attach", AttachRequest(self._answer.id))) as pieces:  # type: ignore[type-var]  # a generator
                piece: Piece
                async for piece in pieces:
                    collector.moment = piece.seconds
                    played.append((piece.seconds, piece.item))
                    if piece.item is not None:
                        yield piece.item
                        collector.moment = None
        except ByzerError as err:
            err.details["id"] = self._answer.id
            raise
        await self._write(alias, played)

    async def _write(self, alias: str, items: list[tuple[float, Any]]) -> None:
        """Put a complete answer into the journal where the process that asked for it has not lived to do that."""
        from byzer_magic.journal import keys

        store = journaling.store_for(self._manager)
        if store is None or any(item.digest and not item.data for item in keys.media_of(self._request)):
            return
        with contextlib.suppress(JournalError):
            if store.find(self._answer.id, by="request_id") is None:
                await journaling.kept(self._manager, store, alias, self._request, self._answer.id, self._at, items)


async def _listed(manager: Manager, alias: str) -> list[KeptAnswer]:
    from byzer_magic.runtime.transport.messages import AnswersRequest

    link = await manager.connection.link(alias)
    async with aclosing(link.stream("answers", AnswersRequest())) as answers:  # type: ignore[type-var]  # a generator
        return [answer async for answer in answers]


async def _alias(manager: Manager, name: str) -> str:
    return (await manager.named(name))[0]
