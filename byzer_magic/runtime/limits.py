"""The limits of a deployment: requests and tokens a minute, and its budget.

Requests that a minute has no room for wait in the deployment's queue, first come, first served. Those that the budget
has nothing left for are refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal

from byzer_magic import errors
from byzer_magic.catalog.prices import Price
from byzer_magic.commands import durations
from byzer_magic.commands.spec import MAX_QUEUED
from byzer_magic.i18n import Text, lazy_gettext as _
from byzer_magic.plan import Plan
from byzer_magic.rendering.amounts import dollars
from byzer_magic.routing.budget import Budget, Spent
from byzer_magic.routing.rates import SPAN, Taken, TokenWindow, Window
from byzer_magic.routing.tokens import TokenCount, answer_tokens
from byzer_magic.stat import LimitStat
from byzer_magic.types import Dispatched, Item, Request, Usage

Rate = Literal["rpm", "tpm"]


@dataclass(slots=True)
class _Ticket:
    """What is known of one request."""

    count: TokenCount
    answer: float
    """How many tokens its answer may have."""
    prompt_cost: float
    answer_cost: float
    requests: Taken | None = None
    tokens: Taken | None = None
    asked: bool = False
    complete: bool = False

    @property
    def cost(self) -> float:
        """Return what it may cost."""
        return self.prompt_cost + self.answer_cost


@dataclass(slots=True)
class _Block:
    """What keeps the first request of the queue from running."""

    rate: Rate
    until: float


class Limits:
    """What a deployment may use, and what it has used.

    It is the gate of the deployment's slot table. Times are those of `time.monotonic()`.

    Args:
        plan: the deployment; None for no limits.
        spent: what it has spent before.
        wall: returns the Unix time, by which days begin.
    """

    def __init__(
        self, plan: Plan | None = None, spent: Spent | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._wall = wall
        self._requests, self._tokens = Window(0, SPAN), TokenWindow(0, SPAN)
        self._budget = Budget(0.0, spent=spent)
        self._price: Price | None = None
        self._alias = ""
        self._max_queue = MAX_QUEUED
        self._tickets: dict[int, _Ticket] = {}
        self._block: _Block | None = None
        self._kept = self._budget.to_keep(wall())
        if plan is not None:
            self.use(plan)

    def use(self, plan: Plan) -> None:
        """Have the limits of another plan from now on; what was used counts on."""
        spec = plan.spec
        self._alias, self._max_queue = spec.model, spec.max_queue
        self._requests.limit, self._tokens.limit = spec.rpm, spec.tpm
        self._budget.limit, self._budget.per = spec.budget_usd, spec.budget_per
        self._price = plan.price

    # ---- one request, from its arrival to its end

    def expect(self, ticket: int, request: Request) -> None:
        """Note a request that has come.

        Raises:
            BudgetSpent: the budget has nothing left for it.
        """
        if not (self._requests.limit or self._tokens.limit or self._budget.limit):
            return
        count, answer = TokenCount(request), answer_tokens(request)
        prompt_cost = answer_cost = 0.0
        if self._budget.limit and self._price:
            prompt_cost = self._price.at_any_length(Usage(math.ceil(count.prompt)))
            answer_cost = self._price.at_any_length(Usage(0, math.ceil(answer)))
        self._tickets[ticket] = _Ticket(count, answer, prompt_cost, answer_cost)
        if why := self.refusal(ticket):
            del self._tickets[ticket]
            raise why

    def refusal(self, ticket: int) -> errors.BudgetSpent | None:
        """Return why a request will never run; None while it may."""
        item = self._tickets.get(ticket)
        if item is None or item.requests is not None or self._budget.can_afford(item.prompt_cost, self._wall()):
            return None
        return self._spent_error(item.prompt_cost)

    def wait(self, ticket: int, now: float) -> float:
        """Return the seconds until a request may run: 0 if it may now, `inf` if others must end first."""
        self._block = None
        item = self._tickets.get(ticket)
        if item is None:
            return 0.0
        if self._budget.must_wait(item.prompt_cost, item.answer_cost, self._wall()):
            return math.inf
        requests = self._requests.wait(now, 1)
        tokens = self._tokens.wait_for(item.count.prompt, item.answer, now) if self._tokens.limit else 0.0
        if seconds := max(requests, tokens):
            self._block = _Block("rpm" if requests >= tokens else "tpm", now + seconds)
        return seconds

    def take(self, ticket: int, now: float) -> None:
        """Note that a request runs."""
        if (item := self._tickets.get(ticket)) is None:
            return
        item.requests = self._requests.take(1, now)
        if self._tokens.limit:
            item.tokens = self._tokens.reserve(item.count.prompt + item.answer, now)
        self._budget.reserve(item.cost)

    def counted(self, ticket: int, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
        """Return the items of a response, which are counted as they pass."""
        item = self._tickets.get(ticket)
        return items if item is None else _counting(item, items)

    def settle(self, ticket: int, now: float) -> None:
        """Count what a request has used, in place of what was reserved for it; it has ended, or left the queue."""
        item = self._tickets.pop(ticket, None)
        if item is None or item.requests is None:
            return
        if not item.asked:
            self._requests.change(item.requests, 0, now)
        if item.tokens is not None:
            self._tokens.settle(item.tokens, item.count.tokens, now)
        cost = self._cost_of(item) if self._budget.limit else 0.0
        self._budget.settle(item.cost, cost, self._wall())

    def _cost_of(self, item: _Ticket) -> float:
        usage = item.count.counted
        if usage is None or self._price is None:
            return 0.0
        known = usage.cost if item.complete and usage.currency == self._price.currency else None
        return self._price.at_any_length(usage) if known is None else known

    # ---- what is told about it

    def waiting_for(self, now: float) -> Text | str:
        """Return what the queue waits for, where that is a limit; else an empty text."""
        if self._block is None or (seconds := self._block.until - now) <= 0:
            return ""
        return _(
            "limit of {limit} a minute reached (--{name}), next in {seconds} s",
            limit=f"{self._window(self._block.rate).limit:,}", name=self._block.rate, seconds=math.ceil(seconds),
        )  # fmt: skip

    def too_late(self, now: float, others: int, left: float) -> errors.LimitReached | None:
        """Return the error for a request whose turn cannot come in time; None where it may.

        Args:
            now: the time.
            others: requests that are before it in the queue.
            left: seconds until its deadline.
        """
        limit = self._requests.limit
        if not limit or left >= (others // limit + 1) * SPAN:  # as with most deadlines
            return None
        seconds = self._requests.wait_behind(now, others)
        return self._limited("rpm", seconds, now) if seconds > left else None

    def late(self, now: float) -> errors.LimitReached | None:
        """Return the error for a request whose deadline has passed in the queue, where a limit is the reason."""
        block = self._block
        return self._limited(block.rate, block.until - now, now) if block and block.until > now else None

    def full(self, err: errors.Overloaded, now: float) -> errors.RequestError:
        """Return the error for a request that the queue has no room for."""
        return self.late(now) or err

    def _window(self, rate: Rate) -> Window:
        return self._requests if rate == "rpm" else self._tokens

    def _limited(self, rate: Rate, seconds: float, now: float) -> errors.LimitReached:
        window, seconds = self._window(rate), max(1.0, seconds)
        figures = {"alias": self._alias, "limit": window.limit}
        return errors.LimitReached(
            _("{alias} has reached its limit of requests a minute (--rpm {limit}).", **figures)
            if rate == "rpm"
            else _("{alias} has reached its limit of tokens a minute (--tpm {limit}).", **figures),
            _(
                "Try again in {seconds:.0f} s, with a longer --timeout, or raise the limit: update --model {alias}"
                " --{name} N",
                seconds=math.ceil(seconds), alias=self._alias, name=rate,
            ),
            limit=rate, value=window.limit, used=round(window.used(now)), retry_after=seconds,
        )  # fmt: skip

    def _spent_error(self, cost: float) -> errors.BudgetSpent:
        wall, budget = self._wall(), self._budget
        spent, free_in = budget.spent(wall), budget.free_in(wall)
        figures = {"alias": self._alias, "spent": dollars(spent), "limit": dollars(budget.limit)}
        if free_in is None:
            message = _("{alias} has spent {spent} of its budget of {limit}.", **figures)
            hint = _("Raise it: update --model {alias} --budget_usd X", alias=self._alias)
        else:
            message = _("{alias} has spent {spent} of its budget of {limit} for today (UTC).", **figures)
            hint = _(
                "Try again in {time}, or raise it: update --model {alias} --budget_usd X",
                time=durations.written(max(60, 60 * math.ceil(free_in / 60))), alias=self._alias,
            )  # fmt: skip
        if spent < budget.limit:
            hint = _("The prompt alone costs about {cost}. {hint}", cost=dollars(cost), hint=hint)
        more = {} if free_in is None else {"retry_after": math.ceil(free_in)}
        return errors.BudgetSpent(message, hint, limit="budget_usd", value=budget.limit, used=spent, final=True, **more)

    def stats(self, now: float, queued: int) -> list[LimitStat]:
        """Return the limits that are set, with what is used of them.

        Args:
            now: the time.
            queued: the requests in the queue.
        """
        found = []
        for name, window in (("rpm", self._requests), ("tpm", self._tokens)):
            if window.limit:
                wait = window.wait(now, 1)
                found.append(LimitStat(name, round(window.used(now)), window.limit, "minute", math.ceil(wait)))
        if self._budget.limit:
            wall = self._wall()
            spent = self._budget.spent(wall)
            is_spent = spent >= self._budget.limit
            free_in = self._budget.free_in(wall) if is_spent else 0.0
            found.append(
                LimitStat(
                    "budget_usd", spent, self._budget.limit, self._budget.per,
                    None if free_in is None else math.ceil(free_in),
                )
            )  # fmt: skip
        if self._max_queue != MAX_QUEUED:
            found.append(LimitStat("max_queue", queued, self._max_queue, "", 0))
        return found

    def unsaved(self) -> Spent | None:
        """Return what has been spent where that differs from what was last `saved`; else None."""
        now = self._budget.to_keep(self._wall())
        return now if self._budget.limit and now != self._kept else None

    def saved(self, spent: Spent) -> None:
        """Note that this is stored."""
        self._kept = spent


async def _counting(item: _Ticket, items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    item.asked = True
    item.count.add(Dispatched(0, 0.0))
    try:
        async with aclosing(items) as found:  # type: ignore[type-var]  # async generators all
            async for each in found:
                item.count.add(each)
                yield each
    except errors.ByzerError:
        item.count.failed()
        raise
    item.complete = True
    item.count.completed()
