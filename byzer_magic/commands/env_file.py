"""The `.env` of the working directory, in which `${NAME}` and the providers' own variables are looked up last."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from byzer_magic.errors import MissingKey
from byzer_magic.files import text_files
from byzer_magic.i18n import join, lazy_gettext as _

NAME = ".env"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What `.env` has."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""
    """Why it, or a line of it, could not be read: a lazy text; empty where it was, and where there is no file."""


def read() -> EnvFile:
    """Return the names and values of `.env`; one that cannot be read has none, and stops nothing."""
    from dotenv import dotenv_values  # 30 ms, and only deploying needs it
    from dotenv.parser import parse_stream

    found = text_files.read(Path(NAME))
    if found.problem:
        return EnvFile(problem="" if found.missing else found.problem)
    parts = list(parse_stream(io.StringIO(found.text)))
    bad = next((part.original.line for part in parts if part.error), None)
    good = "".join(part.original.string for part in parts if not part.error)  # the others end in a warning on stderr
    values = dotenv_values(stream=io.StringIO(good))
    return EnvFile(
        {name: value for name, value in values.items() if value is not None},
        _("{path} has no NAME=value in line {line}.", path=NAME, line=bad) if bad else "",
    )


@contextmanager
def lent() -> Iterator[dict[str, str]]:
    """Lend the values of `.env`; the error about a missing name says why the file could not be read."""
    found = read()
    try:
        yield found.values
    except MissingKey as err:
        err.hint = join(err.hint, found.problem)
        raise
