"""`journal`: show, search, export and clear what was asked and answered in this project."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from byzer_magic.actions.context import Context
from byzer_magic.client import journaling
from byzer_magic.client.scope import SCOPE
from byzer_magic.commands import journal_specs as specs
from byzer_magic.errors import CommandError
from byzer_magic.files import paths, writing
from byzer_magic.i18n import gettext as _, lazy_gettext, ngettext
from byzer_magic.journal import tape
from byzer_magic.journal.entry import Entry
from byzer_magic.journal.store import FOLDER, NAME, Store, is_journal, project_folder, project_store
from byzer_magic.media import describe
from byzer_magic.rendering.amounts import duration, money
from byzer_magic.results.comparison import need_pandas

SHOWN = 60
"""Characters of a prompt or an answer in the table."""


def show(context: Context, item: specs.JournalSpec) -> Any:
    """Show entries as a table, one of them in full, or return a DataFrame of all with `--df`."""
    store = _store(context)
    if item.id is not None:
        _show_one(context, store, item)
        return None
    damaged: list[int] = []
    found = store.search(
        item.text or "", alias=item.model or "", status=item.status or "", limit=-1 if item.df else item.last,
        damaged=damaged,
    )  # fmt: skip
    if damaged:
        context.manager.warn(_left_out(len(damaged)))
    if item.df:
        return frame(found)
    if item.json:
        context.output.text(json.dumps([_plain(entry) for entry in found], indent=4, ensure_ascii=False))
        return None
    context.output.table([_row(entry) for entry in found], _("No entries."))
    _say_state(context, store)
    return None


def _left_out(count: int) -> str:
    return ngettext("{count} entry is left out: it is damaged.", "{count} entries are left out: they are damaged.",
                    count=count)  # fmt: skip


def _store(context: Context) -> Store:
    if journaling.JOURNAL.is_on(context.manager.settings):
        return journaling.JOURNAL.store(context.manager.settings)
    if not is_journal(project_folder() / FOLDER / NAME):
        raise CommandError(
            lazy_gettext("This project has no journal."),
            lazy_gettext("Start one: %byzer journal on, or BYZER_JOURNAL=1 in a shell."),
        )
    return project_store()


def _say_state(context: Context, store: Store) -> None:
    count = ngettext("{count} entry", "{count} entries", count=store.count())
    on = journaling.JOURNAL.is_on(context.manager.settings)
    context.output.say(
        _("{path}: {count}, {size}; recording is {state}.", path=store.path, count=count,
          size=describe.size(store.bytes), state=_("on") if on else _("off"))
    )  # fmt: skip


def _show_one(context: Context, store: Store, item: specs.JournalSpec) -> None:
    damaged: list[int] = []
    found = store.search(number=item.id or 0, damaged=damaged)
    if damaged:
        raise CommandError(
            lazy_gettext("Entry {id} of the journal is damaged.", id=item.id), lazy_gettext("List the others: journal")
        )
    if not found:
        raise CommandError(
            lazy_gettext("The journal has no entry {id}.", id=item.id), lazy_gettext("List them: journal")
        )
    entry = found[0]
    if item.json:
        context.output.text(json.dumps(_plain(entry), indent=4, ensure_ascii=False))
        return
    context.output.table([_row(entry)], "")
    context.output.text(_("Prompt:") + f"\n{entry.prompt}\n\n" + _("Answer:") + f"\n{entry.answer}")


def _row(entry: Entry) -> dict[str, Any]:
    return {
        _("Entry"): str(entry.id),
        _("Time"): datetime.fromtimestamp(entry.at).strftime("%Y-%m-%d %H:%M:%S"),
        _("Model"): entry.alias,
        _("Prompt"): _short(entry.prompt),
        _("Answer"): _short(entry.answer) or _status(entry),
        _("Tokens"): f"{entry.usage.prompt_tokens} + {entry.usage.completion_tokens}" if entry.usage else "",
        _("Cost"): money(entry.cost, entry.currency),
        _("TTFT"): duration(entry.ttft),
        _("Total time"): duration(entry.total),
        _("Status"): _status(entry),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _status(entry: Entry) -> str:
    return {"complete": _("complete"), "interrupted": _("interrupted"), "failed": _("failed")}[entry.status]


def _plain(entry: Entry) -> dict[str, Any]:
    """Return an entry as plain data, without its pieces."""
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(entry, pieces=[]))
    del found["pieces"]
    found["cost"], found["currency"] = entry.cost, entry.currency
    with contextlib.suppress(ValueError):  # long ago, something in it may have been hidden
        found["request"] = json.loads(entry.request)
    return found


def frame(entries: list[Entry]) -> Any:
    """Return entries as a pandas DataFrame, a row for each.

    Raises:
        CommandError: pandas is not installed.
    """
    need_pandas()
    import pandas as pd

    rows = [
        {
            "id": entry.id,
            "at": pd.Timestamp(entry.at, unit="s", tz="UTC"),
            "model": entry.alias,
            "provider": entry.provider,
            "title": entry.title,
            "method": entry.method,
            "prompt": entry.prompt,
            "answer": entry.answer,
            "prompt_tokens": entry.usage.prompt_tokens if entry.usage else None,
            "completion_tokens": entry.usage.completion_tokens if entry.usage else None,
            "cost": entry.cost,
            "currency": entry.currency or None,
            "ttft": entry.ttft,
            "total": entry.total,
            "queued": entry.queued,
            "status": entry.status,
            "notebook": entry.origin.notebook,
            "cell": entry.origin.cell,
            "request_id": entry.request_id,
        }
        for entry in entries
    ]
    return pd.DataFrame(rows)


def turn_on(context: Context, _item: specs.JournalOnSpec) -> None:
    """Keep a journal from now on.

    Raises:
        JournalError: its file cannot be opened.
    """
    store = journaling.JOURNAL.store(context.manager.settings)
    journaling.JOURNAL.turn(on=True)
    count = ngettext("{count} entry", "{count} entries", count=store.count())
    context.output.say(_("The journal is on: {path} ({count}).", path=store.path, count=count))


def turn_off(context: Context, _item: specs.JournalOffSpec) -> None:
    """Keep no journal from now on."""
    journaling.JOURNAL.turn(on=False)
    context.output.say(_("The journal is off; what is in it stays."))


def export(context: Context, item: specs.JournalExportSpec) -> None:
    """Write entries to a file, the oldest first.

    Raises:
        CommandError: the file exists, or cannot be written; it is not known which notebook this is.
    """
    path = paths.expanded(item.path)
    if paths.exists(path) and not item.force:
        raise CommandError(
            lazy_gettext("{path} already exists.", path=item.path),
            lazy_gettext("Add --force to overwrite it, or choose another name."),
        )
    store = _store(context)
    notebook = _this_notebook() if item.this_notebook else ""
    count = missing = 0

    def entries() -> Iterator[Entry]:
        nonlocal count, missing
        for entry in store.walk(item.text or "", alias=item.model or "", notebook=notebook):
            if entry is not None:
                count += 1
                yield entry
            else:
                missing += 1

    try:
        writing.write(path, tape.lines(entries()))
    except OSError as err:
        raise CommandError(
            lazy_gettext("Cannot write {path}: {reason}.", path=item.path, reason=err.strerror or err)
        ) from None
    context.output.say(
        ngettext("{path}: {count} entry written.", "{path}: {count} entries written.", count=count, path=path)
    )
    if missing:
        context.output.say(
            ngettext("{count} entry was left out: it is damaged, or its media are gone.",
                     "{count} entries were left out: they are damaged, or their media are gone.", count=missing)
        )  # fmt: skip


def _this_notebook() -> str:
    if not (found := SCOPE.origin.notebook):
        raise CommandError(
            lazy_gettext("It is not known which notebook this is."),
            lazy_gettext("Leave --this_notebook out: all entries of the project are written then."),
        )
    return found


def clear(context: Context, item: specs.JournalClearSpec) -> None:
    """Remove entries.

    Raises:
        CommandError: it is not said which.
    """
    if item.all == (item.older is not None):
        raise CommandError(
            lazy_gettext("Say which entries are to be removed."), lazy_gettext("Add --older 30d, or --all.")
        )
    before = None if item.older is None else time.time() - item.older  # dates of entries
    removed = _store(context).clear(before)
    context.output.say(ngettext("{count} entry removed.", "{count} entries removed.", count=removed))
