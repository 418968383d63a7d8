"""What a screen in a notebook needs of the notebook it is in."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from byzer_magic.actions.output import Output
from byzer_magic.client.manager import Manager
from byzer_magic.types import Message


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed to whatever opens a screen (`open(context, spec)`)."""

    manager: Manager
    output: Output
    """Shows plain things in the cell that is running."""
    shell: Any
    """IPython's shell: `user_ns`, `set_next_input`."""
    variables: Callable[[], Mapping[str, Any]]
    """Gives the notebook's simple variables, where `${NAME}` looks first."""
    sessions: dict[str, list[Message]]
    """The conversations of `%%chat --session`, which a chat window continues."""
    chinese: bool
    has_kernel: bool
    """False in IPython in a terminal, where there is text only."""

    @property
    def cell(self) -> str:
        """The id of the cell that runs; where the front end does not tell it, a new one."""
        return cell_of(self.shell) or uuid.uuid4().hex


def cell_of(shell: Any) -> str:
    """Return the id of the cell that runs, or nothing where the front end does not tell it."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return str((parent.get("metadata") or {}).get("cellId") or "")
