"""Texts that are no proper JSON: their encoding, a sentence in JSON that is cut off, data as Python prints it."""

from __future__ import annotations

import ast
import contextlib
from typing import Any

from byzer_magic.backends.http import json_reader

MAX_BYTES = 1024 * 1024
"""Longest body that is read."""
REPR_CHARS = 4096
"""Longest text that is read as Python's."""
_BROKEN = 3
"""Characters that are not UTF-8 in a text that may be in another encoding."""


def text_of(data: bytes) -> str:
    r"""Return a body as text; gateways in China may send GBK, and do not always say so.

    Example:
        >>> text_of("\u914d\u989d\u4e0d\u8db3".encode("gbk")) == "\u914d\u989d\u4e0d\u8db3"
        True
    """
    text = data[: MAX_BYTES + 1].decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if broken < _BROKEN or broken * 2 < sum(not char.isascii() for char in text):
        return text
    try:
        other = data[: MAX_BYTES + 1].decode("gb18030")
    except UnicodeDecodeError:
        return text
    return other if any("\u4e00" <= char <= "\u9fff" for char in other) else text


def string_after_name(text: str) -> str:
    """Return the string after the first name of a sentence, in JSON that is cut off or too long to be read."""
    for name in ('"message"', '"msg"', '"detail"', '"error"'):
        rest = text[at + len(name) :].lstrip() if (at := text.find(name)) >= 0 else ""
        rest = rest[1:].lstrip() if rest[:1] == ":" else ""
        if rest[:1] == '"':
            end = 1
            while end < len(rest) and rest[end] != '"':
                end += 2 if rest[end] == "\\" else 1
            with contextlib.suppress(ValueError):
                return str(json_reader.loads(rest[:end].rstrip("\\") + '"'))
    return ""


def parsed(text: str) -> Any:
    """Return JSON, or data as Python prints it; None for anything else.

    Example:
        >>> parsed("{'code': 1}"), parsed("a sentence")
        ({'code': 1}, None)
    """
    with contextlib.suppress(ValueError):
        return json_reader.loads(text)
    if len(text) > REPR_CHARS:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
