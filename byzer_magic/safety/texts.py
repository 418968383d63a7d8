r"""Texts of others where a terminal, a log or a notebook's Markdown shows them: no control characters in them.

A terminal obeys `ESC ]`, `ESC [` and their forms of one character (U+0080 to U+009F): it hides text, changes the title
or the clipboard, and types answers of its own. Characters that override the direction of writing make a reader see
another text than the one that runs (https://trojansource.codes). Each character is replaced by itself, so that a
sequence that arrives in two parts is none either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SHOWN = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)]),
}
"""A symbol for each control character; those of the direction of writing are left out."""


def visible(text: str) -> str:
    r"""Return a text without control characters but tabs and line ends, which are all `\n`.

    Example:
        >>> visible("\x1b[31mred\x1b[0m\r\n")
        '␛[31mred␛[0m\n'
    """
    if _CONTROL.search(text) is None:
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN)


def visible_bundle(data: Mapping[str, str]) -> dict[str, str]:
    """Return a MIME bundle whose texts are `visible`; a browser obeys no control characters."""
    return {kind: text if kind == "text/html" else visible(text) for kind, text in data.items()}


class Arriving:
    """A text that arrives in parts."""

    def __init__(self) -> None:
        self._kept = ""

    def visible(self, part: str) -> str:
        r"""Return what can be shown of it by now: a `\r` at the end waits for its `\n`."""
        text = self._kept + part
        self._kept = "\r" if text.endswith("\r") else ""
        return visible(text.removesuffix("\r"))
