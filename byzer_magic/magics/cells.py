"""Which cell of which notebook runs: requests are counted by it, the journal has it, and the receipt."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from byzer_magic.client.ledger import LEDGER, Cell
from byzer_magic.client.scope import SCOPE
from byzer_magic.journal.entry import Origin
from byzer_magic.widgets.context import cell_of


def install(shell: Any) -> Callable[[], None]:
    """Note each cell before it runs; return what removes that again."""

    def begin(info: Any = None) -> None:
        origin = origin_of(shell)
        SCOPE.begin(origin)
        source = str(getattr(info, "raw_cell", None) or "")
        LEDGER.begin(Cell.of(source, number=shell.execution_count, id=origin.cell))

    def end(_result: object = None) -> None:
        LEDGER.end()

    shell.events.register("pre_run_cell", begin)
    shell.events.register("post_run_cell", end)

    def remove() -> None:
        shell.events.unregister("pre_run_cell", begin)
        shell.events.unregister("post_run_cell", end)

    return remove


def origin_of(shell: Any) -> Origin:
    """Return the cell that runs, as far as the front end says which."""
    face = "notebook" if getattr(shell, "kernel", None) is not None else "shell"
    return Origin(face, notebook_of(shell), cell_of(shell))


def notebook_of(shell: Any) -> str:
    """Return the path of the notebook; empty where the front end does not say it.

    JupyterLab, Jupyter Notebook and VS Code each have a place of their own for it.
    """
    vscode = str(shell.user_ns.get("__vsc_ipynb_file__") or "")
    return vscode or os.environ.get("JPY_SESSION_NAME", "")
