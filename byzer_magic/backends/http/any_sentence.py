"""The first sentence in data of an unknown schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.http import body_texts, json_reader

MAX_CHARS = 2000
"""Longest sentence that is returned."""
MAX_FIELDS = 64
"""Fields of an object, or items of a list, that are looked at."""


def any_sentence(value: Any) -> str:
    """Return the first sentence in data, or in JSON, of an unknown schema; empty when it has none.

    Example:
        >>> any_sentence({"ok": False, "kind": "x", "why": [{"en": "It is full."}]})
        'It is full.'
    """
    waiting = [_parsed_text(value)]
    for _ in range(body_texts.MAX_BYTES // 1024):
        if not waiting:
            break
        value = waiting.pop()
        if isinstance(value, str) and " " in value.strip():
            return value[:MAX_CHARS]
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
        waiting += reversed(list(inner)[:MAX_FIELDS])
    return ""


def _parsed_text(value: Any) -> Any:
    text = body_texts.text_of(value) if isinstance(value, bytes) else value
    try:
        return json_reader.loads(text) if isinstance(text, str) else text
    except ValueError:
        return None
