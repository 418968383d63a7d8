"""Keep secrets out of the journal: what looks like a key, and the values of this process's variables for keys."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from byzer_magic.journal.entry import Entry, Piece
from byzer_magic.safety.redaction import hide
from byzer_magic.types import ChatChunk, TranscriptChunk

_NAME = re.compile(r"(?:key|token|secret|password)$", re.IGNORECASE)
SHORTEST = 8
"""Values of variables that are shorter are no keys: hiding them would hide words."""


def of_environment(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the values of variables that are named like keys.

    Example:
        >>> of_environment({"OPENAI_API_KEY": "my-own-key", "HOME": "/home/me"})
        ('my-own-key',)
    """
    return tuple(value for name, value in environ.items() if _NAME.search(name) and len(value.strip()) >= SHORTEST)


def hidden(entry: Entry, secrets: tuple[str, ...] = ()) -> Entry:
    """Return an entry without secrets.

    Where its answer has one, its pieces are one: a secret may begin in one and end in another.

    Args:
        entry: as it is to be written.
        secrets: those that are known.
    """
    pieces = entry.pieces
    told = [text for _, item in pieces for text in _texts(item)]
    joined = "".join(told)
    if hide(joined, secrets) != joined:
        pieces = _merged(pieces, secrets)
    return msgspec.structs.replace(
        entry,
        request=hide(entry.request, secrets),
        prompt=hide(entry.prompt, secrets),
        answer=hide(entry.answer, secrets),
        pieces=pieces,
    )


def _texts(item: Any) -> list[str]:
    """Return the texts of a piece, in the order in which they continue those of the one before."""
    if isinstance(item, TranscriptChunk):
        return [item.text]
    if not isinstance(item, ChatChunk):
        return []
    called = [str((call.get("function") or {}).get("arguments") or "") for call in item.tool_calls or ()]
    return [item.text, item.reasoning, *called]


def _merged(pieces: Sequence[Piece], secrets: tuple[str, ...]) -> list[Piece]:
    """Return pieces with all of the text in the last that has any, without secrets."""
    last = max(place for place, (_, item) in enumerate(pieces) if any(_texts(item)))
    found: list[Piece] = []
    texts: dict[str, str] = defaultdict(str)
    for place, (seconds, item) in enumerate(pieces):
        if not isinstance(item, ChatChunk | TranscriptChunk):
            found.append((seconds, item))
            continue
        texts["text"] += item.text
        if isinstance(item, ChatChunk):
            texts["reasoning"] += item.reasoning
        shown: dict[str, Any] = {name: hide(text, secrets) if place == last else "" for name, text in texts.items()}
        if isinstance(item, ChatChunk) and item.tool_calls:
            shown["tool_calls"] = _hidden_in(item.tool_calls, secrets)
        if isinstance(item, TranscriptChunk) and item.segments:
            shown["segments"] = [msgspec.structs.replace(part, text=hide(part.text, secrets)) for part in item.segments]
        found.append((seconds, msgspec.structs.replace(item, **shown)))
    return found


def _hidden_in(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return plain data with its texts hidden."""
    if isinstance(value, str):
        return hide(value, secrets)
    if isinstance(value, Mapping):
        return {name: _hidden_in(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_hidden_in(item, secrets) for item in value]
    return value
