"""Types in signatures, also as texts."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from byzer_magic.client.signatures import hints_of
from byzer_magic.errors import CommandError


def function(number: int, text: Annotated[str, "a text"] = "") -> list[int]:
    """Have types."""
    return [number, len(text)]


class Callable:
    def __init__(self, number: int) -> None:
        """Have types."""

    def __call__(self, text: str) -> float:
        """Have types."""
        return len(text)

    def method(self, text: bytes) -> None:
        """Have types."""


@pytest.mark.parametrize(
    ("found", "name", "kind"),
    [
        (function, "number", int),
        (function, "text", Annotated[str, "a text"]),
        (function, "return", list[int]),
        (Callable, "number", int),
        (Callable(1), "text", str),
        (Callable(1).method, "text", bytes),
    ],
)
def test_hints_of_whatever_can_be_called(found: Any, name: str, kind: Any) -> None:
    assert hints_of(found)[name] == kind
    if not isinstance(found, type):
        assert hints_of(found, name) == {name: kind}


@pytest.mark.parametrize("annotation", ["Unknown", "list[", "pytest.nothing", "int[str]"])
def test_hints_that_cannot_be_read_are_one_error(annotation: str) -> None:
    def wrong(number: int, other: Any) -> None:
        """Have a type that is none."""

    wrong.__annotations__["other"] = annotation
    with pytest.raises(CommandError, match=r"wrong: .*annotations") as caught:
        hints_of(wrong)
    assert caught.value.hint
    assert hints_of(wrong, "number") == {"number": int}
