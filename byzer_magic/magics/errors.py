"""Errors of the magics: one clean block in the cell, and a cell that has failed.

IPython lets an uncaught exception render itself (`_render_traceback_`). Ours returns its message and its hint; details
come below, folded. The package's own exception is raised, so that code which calls the magics can handle it by class.
See https://ipython.readthedocs.io/en/stable/config/integrating.html#custom-exception-tracebacks.
"""

from __future__ import annotations

import os
import re
from typing import Any

from byzer_magic.commands.secrets import known_here
from byzer_magic.errors import ByzerError, DeployError
from byzer_magic.i18n import gettext as _
from byzer_magic.log import redact
from byzer_magic.rendering import error_details
from byzer_magic.rendering.error_details import Details
from byzer_magic.safety.texts import visible, visible_bundle

ALIAS = re.compile(r"--model[ =](\S+)")


def presented(err: ByzerError, shell: Any, manager: Any, typed: str) -> ByzerError:
    """Return the error without secrets, able to render itself in this shell.

    Args:
        err: what a magic raised.
        shell: IPython's shell.
        manager: finds the log of a deploy that failed.
        typed: the text of the cell.
    """
    hidden = known_here(typed, shell.user_ns, os.environ)
    err.message, err.hint = redact(err.message, hidden), redact(err.hint, hidden)
    err.args = (err.message,)
    known = error_details.details(err, log(err, manager, typed), hidden)
    block = Block(err, known, shell)
    err._render_traceback_ = block.lines  # type: ignore[attr-defined]  # a name of IPython's
    return err


def log(err: ByzerError, manager: Any, typed: str) -> list[str]:
    """Return the log of a model that could not be deployed."""
    if not isinstance(err, DeployError):
        return []
    logs = (manager.failed_log(alias) for alias in ALIAS.findall(typed) if not manager.runs(alias))
    return next(filter(None, logs), [])


class Block:
    """Shows one error: its text as the cell's error, then its details."""

    def __init__(self, err: ByzerError, known: Details, shell: Any) -> None:
        self._err = err
        self._known = known
        self._shell = shell
        self._shown = False

    def lines(self) -> list[str]:
        """Return the text of the error; the second time, for `%tb`, with its details."""
        text = visible(self._err.localized()).split("\n")
        if not self._known:
            return text
        if self._shown:
            return [*text, *visible(error_details.to_text(self._known)).split("\n")]
        self._shown = True
        if getattr(self._shell, "kernel", None) is None:
            return [*text, _("Details: %tb")]
        self._shell.events.register("post_run_cell", self._show_details)
        return text

    def _show_details(self, _result: Any) -> None:
        """Show the fold below the error, which has been sent when the cell has run."""
        from IPython.display import display

        self._shell.events.unregister("post_run_cell", self._show_details)
        display(visible_bundle(error_details.bundle(self._known)), raw=True)
