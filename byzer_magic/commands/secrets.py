"""`${NAME}` in settings, and values that must not be seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from byzer_magic.errors import MissingKey

REFERENCE = re.compile(r"\$\{([^}]*)\}")
"""A `${NAME}`; a name may be any text without a closing brace, as shells allow fewer than our users type."""


class Secret:
    """Text whose every rendering is ``***``; `reveal` is the one way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self._value,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def names_in(text: str) -> list[str]:
    """Return the names that `text` refers to, in order."""
    return REFERENCE.findall(text)


def expand(text: str, *sources: Mapping[str, Any]) -> str:
    """Replace each `${NAME}` in `text` by its value from the first source that has it.

    Raises:
        MissingKey: no source has the name.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1]
        for source in sources:
            if name in source:
                return str(source[name])
        raise MissingKey(
            f"${{{name}}} is not defined.",
            f"Set it first: %env {name}=... in the notebook, export {name}=... in the shell, or a line in .env.",
        )

    return REFERENCE.sub(value, text)
