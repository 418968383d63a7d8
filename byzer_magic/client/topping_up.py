"""Ask for more money when the purse has too little: one question at a time, in the cell or shell that waits."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from byzer_magic.client.cost_bounds import CostBound
from byzer_magic.client.reporter import Question, Reporter
from byzer_magic.errors import CommandError, PurseEmpty
from byzer_magic.i18n import Text, gettext, lazy_gettext as _
from byzer_magic.i18n.fields import Localizable
from byzer_magic.rendering.amounts import dollars
from byzer_magic.runtime.loop import NobodyWaits, in_waiting_thread

if TYPE_CHECKING:
    from byzer_magic.client.manager import Manager
    from byzer_magic.journal.borrowed import AnyPurse
    from byzer_magic.journal.purse import Purse

TRIES = 3
"""Answers that cannot be read, before that means no."""
STEPS = (1.0, 2.0, 5.0)
"""Of a decade: amounts that are offered."""


class Desk:
    """Where requests of this process ask."""

    def __init__(self) -> None:
        self.refused = 0
        """How often the answer was no: that goes for all that were waiting to ask."""
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def lock(self) -> asyncio.Lock:
        """Return what one request at a time holds."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


DESK = Desk()
"""Of this process."""


async def more(manager: Manager, file: AnyPurse, expected: CostBound, alias: str, refused: int) -> None:
    """Have more money put into the purse; return when there may be enough.

    Args:
        manager: knows who can be asked.
        file: the purse.
        expected: what the request may cost.
        alias: the deployment.
        refused: how often the answer had been no (`DESK.refused`) when the request was made.

    Raises:
        PurseEmpty: the answer is no, or nobody can be asked.
    """
    async with DESK.lock():
        purse = await asyncio.to_thread(file.read)
        if purse is None or expected.least <= purse.left:
            return
        if DESK.refused != refused:
            raise empty(purse, expected, alias)
        try:
            added = await in_waiting_thread(lambda: _ask(manager.reporter, purse, expected, alias))
        except NobodyWaits:
            added = None
        if added is None:
            DESK.refused += 1
            raise empty(purse, expected, alias)
        await asyncio.to_thread(file.add, added)


def empty(purse: Purse, expected: CostBound, alias: str) -> PurseEmpty:
    """Return the error for a request that the purse has too little for."""
    figures = {"alias": alias, "cost": dollars(expected.least), "left": dollars(purse.left)}
    message = _("The purse has {left} left, and this request to {alias} may cost up to {cost}.", **figures)
    hint = _next_step(purse, expected)
    if expected.usual > SHORT_ANSWER:
        hint = _("{hint} A smaller max_tokens makes it cheaper, too.", hint=hint)
    return _error(purse, message, hint)


def ended(purse: Purse | None, expected: CostBound, message: Localizable) -> PurseEmpty:
    """Return the error for an answer that had to end because the purse has no money for more.

    Args:
        purse: the purse; None where it has been removed meanwhile.
        expected: what the request was to cost.
        message: what has happened.
    """
    if purse is None:
        return PurseEmpty(message, _("Ask again."), limit="purse", final=True)
    return _error(purse, message, _("{hint} Then ask again.", hint=_next_step(purse, expected)))


def _next_step(purse: Purse, expected: CostBound) -> Text:
    least, _next = offers(purse, expected.least)
    return _("Put more into it: %byzer purse +{amount} (in a shell: byzerllm purse +{amount}).", amount=f"{least:g}")


def _error(purse: Purse, message: Localizable, hint: Text) -> PurseEmpty:
    return PurseEmpty(message, hint, limit="purse", value=purse.amount, used=purse.spent, final=True)


def offers(purse: Purse, cost: float) -> tuple[float, float]:
    """Return two amounts to add: the smaller one is enough for a request, and half of what was put in at first.

    Example:
        >>> from byzer_magic.journal.purse import Purse
        >>> offers(Purse(amount=0.5, spent=0.49), 0.03)
        (0.5, 1.0)
    """
    least = max(cost + purse.spent - purse.amount, purse.amount / 2)
    decade = 10.0 ** math.floor(math.log10(least))
    round_ones = [round(decade * step, 12) for step in (*STEPS, *(10 * step for step in STEPS))]
    at = next(index for index, amount in enumerate(round_ones) if amount >= least)
    return round_ones[at], round_ones[at + 1]


def _ask(reporter: Reporter, purse: Purse, expected: CostBound, alias: str) -> float | None:
    """Ask the user; return what is to be added, or None for no."""
    amounts = offers(purse, expected.least)
    labels = {gettext("Add {amount}", amount=dollars(amount)): amount for amount in amounts}
    figures = {"left": dollars(purse.left), "cost": dollars(expected.least)}
    question = Question(
        text=gettext("Purse: {left} left; this request to {alias} may cost up to {cost}.", alias=alias, **figures),
        choices=(*labels, gettext("Stop")),
        typed=gettext("Add how much? [{amount}, or stop]", amount=f"{amounts[0]:g}"),
    )
    for _attempt in range(TRIES):
        answer = reporter.ask(question)
        if answer is None or answer == question.choices[-1]:
            return None
        if answer in labels:
            return labels[answer]
        if not answer.strip():
            return amounts[0]
        try:
            return read_amount(answer.strip().removeprefix("+"))
        except CommandError:
            if answer.strip().lower() in NO:
                return None
    return None


NO = ("stop", "s", "n", "no", "q", "quit", "停止", "否")
"""What means no where the answer is typed."""
SHORT_ANSWER = 200
"""Tokens of an answer that a smaller limit would not make much cheaper."""


def read_amount(text: str) -> float:
    """Return an amount of money as the user typed it.

    Raises:
        CommandError: it is not one.

    Example:
        >>> read_amount("$0.50")
        0.5
    """
    try:
        amount = float(text.lstrip("$¥"))
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf:
        raise CommandError(_("{text} is not an amount of money.", text=text), _("Example: %byzer purse 0.50"))
    return amount
