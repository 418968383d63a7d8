"""The table of commands: each has a name, a spec, the faces it is offered in, and the function that runs it.

A spec's decorator registers it. The function is named as text, as in an entry point, since it belongs to a layer
above and some pull in heavy packages; it is imported when the command runs first:

    @command("stat", run="byzer_magic.actions.inspect:stat")
    class StatSpec(Spec): ...
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from byzer_magic.commands.options import Spec

S = TypeVar("S", bound=Spec)
Runner = Callable[[Any, Any], Any]
"""Takes a face's `Context` and the spec; what it returns is the value of the cell."""

EASY = "easy "
"""Prefix of the commands that take their values without flags."""
CELL = "%%"
"""Prefix of a command that is its own magic."""
SKIPPED = "skipped"
LISTED = "listed"
"""See `Command.replayed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A row of the table."""

    name: str
    spec: type[Spec]
    run: str
    """The path of its function, `package.module:function`."""
    notebook_only: str = ""
    """For a command that needs a notebook: what to do in a shell instead."""
    replayed: str = ""
    """What comes in its place while a tape is replayed, since nothing is deployed then: `SKIPPED` for one that changes
    deployments, `LISTED` for one that shows them: it says what the tape has."""
    cell: str = ""
    """The option that has the text below `%%byzer NAME`, where that is not another command."""

    @property
    def faces(self) -> tuple[str, ...]:
        """Return where it is offered: `magic` (`%byzer NAME`), `shell` (`byzerllm NAME`), or `cell` (`%%NAME`)."""
        if self.name.startswith(CELL):
            return ("cell",)
        return ("magic",) if self.notebook_only else ("magic", "shell")

    @property
    def runner(self) -> Runner:
        """Return the function that runs it."""
        found: Runner = pkgutil.resolve_name(self.run)
        return found


REGISTRY: dict[str, Command] = {}
"""All commands by name (`deploy`, `easy deploy`, `%%chat`), in the order of help."""
COMMANDS: dict[str, type[Spec]] = {}
"""Of these, the subcommands of `%byzer` and `byzerllm`."""
EASY_COMMANDS: dict[str, type[Spec]] = {}
"""Of these, the subcommands of `%byzer easy` and `easy-byzerllm`, without that prefix."""


@dataclass_transform(kw_only_default=True, frozen_default=True)
def command(
    name: str, *, run: str, notebook_only: str = "", replayed: str = "", cell: str = ""
) -> Callable[[type[S]], type[S]]:
    """Make a class the spec of a command, and register it.

    Args:
        name: what users type.
        run: the function that runs it, as `package.module:function`; it takes a `Context` and the spec.
        notebook_only: for a command that needs a notebook, what to do in a shell instead.
        replayed: see `Command`.
        cell: the option that has the text below `%%byzer NAME`.
    """

    def register(cls: type[S]) -> type[S]:
        spec = dataclass(frozen=True, kw_only=True, repr=False, eq=False)(cls)
        REGISTRY[name] = Command(
            name=name, spec=spec, run=run, notebook_only=notebook_only, replayed=replayed, cell=cell
        )
        if name.startswith(EASY):
            EASY_COMMANDS[name.removeprefix(EASY)] = spec
        elif not name.startswith(CELL):
            COMMANDS[name] = spec
        return spec

    return register


def in_words(words: Sequence[str], known: Collection[str]) -> tuple[str, int]:
    """Return the longest command that words begin with, and how many words it has; "" where they begin with none.

    Args:
        words: of a line.
        known: the commands, of which some have several words, such as `serve keys add`.

    Example:
        >>> in_words(["serve", "keys", "add", "me"], ("serve", "serve keys add"))
        ('serve keys add', 3)
    """
    for count in range(min(LONGEST, len(words)), 0, -1):
        if (name := " ".join(words[:count])) in known:
            return name, count
    return "", 0


def group_in(words: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the words with which the commands of the group go on that all these words name; none where they do not.

    Example:
        >>> group_in(["serve", "keys"], ("serve", "serve keys add", "serve keys list"))
        ['add', 'list']
    """
    start = " ".join(words) + " "
    return list(dict.fromkeys(name.removeprefix(start).split()[0] for name in known if name.startswith(start)))


LONGEST = 3
"""Words of a command's name at most."""


def command_of(spec: Spec | type[Spec]) -> Command:
    """Return the command of a spec or of its class."""
    cls = spec if isinstance(spec, type) else type(spec)
    return next(row for row in REGISTRY.values() if row.spec is cls)


def faults() -> Iterator[str]:
    """Yield the faults of the table, one line each: a function that is missing or takes other arguments."""
    for row in REGISTRY.values():
        try:
            runner = row.runner
            inspect.signature(runner).bind("context", "spec")
        except (ImportError, AttributeError, TypeError, ValueError) as err:
            yield f"{row.name}: {row.run} cannot run it: {err}"
        if not (row.spec.summary and row.spec.examples):
            yield f"{row.name}: {row.spec.__name__} needs a summary and an example"
