"""The output of a deploy form in a saved notebook, and its replacement in a terminal."""

from __future__ import annotations

from collections.abc import Collection

from byzer_magic.commands import parser
from byzer_magic.i18n import gettext as _, listed
from byzer_magic.rendering.markup import tag

QUIET = "margin:0;opacity:.8"
BOX = (
    "margin:4px 0;padding:6px 8px;white-space:pre-wrap;overflow-wrap:anywhere;"
    "border:1px solid var(--jp-border-color2,#8884)"
)
"""Inline styles: a saved notebook has no others here."""


def output(line: str, typed: Collection[str], outcome: str) -> dict[str, str]:
    """Return the output that is saved in the notebook; the live form hides it while it is open.

    Args:
        line: the form's command.
        typed: the `${NAME}` in the line, one for each secret that was typed in.
        outcome: how the last action ended.
    """
    note = (
        _("The key was typed in and is not stored: set {names}, or type it again.", names=listed(typed))
        if typed
        else ""
    )
    intro = _("A deployment form. Run this cell to open it again. Its command:")
    parts = [
        tag("p", intro, style=QUIET),
        tag("pre", tag("code", line), style=BOX),
        *(tag("p", text, style=QUIET) for text in (note, outcome) if text),
    ]
    return {
        "text/html": str(tag("div", *parts, class_="bz-form-still bz-still")),
        "text/plain": "\n".join(filter(None, (line, note, outcome))),
    }


def terminal(line: str) -> str:
    """Return the replacement for a form in a terminal: the help, and a line to edit."""
    help_text = parser.help_text("deploy")
    note = _("A form needs Jupyter. Here is the command to edit:")
    return f"{help_text}\n\n{note}\n{line}"
