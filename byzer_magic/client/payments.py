"""The money of one request: held before it is sent and while its answer grows, and settled when it has ended.

A request that limits its answer costs no more than is held for it. Any other answer is watched while it comes: money
is held ahead of it, and where there is no more, it is ended. Near the end of the purse such a request is sent with a
limit: what is left pays for no more.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from byzer_magic import errors
from byzer_magic.client import topping_up
from byzer_magic.client.cost_bounds import CostBound, Lengths, Watch
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.routing.tokens import TokenCount
from byzer_magic.types import ChatRequest, Request, Usage, Waiting

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.journal.borrowed import AnyPurse
    from byzer_magic.journal.purse import Hold

GOES_ON: ContextVar[bool] = ContextVar("byzer_goes_on", default=False)
"""Whether the deployment goes on with the answer when the request of this task is given up."""
ROUNDING = 1e-6
"""Of a token."""
POLL_SECONDS = 0.1
"""How often a request looks whether others, perhaps of other processes, have left enough for it."""


class Payment:
    """The money of one request.

    Args:
        file: the purse.
        alias: the deployment.
        request: what is asked.
        bound: what it may cost.
        lengths: of the deployment's earlier answers; this one is added.
        currency: that of the purse.
    """

    def __init__(
        self, file: AnyPurse, alias: str, request: Request, bound: CostBound, lengths: Lengths, currency: str
    ) -> None:
        self.request = request
        """What is to be sent, once money is held for it: near the end of the purse with a limit."""
        self.count = TokenCount(request)
        self._file, self._alias, self._bound, self._currency = file, alias, bound, currency
        self._lengths = lengths
        self._watch = Watch(bound, lengths, room=0.0)
        self._hold = 0
        self._limit: int | None = None
        """The tokens of each choice that it was sent with, where the purse has no money for more."""
        self._finish: str | None = None
        self._pieces = 0
        self._complete = self._ended = False

    # ---- before it is sent

    async def held(self, manager: Manager) -> AsyncGenerator[Waiting, None]:
        """Wait until there is money for the request; where there is too little, ask for more.

        Yields:
            Once, that it waits for the money that requests in flight hold.

        Raises:
            PurseEmpty: nobody adds any.
        """
        refused = topping_up.DESK.refused
        told = False
        while (found := await self._asked()).outcome not in ("held", "none"):
            if found.outcome == "short":
                await topping_up.more(manager, self._file, self._bound, self._alias, refused)
                continue
            if not told:
                told = True
                yield Waiting(1, _("what the purse has left is held for requests in flight"))
            await asyncio.sleep(POLL_SECONDS)
        self._take(found)

    async def _asked(self) -> Hold:
        """Hold the money; if this task is cancelled meanwhile, it is given back."""
        bound = self._bound
        least = None if bound.fixed else bound.least
        asked = asyncio.get_running_loop().run_in_executor(None, self._file.hold, bound.most, bound.likely, least)
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(self._give_back)
            raise

    def _give_back(self, done: asyncio.Future[Hold]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._file.settle(done.result().id, 0.0)

    def _take(self, found: Hold) -> None:
        """Use what is held; where it is less than such a request gets otherwise, it is the limit of the answer."""
        self._hold = found.id
        self._watch.room = self._bound.paid_by(found.amount)
        if self._bound.fixed or not isinstance(self.request, ChatRequest) or found.amount >= self._bound.most:
            return
        self._limit = math.floor(self._watch.room / self._bound.choices + ROUNDING)
        options = {**self.request.options, "max_tokens": self._limit}
        self.request = msgspec.structs.replace(self.request, options=options)

    # ---- while the answer comes

    def add(self, item: Any) -> bool:
        """Take an item of the response; return whether more must be held than is."""
        before = self.count.size
        self.count.add(item)
        self._pieces += self.count.size > before
        self._finish = getattr(item, "finish", None) or self._finish
        usage = self.count.usage
        self._watch.add(self.count.size, usage.completion_tokens if usage else 0, time.monotonic())
        if self._limit is not None or (self._finish and self._bound.choices == 1):  # nothing more will come
            return False
        return self._watch.is_short

    async def more(self) -> None:
        """Hold more.

        Raises:
            PurseEmpty: there is none: the answer is to be ended.
        """
        if self._complete:
            return
        found = await asyncio.to_thread(self._file.grow, self._hold, self._bound.of(self._watch.wanted))
        self._watch.room = self._bound.paid_by(found.amount)
        if self._watch.is_short:
            message = _("The answer of {alias} was ended: it may cost more than the purse has left.", alias=self._alias)
            raise topping_up.ended(found.purse, self._bound, message)

    # ---- when it has ended

    async def completed(self) -> None:
        """Note that the whole response has arrived.

        Raises:
            PurseEmpty: it ends where the purse has limited it.
        """
        if self._complete:
            return
        self.count.completed()
        self._complete = self._ended = True
        tokens = self.count.usage.completion_tokens if self.count.usage else 0
        self._lengths.add(tokens, self.count.size, whole=self._pieces == 1)
        if self._limit is None or not (self._finish == "length" or tokens >= self._limit * self._bound.choices):
            return  # not every provider says that the limit was the reason
        message = _(
            "The answer of {alias} was cut at {tokens} tokens: the purse had no money for more.",
            alias=self._alias, tokens=f"{self._limit:,}",
        )  # fmt: skip
        raise topping_up.ended(await asyncio.to_thread(self._file.read), self._bound, message)

    def failed(self) -> None:
        """Note that the deployment could not answer, or not to the end."""
        self.count.failed()
        self._ended = True

    async def refused(self, err: errors.BadRequest) -> errors.ByzerError:
        """Return the error for a request that was refused: the user did not set the limit that the purse has set."""
        if self._limit is None or self.count.size or "max_" not in str(err.message):
            return err
        message = _(
            "The purse has money for {tokens} tokens of an answer, and {alias} refuses that limit: {error}",
            alias=self._alias, tokens=f"{self._limit:,}", error=err.message,
        )  # fmt: skip
        return topping_up.ended(await asyncio.to_thread(self._file.read), self._bound, message)

    async def settle(self) -> None:
        """Pay, also where this task is cancelled meanwhile."""
        done = asyncio.get_running_loop().run_in_executor(None, self._file.settle, self._hold, self._cost())
        await asyncio.shield(done)

    def _cost(self) -> float:
        usage, price = self.count.counted, self._bound.price
        if usage is None:
            return 0.0
        if self._complete:
            known = usage.cost if usage.currency == self._currency else None
            return price.at_any_length(usage) if known is None else known
        reported = self.count.usage.prompt_tokens if self.count.usage else 0
        answer = max(usage.completion_tokens, self._watch.counted)
        if self._bound.limited:
            answer = min(answer, max(self._bound.answer, usage.completion_tokens))
        arrived = price.at_any_length(Usage(reported or self._bound.likely_prompt, answer))
        # What goes on without its process: nobody here will know what the rest has cost.
        return max(self._bound.likely, arrived) if GOES_ON.get() and not self._ended else arrived
