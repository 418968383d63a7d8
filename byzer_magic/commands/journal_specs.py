"""The commands about the journal and what stands on it."""

from __future__ import annotations

from byzer_magic.commands.options import Spec, option
from byzer_magic.commands.registry import command
from byzer_magic.i18n import lazy_gettext as _


@command("journal", run="byzer_magic.actions.journal:show")
class JournalSpec(Spec):
    """What is to be shown of the journal."""

    summary = _("Show or search the requests and answers in this project's journal.")
    examples = ("journal", "journal invoice --model gpt4o_chat", "journal --id 12", "journal --status failed --json")

    text: str | None = option(None, help=_("only those with this text in the prompt or the answer"), positional=True)
    model: str | None = option(None, help=_("only those to this deployment"), complete="alias")
    status: str | None = option(None, help=_("only those that ended so"), choices=("complete", "interrupted", "failed"))
    last: int = option(20, help=_("number of entries"), kind="int", minimum=1)
    id: int | None = option(None, help=_("show this entry in full"), kind="int", minimum=1)
    df: bool = option(default=False, help=_("return a pandas DataFrame of all of them (notebook)"), kind="bool")
    json: bool = option(default=False, help=_("print JSON"), kind="bool")


@command(
    "journal on", run="byzer_magic.actions.journal:turn_on",
    notebook_only=_("For a shell, set BYZER_JOURNAL=1, or journal = true in the settings file."),
)  # fmt: skip
class JournalOnSpec(Spec):
    """To keep a journal."""

    summary = _("Keep the requests of this notebook in the journal, and answer from it what it knows.")
    examples = ("journal on",)


@command(
    "journal off", run="byzer_magic.actions.journal:turn_off",
    notebook_only=_("For a shell, set BYZER_JOURNAL=0, or remove journal from the settings file."),
)  # fmt: skip
class JournalOffSpec(Spec):
    """To keep none."""

    summary = _("Keep no further requests of this notebook in the journal; what is in it stays.")
    examples = ("journal off",)


@command("journal export", run="byzer_magic.actions.journal:export")
class JournalExportSpec(Spec):
    """A file to write the journal to."""

    summary = _("Write the journal, or a part of it, to a JSON Lines file.")
    examples = (
        "journal export tape.jsonl", "journal export tape.jsonl --this_notebook",
        "journal export march.jsonl --model gpt4o_chat",
    )  # fmt: skip

    path: str = option(help=_("file to write"), positional=True, complete="path")
    text: str | None = option(None, help=_("only entries with this text in the prompt or the answer"))
    model: str | None = option(None, help=_("only those to this deployment"), complete="alias")
    this_notebook: bool = option(default=False, help=_("only those of the cells of this notebook"), kind="bool")
    force: bool = option(default=False, help=_("overwrite an existing file"), kind="bool")


@command("journal clear", run="byzer_magic.actions.journal:clear")
class JournalClearSpec(Spec):
    """What is to be removed from the journal."""

    summary = _("Remove entries from the journal, with their media.")
    examples = ("journal clear --older 30d", "journal clear --all")

    older: float | None = option(None, help=_("those older than this (30d, 12h)"), kind="duration", minimum=0)
    all: bool = option(default=False, help=_("all of them"), kind="bool")


@command(
    "receipt", run="byzer_magic.actions.receipt:receipt",
    notebook_only=_("A shell has no cells; with a journal, see: byzerllm journal"),
)  # fmt: skip
class ReceiptSpec(Spec):
    """What the requests of a notebook have used."""

    summary = _("Show what each cell has used since the kernel started: requests, tokens, cost, TTFT, what was saved.")
    examples = ("receipt", "receipt --df")

    df: bool = option(default=False, help=_("return a pandas DataFrame"), kind="bool")


@command(
    "replay", run="byzer_magic.actions.replay:start",
    notebook_only=_("For a shell, set BYZER_REPLAY=FILE, and BYZER_REPLAY_SPEED=0 to have everything at once."),
)  # fmt: skip
class ReplaySpec(Spec):
    """A tape to replay."""

    summary = _("Answer from a file that `journal export` has written, without models, keys and network.")
    examples = ("replay tape.jsonl", "replay tape.jsonl --speed 0", "replay")

    path: str | None = option(
        None, help=_("the file; without it, say what is replayed"), positional=True, complete="path"
    )
    speed: float | None = option(
        None, help=_("how many times as fast as it was recorded; 0: at once (default: 1)"), kind="float", minimum=0
    )


@command(
    "replay off", run="byzer_magic.actions.replay:stop",
    notebook_only=_("For a shell, unset BYZER_REPLAY, or remove replay from the settings file."),
)  # fmt: skip
class ReplayOffSpec(Spec):
    """To replay nothing."""

    summary = _("Ask models again, in place of the file that is replayed.")
    examples = ("replay off",)


@command("purse", run="byzer_magic.actions.purse:purse")
class PurseSpec(Spec):
    """What the requests of this project may cost."""

    summary = _("Give this project a purse that pays for requests, put more into it, or show what is left.")
    examples = ("purse 0.50", "purse +0.50", "purse")

    amount: str | None = option(
        None, help=_("US dollars that may be spent in all, such as 0.50; +0.50 adds as much"), positional=True
    )
    reset: bool = option(default=False, help=_("forget what was spent so far"), kind="bool")
    strict: bool = option(
        default=False, help=_("refuse requests to models whose price is unknown, which are not counted otherwise"),
        kind="bool",
    )  # fmt: skip


@command("purse off", run="byzer_magic.actions.purse:turn_off")
class PurseOffSpec(Spec):
    """To have no purse."""

    summary = _("Remove the purse of this project: requests are not limited by it any longer.")
    examples = ("purse off",)
