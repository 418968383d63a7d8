"""The `.env` of the working directory, in which `${NAME}` and the providers' own variables are looked up last."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from byzer_magic import text_files
from byzer_magic.errors import MissingKey
from byzer_magic.i18n import join

NAME = ".env"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """What `.env` has."""

    values: dict[str, str] = field(default_factory=dict, repr=False)
    problem: str = ""
    """Why it could not be read: a lazy text; empty where it was read, or where there is none."""


def read() -> EnvFile:
    """Return the names and values of `.env`; one that cannot be read has none, and stops nothing."""
    from dotenv import dotenv_values  # 30 ms, and only deploying needs it

    found = text_files.read(Path(NAME))
    if found.problem:
        return EnvFile(problem="" if found.missing else found.problem)
    values = dotenv_values(stream=io.StringIO(found.text))
    return EnvFile({name: value for name, value in values.items() if value is not None})


@contextmanager
def lent() -> Iterator[dict[str, str]]:
    """Lend the values of `.env`; the error about a missing name says why the file could not be read."""
    found = read()
    try:
        yield found.values
    except MissingKey as err:
        err.hint = join(err.hint, found.problem)
        raise
