"""`receipt`: show what the requests of this process have used, by cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from byzer_magic.actions.context import Context
from byzer_magic.client.ledger import LEDGER, Ledger, Model, Run, Sums
from byzer_magic.commands import journal_specs as specs
from byzer_magic.i18n import gettext as _, listed, ngettext
from byzer_magic.rendering.amounts import duration, money
from byzer_magic.results.comparison import need_pandas


def receipt(context: Context, item: specs.ReceiptSpec) -> Any:
    """Show a line for each cell, and the total; with `--df`, return a DataFrame.

    Raises:
        CommandError: pandas is not installed.
    """
    if item.df:
        return frame(LEDGER)
    context.output.table(rows(LEDGER), _("No requests yet."))
    return None


def rows(ledger: Ledger) -> list[dict[str, Any]]:
    """Return a row for the last run of each cell, and one for all runs.

    Example:
        >>> ledger = Ledger()
        >>> ledger.add(ledger.current, ("gpt4o", "USD"), Sums(requests=2, cost=0.5))
        >>> [row["Cost"] for row in rows(ledger)]
        ['$0.5000', '$0.5000']
    """
    runs = ledger.runs()
    found = [_row(_cell(run), run.models) for run in runs]
    repeated = any(run.times > 1 for run in runs)
    total = _("Total, with earlier runs") if repeated else _("Total")
    return [*found, _row(total, ledger.total)] if found else []


def _cell(run: Run) -> str:
    if not run.cell.number:
        return _("between cells (chat window, background)")
    text = f"[{run.cell.number}] {run.cell.words}".rstrip()
    return text if run.times == 1 else ngettext("{cell} (run {count} time)", "{cell} (run {count} times)",
                                                count=run.times, cell=text)  # fmt: skip


def _row(name: str, models: Mapping[Model, Sums]) -> dict[str, Any]:
    whole = Sums()
    for each in models.values():
        whole.add(each)
    return {
        _("Cell"): name,
        _("Model"): listed(dict.fromkeys(alias for alias, _currency in models)),
        _("Requests"): _requests(whole),
        _("From the journal"): str(whole.journal or ""),
        _("Tokens"): f"{whole.prompt_tokens:,} + {whole.completion_tokens:,}",
        _("Cost"): _amounts(models, "cost", whole.unknown),
        _("Saved"): _amounts(models, "saved"),
        _("TTFT"): duration(whole.ttft),
    }


def _requests(used: Sums) -> str:
    notes = [
        ngettext("{count} failed", "{count} failed", count=used.failed) if used.failed else "",
        ngettext("{count} interrupted", "{count} interrupted", count=used.interrupted) if used.interrupted else "",
    ]
    return " · ".join(filter(None, [str(used.requests), *notes]))


def _amounts(models: Mapping[Model, Sums], name: str, unknown: int = 0) -> str:
    """Return an amount of each currency, and of how many requests it is not known."""
    sums: Counter[str] = Counter()
    for (_alias, currency), used in models.items():
        sums[currency] += getattr(used, name)
    known = [money(value, currency) for currency, value in sums.items() if currency and (value or name == "cost")]
    if unknown:
        known.append(ngettext("unknown for {count}", "unknown for {count}", count=unknown))
    return " + ".join(known)


def frame(ledger: Ledger) -> Any:
    """Return the lines as a DataFrame: a row for each cell, model and currency.

    Raises:
        CommandError: pandas is not installed.
    """
    need_pandas()
    import pandas as pd

    found = [
        {
            "cell": run.cell.number or None, "cell_id": run.cell.id, "source": run.cell.words, "runs": run.times,
            "model": alias, "requests": used.requests, "failed": used.failed, "interrupted": used.interrupted,
            "from_journal": used.journal, "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens, "cost": used.cost if currency else None,
            "currency": currency or None, "saved": used.saved, "ttft": used.ttft,
        }
        for run in ledger.runs()
        for (alias, currency), used in run.models.items()
    ]  # fmt: skip
    return pd.DataFrame(found)
