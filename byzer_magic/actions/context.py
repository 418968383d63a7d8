"""What a command runs with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.actions.output import Output
from byzer_magic.client.manager import Manager
from byzer_magic.client.sessions import Sessions
from byzer_magic.results import Result


def _nowhere(_result: Result) -> None:
    """Keep nothing: a shell has no variables."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed by a face to the function that runs a command, with the command's spec."""

    manager: Manager
    output: Output
    """Shows results in the face's own way."""
    namespace: MutableMapping[str, Any] | None = field(default=None, repr=False)
    """The notebook's own variables, of any type; None in a shell."""
    variables: Callable[[], Mapping[str, Any]] = dict
    """Returns the variables in which `${NAME}` is looked up first."""
    keep: Callable[[Result], None] = _nowhere
    """Puts a result where the user finds it, before it is shown."""
    sessions: Sessions = field(default_factory=Sessions)
    """The conversations of this face, which others continue, too."""
    waits: bool = True
    """Whether a command may go on until Ctrl-C, as in a shell; a notebook's cell would block all others."""
    typed: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    """Secrets that the user typed in, by alias and parameter; kept as long as the command runs."""
