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
"""Values of variables that are shorter are not keys: hiding them would hide words."""
MOST_TOGETHER = 100_000
"""Characters of entries that are looked at together."""


def of_environment(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Return the values of variables that are named like keys.

    Example:
        >>> of_environment({"OPENAI_API_KEY": "my-own-key", "HOME": "/home/me"})
        ('my-own-key',)
    """
    found = (environ.get(name, "") for name in [*environ] if _NAME.search(name))
    return tuple(value for value in found if len(value.strip()) >= SHORTEST)


def are_clean(entries: Sequence[Entry], secrets: tuple[str, ...] = ()) -> bool:
    """Return whether none of some entries has a secret, as far as one look at all of them can tell.

    Args:
        entries: as they are to be written.
        secrets: those that are known.
    """
    if sum(len(entry.request) + len(entry.answer) for entry in entries) > MOST_TOGETHER:
        return False
    try:
        return _is_clean("\n\n".join(text for entry in entries for text in _all_texts(entry, _joined(entry))), secrets)
    except TypeError:  # of what is no entry
        return False


def hidden(entry: Entry, secrets: tuple[str, ...] = ()) -> Entry:
    """Return an entry without secrets.

    Where its answer has one, its pieces are one: a secret may begin in one and end in another.

    Args:
        entry: as it is to be written.
        secrets: those that are known.
    """
    joined = _joined(entry)
    if _is_clean("\n\n".join(_all_texts(entry, joined)), secrets):  # one pass for nearly all entries
        return entry
    is_in_pieces = hide(joined, secrets) != joined
    return msgspec.structs.replace(
        entry,
        request=hide(entry.request, secrets),
        prompt=hide(entry.prompt, secrets),
        answer=hide(entry.answer, secrets),
        pieces=_merged(entry.pieces, secrets) if is_in_pieces else entry.pieces,
    )


def _joined(entry: Entry) -> str:
    """Return the texts of all pieces."""
    return "".join(text for _, item in entry.pieces for text in _texts(item))


def _all_texts(entry: Entry, joined: str) -> list[str]:
    """Return the texts of an entry, each once."""
    return [entry.request, joined, *(text for text in (entry.prompt, entry.answer) if text not in (joined, ""))]


def _is_clean(text: str, secrets: tuple[str, ...]) -> bool:
    return hide(text, secrets) == text


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
    arguments: dict[int, str] = defaultdict(str)
    for place, (seconds, item) in enumerate(pieces):
        if not isinstance(item, ChatChunk | TranscriptChunk):
            found.append((seconds, item))
            continue
        texts["text"] += item.text
        more: dict[str, Any] = {}
        if isinstance(item, TranscriptChunk):
            segments = [msgspec.structs.replace(part, text=hide(part.text, secrets)) for part in item.segments or ()]
            more["segments"] = segments or None
        else:
            texts["reasoning"] += item.reasoning
            more["tool_calls"] = _without_arguments(item.tool_calls or [], arguments) or None
            if place == last and arguments:
                parts = {at: hide(part, secrets) for at, part in arguments.items()}
                whole = [{"index": at, "function": {"arguments": part}} for at, part in parts.items()]
                more["tool_calls"] = [*(more["tool_calls"] or []), *whole]
        shown = {name: hide(text, secrets) if place == last else "" for name, text in texts.items()}
        found.append((seconds, msgspec.structs.replace(item, **shown, **more)))
    return found


def _without_arguments(calls: Sequence[Mapping[str, Any]], arguments: dict[int, str]) -> list[dict[str, Any]]:
    """Return pieces of tool calls without their arguments, which are added to those of each call."""
    found = []
    for place, call in enumerate(calls):
        function = dict(call.get("function") or {})
        arguments[call.get("index", place)] += str(function.get("arguments") or "")
        found.append({**call, "function": {**function, "arguments": ""}})
    return found
