"""Requests that the project's purse pays for, in a project that has one.

What the journal or a tape answers never comes here. What one deployment may spend for all of its clients is another
thing: its `--budget_usd` (`routing.budget`), which its pool keeps.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byzer_magic import errors, request_ids
from byzer_magic.client import journaling
from byzer_magic.client.collect import Complete
from byzer_magic.client.cost_bounds import Lengths, cost_bound
from byzer_magic.client.payments import GOES_ON, Payment
from byzer_magic.client.pricing import Priced
from byzer_magic.client.replaying import REPLAY
from byzer_magic.i18n import gettext, lazy_gettext as _, localized
from byzer_magic.runtime import forks
from byzer_magic.types import Request

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.journal.borrowed import AnyPurse, BorrowedPurse
    from byzer_magic.journal.purse import Purse, PurseFile

Send = Callable[[Request], AsyncIterator[Any]]
"""Sends a request, and yields what arrives."""

LOOK_SECONDS = 1.0
"""How long this process believes that its project has no purse."""


class Wallet:
    """Where this process finds the purse of its project; once found, it stays, whatever the working directory is."""

    def __init__(self) -> None:
        self.project: Path | None = None
        """The folder of the project; by default that in which the process works."""
        self._file: PurseFile | None = None
        self._elsewhere: BorrowedPurse | None = None
        self._none_until = 0.0
        self._warned: set[tuple[str, str]] = set()
        self._lengths: dict[str, Lengths] = {}

    def file(self, *, make: bool = False) -> PurseFile | None:
        """Return the file of the purse; None where the project has none, unless it is to be made.

        Raises:
            JournalError: it cannot be used.
        """
        from byzer_magic.journal import purse, store

        if self._file is None or not self._file.usable:
            forks.keep(self._file)  # of the parent: SQLite must not close it here
            try:
                folder = store.project_folder(self.project)
            except errors.JournalError:  # no folder, no purse
                if make:
                    raise
                return None
            path = store.project_store(start=folder).path if make else folder / store.FOLDER / store.NAME
            self._file = purse.PurseFile(path) if store.is_journal(path) else None
        return self._file

    def use(self, purse: BorrowedPurse) -> None:
        """Have the requests of this process paid from a purse that is on another machine."""
        self._elsewhere = purse

    def open(self) -> tuple[AnyPurse, Purse] | None:
        """Return the purse that requests of this process are paid from, and its file; None without one.

        Raises:
            JournalError: it cannot be used.
        """
        if time.monotonic() < self._none_until:
            return None
        found = self._elsewhere or self.file()
        if found is None or (purse := found.read()) is None:
            self._file, self._none_until = None, time.monotonic() + LOOK_SECONDS
            return None
        return found, purse

    def changed(self) -> None:
        """Look again: the purse was changed."""
        self._none_until = 0.0

    async def lengths(self, file: AnyPurse, alias: str) -> Lengths:
        """Return how long the answers of a deployment were."""
        if alias not in self._lengths:
            self._lengths[alias] = Lengths(await asyncio.to_thread(file.answers, alias))
        return self._lengths[alias]

    def once(self, alias: str, why: str) -> bool:
        """Return whether this is the first time that something is to be said about a deployment."""
        is_new = (alias, why) not in self._warned
        self._warned.add((alias, why))
        return is_new


WALLET = Wallet()
"""Of this process."""


def paying(manager: Manager, alias: str, request: Request, send: Send) -> Callable[[], AsyncIterator[Any]]:
    """Return what sends a request, and pays for it where the project has a purse.

    A tape costs nothing. Clients of an endpoint are not paid for: their keys have limits.
    """
    origin = journaling.HOW.get().origin
    if (origin is not None and origin.face == "endpoint") or REPLAY.connection(manager.settings) is not None:
        return functools.partial(send, request)
    try:
        found = WALLET.open()
    except errors.JournalOutOfReach:
        raise
    except errors.JournalError as err:
        if WALLET.once("", err.code):
            manager.warn(gettext("The purse is not kept: {error}", error=err.localized()))
        found = None
    return functools.partial(send, request) if found is None else lambda: paid(manager, *found, alias, request, send)


async def paid(
    manager: Manager, file: AnyPurse, purse: Purse, alias: str, request: Request, send: Send
) -> AsyncIterator[Any]:
    """Yield a response that the purse pays for.

    Raises:
        PurseEmpty: there is too little in it, and nobody adds money; or the answer grew until there was.
        ByzerError: the response is incomplete.
    """
    price = await manager.price(alias)
    if not _counts(manager, purse, price, alias) or price.price is None:
        async with aclosing(send(request)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                yield item
        return
    lengths = await WALLET.lengths(file, alias)
    bound = cost_bound(request, price.price, lengths, price.limit)
    payment = Payment(file, alias, request, bound, lengths, purse.currency)
    async with aclosing(payment.held(manager)) as waits:
        async for wait in waits:
            yield wait
    try:
        async with aclosing(send(payment.request)) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                is_short = payment.add(item)
                if type(item) is Complete:
                    await payment.completed()
                yield item
                if is_short:
                    await payment.more()
        await payment.completed()
    except errors.BadRequest as err:
        payment.failed()
        raise await payment.refused(err) from None
    except errors.ByzerError as err:
        payment.failed()
        if isinstance(err, errors.PurseEmpty) and GOES_ON.get():
            await _cancel(manager, alias)
        raise
    finally:
        await payment.settle()


async def _cancel(manager: Manager, alias: str) -> None:
    """End an answer that would go on without its request."""
    from byzer_magic.runtime.transport.messages import AnswersRequest

    with suppress(errors.ByzerError):
        link = await manager.connection.link(alias)
        await link.call("cancel_answer", AnswersRequest(request_ids.CURRENT.get()))


def _counts(manager: Manager, purse: Purse, price: Priced, alias: str) -> bool:
    """Return whether a deployment's requests can be paid for; say once why not.

    Raises:
        PurseEmpty: they cannot, and the purse is strict.
    """
    if price.price is not None and price.price.currency == purse.currency:
        return True
    if price.is_free:
        return False
    figures = {"alias": alias, "currency": purse.currency}
    message = (
        _("The price of {alias} is unknown, so the purse cannot pay for it.", **figures)
        if price.price is None
        else _("The price of {alias} is not in {currency}, so the purse cannot pay for it.", **figures)
    )
    if purse.strict:
        hint = _("Ask a model whose price is known, or set the purse without --strict.")
        raise errors.PurseEmpty(message, hint, limit="purse", value=purse.amount, used=purse.spent, final=True)
    if WALLET.once(alias, "price"):
        manager.warn(gettext("{message} Its requests are not counted.", message=str(localized(message))))
    return False
