"""Requests that the project's purse pays for: held before they are sent, settled when they have ended.

What the journal or a tape answers never comes here. What one deployment may spend for all of its clients is another
thing: its `--budget_usd` (`routing.budget`), which its pool keeps.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from byzer_magic import errors
from byzer_magic.client import journaling, topping_up
from byzer_magic.client.cost_bounds import CostBound, Lengths, cost_bound
from byzer_magic.client.pricing import Priced
from byzer_magic.client.replaying import REPLAY
from byzer_magic.i18n import gettext, lazy_gettext as _, localized
from byzer_magic.routing.tokens import TokenCount
from byzer_magic.runtime import forks
from byzer_magic.types import Request

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.journal.purse import Hold, Purse, PurseFile

Send = Callable[[], AsyncIterator[Any]]

LOOK_SECONDS = 1.0
"""How long this process believes that its project has no purse."""
GOES_ON: ContextVar[bool] = ContextVar("byzer_goes_on", default=False)
"""Whether the deployment goes on with the answer when the request of this task is given up."""
POLL_SECONDS = 0.1
"""How often a request looks whether others, perhaps of other processes, have left enough for it."""


class Wallet:
    """Where this process finds the purse of its project; once found, it stays, whatever the working directory is."""

    def __init__(self) -> None:
        self.project: Path | None = None
        """The folder of the project; by default that in which the process works."""
        self._file: PurseFile | None = None
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

    def open(self) -> tuple[PurseFile, Purse] | None:
        """Return the purse that requests of this process are paid from, and its file; None without one.

        Raises:
            JournalError: it cannot be used.
        """
        if time.monotonic() < self._none_until:
            return None
        found = self.file()
        if found is None or (purse := found.read()) is None:
            self._file, self._none_until = None, time.monotonic() + LOOK_SECONDS
            return None
        return found, purse

    def changed(self) -> None:
        """Look again: the purse was changed."""
        self._none_until = 0.0

    async def lengths(self, file: PurseFile, alias: str) -> Lengths:
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


def paying(manager: Manager, alias: str, request: Request, send: Send) -> Send:
    """Return what sends a request and pays for it, where the project has a purse; else `send` itself.

    A tape costs nothing. Clients of an endpoint are not paid for: their keys have limits.
    """
    origin = journaling.HOW.get().origin
    if (origin is not None and origin.face == "endpoint") or REPLAY.connection(manager.settings) is not None:
        return send
    try:
        found = WALLET.open()
    except errors.JournalError as err:
        if WALLET.once("", err.code):
            manager.warn(gettext("The purse is not kept: {error}", error=err.localized()))
        return send
    return send if found is None else lambda: paid(manager, *found, alias, request, send)


async def paid(
    manager: Manager, file: PurseFile, purse: Purse, alias: str, request: Request, send: Send
) -> AsyncIterator[Any]:
    """Yield a response that the purse pays for.

    Raises:
        PurseEmpty: there is too little in it, and nobody adds money.
        ByzerError: the response is incomplete.
    """
    price = await manager.price(alias)
    if not _counts(manager, purse, price, alias) or price.price is None:
        async with aclosing(send()) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                yield item
        return
    lengths = await WALLET.lengths(file, alias)
    payment = Payment(file, request, cost_bound(request, price.price, lengths.tokens), purse.currency)
    await payment.hold(manager, alias)
    try:
        async with aclosing(send()) as items:  # type: ignore[type-var]  # a generator
            async for item in items:
                payment.add(item)
                yield item
        payment.completed()
        lengths.add(payment.answer)
    except errors.ByzerError:
        payment.failed()
        raise
    finally:
        await payment.settle()


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


class Payment:
    """The money of one request."""

    def __init__(self, file: PurseFile, request: Request, expected: CostBound, currency: str) -> None:
        self.count = TokenCount(request)
        self.answer = 0
        """Tokens of the answer, once it is complete."""
        self._file, self._bound, self._currency = file, expected, currency
        self._hold = 0
        self._complete = self._ended = False
        self._seen = 0

    async def hold(self, manager: Manager, alias: str) -> None:
        """Wait until there is money for the request; where there is too little, ask for more.

        Raises:
            PurseEmpty: nobody adds any.
        """
        refused = topping_up.DESK.refused
        while True:
            found = await self._held()
            if found.outcome in ("held", "none"):
                self._hold = found.id
                return
            if found.outcome == "short":
                await topping_up.more(manager, self._file, self._bound, alias, refused)
            else:
                await asyncio.sleep(POLL_SECONDS)

    async def _held(self) -> Hold:
        """Hold the money; if this task is cancelled meanwhile, it is given back."""
        asked = asyncio.get_running_loop().run_in_executor(None, self._file.hold, self._bound.most, self._bound.likely)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._give_back)
            raise

    def _give_back(self, done: asyncio.Future[Hold]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._file.settle(done.result().id, 0.0)

    def add(self, item: Any) -> None:
        """Take an item of the response; hold more where the answer is longer than it was expected to be."""
        self.count.add(item)
        self._seen += 1
        if self._bound.limited or self._seen % 16:
            return
        counted = self.count.counted
        if counted is not None and counted.completion_tokens > self._bound.answer:
            self._bound = self._bound.grown(counted.completion_tokens)
            asyncio.get_running_loop().run_in_executor(None, self._file.grow, self._hold, self._bound.most)

    def completed(self) -> None:
        """Note that the whole response has arrived."""
        self.count.completed()
        self._complete = self._ended = True
        self.answer = self.count.counted.completion_tokens if self.count.counted else 0

    def failed(self) -> None:
        """Note that the deployment could not answer, or not to the end."""
        self.count.failed()
        self._ended = True

    async def settle(self) -> None:
        """Pay, also where this task is cancelled meanwhile."""
        done = asyncio.get_running_loop().run_in_executor(None, self._file.settle, self._hold, self._cost())
        await asyncio.shield(done)

    def _cost(self) -> float:
        usage, price = self.count.counted, self._bound.price
        if usage is None:
            return 0.0
        if GOES_ON.get() and not self._ended:  # nobody here will know what the rest has cost
            return max(self._bound.likely, price.at_any_length(usage))
        known = usage.cost if self._complete and usage.currency == self._currency else None
        return price.at_any_length(usage) if known is None else known
