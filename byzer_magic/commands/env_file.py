"""The `.env` of the working directory, in which `${NAME}` and the providers' own variables are looked up last."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from byzer_magic.commands.typography import INVISIBLE
from byzer_magic.errors import MissingKey
from byzer_magic.files import text_files
from byzer_magic.i18n import join, lazy_gettext as _

NAME = ".env"
PROCESS = "the environment"
_BEFORE_NAME = re.compile(
    rf"^[{INVISIBLE}]*[^\S\n]*(?:set[ \t]+|\$env:)?(?=(?:export[ \t]+)?[A-Za-z_]\w*[^\S\n]*=)",
    re.MULTILINE | re.IGNORECASE,
)
"""What nobody sees, and the commands of cmd and PowerShell that set a variable, as a shell's `export` is one."""


class Variables(Mapping[str, str]):
    """The environment's variables, then those of `.env`; it knows which of the two each comes from.

    Args:
        file: what `.env` has.
        process: the environment; it wins.

    Example:
        >>> found = Variables({"A": "1", "B": "2"}, {"B": "3"})
        >>> dict(found), found.origin("A"), found.origin("B")
        ({'A': '1', 'B': '3'}, '.env', 'the environment')
    """

    def __init__(self, file: Mapping[str, str], process: Mapping[str, str] = os.environ) -> None:
        self._process = process
        self._all = {**file, **process}

    def origin(self, name: str) -> str:
        """Return where a variable comes from: `NAME` for the file, `PROCESS` for the environment."""
        return PROCESS if name in self._process else NAME

    def __getitem__(self, name: str) -> str:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"Variables({len(self)})"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What `.env` has."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""
    """Why it, or a line of it, could not be read: a lazy text; empty where it was, and where there is no file."""


def read(folder: Path = Path()) -> EnvFile:
    """Return the names and values of a folder's `.env`; one that cannot be read has none, and stops nothing."""
    from dotenv import dotenv_values  # 30 ms, and only deploying needs it
    from dotenv.parser import parse_stream

    found = text_files.read(folder / NAME)
    if found.problem:
        return EnvFile(problem="" if found.missing else found.problem)
    parts = list(parse_stream(io.StringIO(_BEFORE_NAME.sub("", found.text))))
    bad = next((part.original.line for part in parts if part.error), None)
    good = "".join(part.original.string for part in parts if not part.error)  # the others end in a warning on stderr
    values = _expanded(dotenv_values(stream=io.StringIO(good), interpolate=False))
    return EnvFile(
        values,
        _("{path} has no NAME=value in line {line}.", path=NAME, line=bad) if bad else "",
    )


_LENT = ("HOME", "USER")
"""What of the environment a file may refer to: of a key, it could make a URL of its own."""


def _expanded(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return values with those that the file itself has set above in place of their `${NAME}`."""
    from dotenv.variables import parse_variables

    known: dict[str, str | None] = {name: os.environ.get(name) for name in _LENT}
    found: dict[str, str] = {}
    for name, value in values.items():
        if value is not None:
            found[name] = known[name] = "".join(part.resolve(known) for part in parse_variables(value))
    return found


@contextmanager
def lent(folder: Path = Path()) -> Iterator[Variables]:
    """Lend the environment and a folder's `.env`; the error about a missing name says why that could not be read."""
    found = read(folder)
    try:
        yield Variables(found.values)
    except MissingKey as err:
        err.hint = join(err.hint, found.problem)
        raise
