"""`purse`: give a project money for its requests, put more into it, and show what is left."""

from __future__ import annotations

from byzer_magic.actions.context import Context
from byzer_magic.client.spending import WALLET
from byzer_magic.client.topping_up import read_amount
from byzer_magic.commands import journal_specs as specs
from byzer_magic.errors import CommandError
from byzer_magic.i18n import gettext as _, lazy_gettext
from byzer_magic.journal.purse import Purse, PurseFile
from byzer_magic.plan import BUDGET_CURRENCY
from byzer_magic.rendering.amounts import dollars


def purse(context: Context, item: specs.PurseSpec) -> None:
    """Show the purse; with an amount, set it or add to it first.

    Raises:
        CommandError: there is no purse, or the amount is not one.
        JournalError: it cannot be written.
    """
    if item.amount is None and (item.reset or item.strict):
        raise CommandError(lazy_gettext("The amount is missing."), lazy_gettext("Example: %byzer purse 0.50"))
    text = item.amount or ""
    amount = read_amount(text.removeprefix("+")) if text else 0.0
    more = text.startswith("+")
    file = WALLET.file(make=bool(text) and not more)
    found = _changed(file, item, amount, more=more) if file and text else file.read() if file else None
    WALLET.changed()
    if file is None or found is None:
        raise CommandError(lazy_gettext("This project has no purse."), lazy_gettext("Make one: %byzer purse 0.50"))
    context.output.table([_row(found)], "")


def _changed(file: PurseFile, item: specs.PurseSpec, amount: float, *, more: bool) -> Purse | None:
    if more:
        return file.add(amount)
    return file.put(amount, BUDGET_CURRENCY, strict=item.strict, afresh=item.reset)


def _row(found: Purse) -> dict[str, str]:
    """Return the line that is shown; of what is left, requests in flight may take what they hold."""
    return {
        _("Purse"): dollars(found.amount),
        _("Spent"): dollars(found.spent),
        _("In flight, at most"): dollars(found.held),
        _("Left"): dollars(found.left),
        _("Models without a price"): _("refused") if found.strict else _("not counted"),
    }


def turn_off(context: Context, _item: specs.PurseOffSpec) -> None:
    """Remove the purse."""
    file = WALLET.file()
    removed = file.remove() if file else False
    WALLET.changed()
    context.output.say(_("The purse is gone.") if removed else _("This project has no purse."))
