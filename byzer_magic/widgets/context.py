"""What commands and screens need of the notebook that they run in."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from byzer_magic.actions import context


@dataclass(frozen=True, kw_only=True)
class Context(context.Context):
    """Handed to the function that opens a screen, with the command's spec."""

    shell: Any
    """IPython's shell: `user_ns`, `set_next_input`."""
    waits: bool = False
    has_kernel: bool
    """False in IPython in a terminal, where there is text only."""

    @property
    def cell(self) -> str:
        """The id of the cell that runs; a new one where the front end does not send it."""
        return cell_of(self.shell) or uuid.uuid4().hex


def cell_of(shell: Any) -> str:
    """Return the id of the cell that runs, or an empty text where the front end does not send it."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent.get("metadata") or {}).get("cellId") or "")
